/** Putting files into the record. */
/** The categories, each with the LOINC code of what such documents are. */
export const CATEGORIES = {
  'lab-report': '11502-2',
  'imaging': '18748-4',
  'prescription': '57833-6',
  'insurance': '64290-0',
  'referral': '57133-1',
  'identity': '34133-9',
  'other': '34133-9',
} as const;
export type Category = keyof typeof CATEGORIES;

/** In bytes; the server's own limit may be lower. */
export const LARGEST = 200_000_000;
export const TYPES = ['application/pdf', 'image/jpeg', 'image/png', 'image/webp', 'text/plain'] as const;

export type Objection = 'empty' | 'large' | 'type';

/** Why a file cannot be taken, before it is sent. */
export function objectionTo(file: { size: number; type: string }): Objection | undefined {
  if (file.size === 0) return 'empty';
  if (file.size > LARGEST) return 'large';
  return (TYPES as readonly string[]).includes(file.type) ? undefined : 'type';
}

/** What a file is called is the best guess at what it is. */
export function guessCategory(name: string): Category {
  const text = name.toLowerCase();
  if (/lab|blood|blut|befund|result/.test(text)) return 'lab-report';
  if (/x-?ray|mri|ct[-_ .]|scan|röntgen|ultra/.test(text)) return 'imaging';
  if (/rezept|prescri|recipe/.test(text)) return 'prescription';
  if (/insur|versich|karte/.test(text)) return 'insurance';
  if (/refer|überweis/.test(text)) return 'referral';
  if (/passport|ausweis|identity/.test(text)) return 'identity';
  return 'other';
}

/** What `DocumentReference/$upload` takes. */
export function formOf(file: File, category: Category): FormData {
  const form = new FormData();
  form.set('category', category);
  form.set('type', `http://loinc.org|${CATEGORIES[category]}`);
  form.set('title', file.name);
  // Last, so that the server knows all the rest before the file is on its way.
  form.set('file', file, file.name);
  return form;
}
