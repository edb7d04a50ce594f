/** The language of the page and its texts. */
import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from 'react';
import { choose, load, translator, type Catalogue, type Sources, type Translate } from './catalogue';
import { shared } from './shared';

interface Texts {
  /** The language that is shown, as `de`. */
  language: string;
  /** The locale by which dates, numbers and money are written: the language as the person's own region has it. */
  locale: string;
  t: Translate;
  /** What the person chose, `undefined` for what the browser says. Kept in this browser. */
  chooseLanguage: (language: string | undefined) => void;
  languages: readonly string[];
}

const TextsContext = createContext<Texts | undefined>(undefined);
const KEY = 'medconsult.language';

export function TextsProvider({ sources, children }: { sources: Sources; children: ReactNode }) {
  const [chosen, setChosen] = useState(() => localStorage.getItem(KEY) ?? undefined);
  const [catalogues, setCatalogues] = useState<{ language: string; list: Catalogue[] }>();
  const languages = useMemo(() => Object.keys(sources), [sources]);
  const language = choose(chosen ? [chosen] : navigator.languages, languages);

  useEffect(() => {
    let gone = false;
    void load(language, [sources, shared]).then((list) => {
      if (gone) return;
      document.documentElement.lang = language;
      setCatalogues({ language, list });
    });
    return () => {
      gone = true;
    };
  }, [language, sources]);

  const value = useMemo<Texts | undefined>(() => {
    if (!catalogues) return undefined;
    const region = navigator.languages.find((tag) => tag.toLowerCase().startsWith(catalogues.language));
    return {
      language: catalogues.language,
      locale: region ?? catalogues.language,
      t: translator(catalogues.language, catalogues.list),
      languages,
      chooseLanguage: (language) => {
        if (language) localStorage.setItem(KEY, language);
        else localStorage.removeItem(KEY);
        setChosen(language);
      },
    };
  }, [catalogues, languages]);

  return value && <TextsContext value={value}>{children}</TextsContext>;
}

export function useTexts(): Texts {
  const texts = useContext(TextsContext);
  if (!texts) throw new Error('useTexts is for what is inside of TextsProvider.');
  return texts;
}

/** `t('visits.title')`, `t('visits.count', { count: 3 })` */
export const useT = (): Translate => useTexts().t;
