/** Texts in the language of the person. */

/** A text, or one for each plural form of its `{count}`. Names in braces are filled in. */
export type Entry = string | ({ other: string } & Partial<Record<Intl.LDMLPluralRule, string>>);
export type Catalogue = Readonly<Record<string, Entry>>;
export type Values = Record<string, string | number>;
/** A catalogue that is here, or is fetched when somebody reads that language. */
export type Source = Catalogue | (() => Promise<Catalogue>);
export type Sources = { en: Catalogue } & Record<string, Source>;

export type Translate = (key: string, values?: Values) => string;

/** Looks texts up in the first catalogue that has them; English is last. A key that nobody has is shown, for somebody to see. */
export function translator(language: string, catalogues: readonly Catalogue[]): Translate {
  const plural = new Intl.PluralRules(language);
  const number = new Intl.NumberFormat(language);
  return (key, values = {}) => {
    const entry = catalogues.find((catalogue) => Object.hasOwn(catalogue, key))?.[key];
    if (entry === undefined) return key;
    const text = typeof entry === 'string' ? entry : (entry[plural.select(Number(values.count ?? 0))] ?? entry.other);
    return text.replace(/\{(\w+)\}/g, (whole, name: string) => {
      const value = values[name];
      return value === undefined ? whole : typeof value === 'number' ? number.format(value) : value;
    });
  };
}

/** The language to show: the first that the person reads and the app has. */
export function choose(wanted: readonly string[], has: readonly string[]): string {
  for (const tag of wanted) {
    const language = tag.toLowerCase().split('-')[0] ?? '';
    if (has.includes(language)) return language;
  }
  return 'en';
}

/** Puts sources one over the other: an app's texts and the shared ones. */
export async function load(language: string, sources: readonly Sources[]): Promise<Catalogue[]> {
  const ofLanguage = await Promise.all(
    sources.map(async (each) => {
      const source = each[language];
      return typeof source === 'function' ? source() : source;
    }),
  );
  return [...ofLanguage.filter((each) => each !== undefined), ...sources.map((each) => each.en)];
}
