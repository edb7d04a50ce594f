import type { Resource } from 'fhir/r4';
import { describe, expect, it } from 'vitest';
import { entriesOf, filtered, grouped, valueText } from './timeline';

const record = [
  {
    resourceType: 'Encounter',
    id: 'e',
    status: 'finished',
    class: { code: 'VR' },
    period: { start: '2026-11-20T09:00:00Z' },
    reasonCode: [{ text: 'Cough' }],
  },
  {
    resourceType: 'MedicationRequest',
    id: 'm',
    status: 'active',
    authoredOn: '2026-11-20T09:20:00Z',
    encounter: { reference: 'Encounter/e' },
    medicationCodeableConcept: { text: 'Amoxicillin 500 mg' },
    dosageInstruction: [{ text: '1 capsule three times a day.' }],
  },
  {
    resourceType: 'Condition',
    id: 'c',
    onsetDateTime: '2019-05',
    recordedDate: '2026-11-20',
    code: { text: 'Asthma' },
    clinicalStatus: { coding: [{ code: 'active' }] },
  },
  {
    resourceType: 'Observation',
    id: 'o',
    status: 'final',
    code: { text: 'Blood pressure' },
    effectiveDateTime: '2026-11-21T23:30:00Z',
    component: [{ valueQuantity: { value: 142, unit: 'mmHg' } }, { valueQuantity: { value: 81, unit: 'mmHg' } }],
  },
  { resourceType: 'AllergyIntolerance', id: 'a', code: { text: 'Penicillin' } },
  { resourceType: 'Observation', id: 'error', status: 'entered-in-error', code: { text: 'Weight' }, effectiveDateTime: '2026-11-22' },
  { resourceType: 'Basic', id: 'b' },
] as unknown as Resource[];

describe('a timeline', () => {
  const entries = entriesOf(record);

  it('is by when things were', () => {
    expect(entries.map(({ reference }) => reference)).toEqual([
      'Observation/o',
      'MedicationRequest/m',
      'Encounter/e',
      'Condition/c',
      'AllergyIntolerance/a',
    ]);
  });

  it('has what came of a visit under it', () => {
    expect(grouped(entries).map(({ head, within }) => [head.reference, within.map(({ reference }) => reference)])).toEqual([
      ['Observation/o', []],
      ['Encounter/e', ['MedicationRequest/m']],
      ['Condition/c', []],
      ['AllergyIntolerance/a', []],
    ]);
    // The visit itself is not among what was found: what came of it stands alone.
    const [medication] = filtered(entries, { kinds: ['medication'] }, 'UTC');
    expect(grouped([medication!])).toEqual([{ head: medication, within: [] }]);
  });

  it('is looked through by kind, by days where the reader is, and by words', () => {
    const found = (filter: Parameters<typeof filtered>[1], zone = 'UTC') =>
      filtered(entries, filter, zone).map(({ reference }) => reference);
    expect(found({ kinds: ['problem', 'allergy'] })).toEqual(['Condition/c', 'AllergyIntolerance/a']);
    expect(found({ from: '2026-11-21' })).toEqual(['Observation/o']);
    expect(found({ from: '2026-11-22' })).toEqual([]);
    expect(found({ from: '2026-11-22' }, 'Europe/Vienna')).toEqual(['Observation/o']);
    expect(found({ until: '2020-01-01' })).toEqual(['Condition/c']);
    expect(found({ text: 'CAPSULE amox' })).toEqual(['MedicationRequest/m']);
    expect(found({ text: 'amox tablet' })).toEqual([]);
  });

  it('shows values as they are read', () => {
    expect(entries[0]!.detail).toBe('142 / 81 mmHg');
    expect(
      valueText({ resourceType: 'Observation', status: 'final', code: {}, valueQuantity: { value: 5, comparator: '<', unit: 'mg/l' } }),
    ).toBe('<5 mg/l');
    expect(
      valueText({
        resourceType: 'Observation',
        status: 'final',
        code: {},
        valueCodeableConcept: { coding: [{ code: 'pos', display: 'positive' }] },
      }),
    ).toBe('positive');
  });
});
