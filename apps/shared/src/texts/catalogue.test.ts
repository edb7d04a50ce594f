import { expect, it } from 'vitest';
import { choose, load, translator, type Catalogue, type Entry } from './catalogue';
import { de } from './de';
import { en } from './en';
import { de as patientDe } from '../../../patient/src/texts/de';
import { en as patient } from '../../../patient/src/texts/en';

it('fills in values and chooses the plural form of the language', () => {
  const t = translator('en', [{ 'a.count': { one: '{count} visit', other: '{count} visits' }, 'a.hello': 'Hello {name}' }]);
  expect(t('a.count', { count: 1 })).toBe('1 visit');
  expect(t('a.count', { count: 2500 })).toBe('2,500 visits');
  expect(t('a.hello', { name: 'Ada' })).toBe('Hello Ada');
  expect(t('a.hello')).toBe('Hello {name}');
  const polish = translator('pl', [{ 'a.count': { one: 'jedna', few: 'kilka', other: 'wiele' } }]);
  expect([1, 3, 5].map((count) => polish('a.count', { count }))).toEqual(['jedna', 'kilka', 'wiele']);
});

it('falls back to English, and shows the key of what nobody has', async () => {
  const catalogues = await load('de', [{ en: { a: 'A', b: 'B' }, de: async () => ({ a: 'Ä' }) }]);
  const t = translator('de', catalogues);
  expect([t('a'), t('b'), t('c')]).toEqual(['Ä', 'B', 'c']);
});

it('reads the first language that the person reads and the app has', () => {
  expect(choose(['fr-CA', 'de-AT', 'en'], ['en', 'de'])).toBe('de');
  expect(choose(['fr'], ['en', 'de'])).toBe('en');
});

/** What stands in braces in any form of a text. */
const names = (entry: Entry | undefined) => [...new Set((typeof entry === 'string' ? [entry] : Object.values(entry ?? {})).flatMap((text) => text.match(/\{\w+\}/g) ?? []))].sort();

it.each([['shared', en, de], ['patient', patient, patientDe]] as [string, Catalogue, Catalogue][])('has the same texts in English and German, with the same values: %s', (_, english, german) => {
  expect(Object.keys(german).sort()).toEqual(Object.keys(english).sort());
  for (const [key, entry] of Object.entries(german)) expect(names(entry), key).toEqual(names(english[key]));
});

it('gives no key two texts', () => {
  for (const key of Object.keys(patient)) expect(en, key).not.toHaveProperty([key]);
});
