import { en } from './en';
import type { Sources } from './catalogue';

/** The texts of what all apps show alike. */
export const shared: Sources = { en, de: () => import('./de').then((module) => module.de) };
