import type { Patient } from 'fhir/r4';
import { expect, it } from 'vitest';
import { languageOf, personOf, wants, withLanguage, withMails, withPerson, withZone, zoneIn } from './patient';

const ada: Patient = {
  resourceType: 'Patient',
  extension: [{ url: 'https://other.example/x', valueString: 'kept' }],
  telecom: [{ system: 'email', value: 'ada@demo.example' }, { system: 'phone', value: '1', use: 'mobile' }],
  communication: [{ language: { coding: [{ code: 'en' }] }, preferred: true }],
};

it('keeps what it does not know', () => {
  const changed = withPerson(withZone(ada, 'Asia/Tokyo'), { ...personOf(ada), phone: '2', city: 'London' });
  expect(zoneIn(changed)).toBe('Asia/Tokyo');
  expect(changed.extension?.[0]).toEqual(ada.extension?.[0]);
  expect(changed.telecom).toEqual([{ system: 'email', value: 'ada@demo.example' }, { system: 'phone', value: '2', use: 'mobile' }]);
  expect(changed.address).toEqual([{ city: 'London' }]);
  expect(zoneIn(withZone(changed, undefined))).toBe('');
});

it('leaves no empty lists behind', () => {
  const bare = withPerson({ resourceType: 'Patient', telecom: [{ system: 'phone', value: '1' }] }, { ...personOf({ resourceType: 'Patient' }) });
  expect(bare).not.toHaveProperty('telecom');
  expect(bare).not.toHaveProperty('address');
});

it('remembers what is not wanted, and only that', () => {
  const refused = withMails(ada, ['document-added'], false);
  expect([wants(refused, 'document-added'), wants(refused, 'prescription-added')]).toEqual([false, true]);
  expect(withMails(refused, ['document-added'], true).extension).toEqual(ada.extension);
});

it('has one language that comes first', () => {
  const german = withLanguage(ada, 'de');
  expect(languageOf(german)).toBe('de');
  expect(german.communication?.filter((each) => each.preferred)).toHaveLength(1);
  expect(languageOf(withLanguage(german, 'en'))).toBe('en');
});
