import type { Catalogue } from '@medconsult/shared/texts/catalogue';

export const en = {} satisfies Catalogue;
