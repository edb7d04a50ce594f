import type { Sources } from '@medconsult/shared/texts/catalogue';
import { en } from './en';

export const texts: Sources = { en };
