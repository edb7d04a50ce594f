import { describe, expect, it } from 'vitest';
import { fromDosage, type Intake, neededOf, NEW_INTAKE, problemsOfIntake, sentenceOf, toDosage } from './dosage';

const intake = (change: Partial<Intake>): Intake => ({ ...NEW_INTAKE, ...change });

const CASES: [Intake, string, number | undefined][] = [
  [intake({}), 'Take 1 tablet by mouth once a day.', undefined],
  [intake({ unit: 'capsule', rhythm: { kind: 'daily', times: 3 }, days: 7 }), 'Take 1 capsule by mouth 3 times a day for 7 days.', 21],
  [
    intake({ amount: 2, rhythm: { kind: 'moments', moments: ['EVE', 'MORN'] }, days: 5 }),
    'Take 2 tablets by mouth in the morning and in the evening for 5 days.',
    20,
  ],
  [intake({ amount: 0.5, rhythm: { kind: 'moments', moments: ['HS'] } }), 'Take 0.5 tablet by mouth at bedtime.', undefined],
  [intake({ amount: 5, unit: 'ml', rhythm: { kind: 'hours', every: 6 }, days: 2 }), 'Take 5 ml by mouth every 6 hours for 2 days.', 40],
  [
    intake({ amount: 1, unit: 'drop', route: 'ocular', rhythm: { kind: 'moments', moments: ['PC'] }, days: 1 }),
    'Put 1 drop into the eye after meals for 1 day.',
    3,
  ],
  [
    intake({ rhythm: { kind: 'weekly', days: ['thu', 'mon'] }, days: 28 }),
    'Take 1 tablet by mouth every Monday and Thursday for 28 days.',
    8,
  ],
  [
    intake({ amount: 400, unit: 'mg', rhythm: { kind: 'daily', times: 4 }, asNeeded: true, reason: 'pain', most: 1200, days: 3 }),
    'Take 400 mg by mouth 4 times a day when needed for pain for 3 days, at most 1,200 mg a day.',
    3600,
  ],
  [
    intake({ rhythm: { kind: 'once' }, note: 'Two hours before the flight' }),
    'Take 1 tablet by mouth once. Two hours before the flight.',
    1,
  ],
  [intake({ asNeeded: true, route: undefined }), 'Take 1 tablet once a day when needed.', undefined],
  [
    intake({ amount: 0.1, unit: 'ml', rhythm: { kind: 'daily', times: 3 }, days: 10 }),
    'Take 0.1 ml by mouth 3 times a day for 10 days.',
    3,
  ],
];

describe('an instruction', () => {
  it.each(CASES)('%# is a sentence', (given, sentence) => {
    expect(sentenceOf(given)).toBe(sentence);
    expect(toDosage(given).text).toBe(sentence);
  });

  it.each(CASES)('%# comes back from FHIR as it went in', (given) => {
    const back = fromDosage(JSON.parse(JSON.stringify(toDosage(given))))!;
    expect(sentenceOf(back)).toBe(sentenceOf(given));
    expect(problemsOfIntake(back)).toEqual([]);
  });

  it.each(CASES)('%# needs so much', (given, _, needed) => {
    expect(neededOf(given)).toBe(needed);
  });

  it('is told in numbers', () => {
    expect(toDosage(CASES[1]![0])).toMatchObject({
      timing: { repeat: { frequency: 3, period: 1, periodUnit: 'd', boundsDuration: { value: 7, code: 'd' } } },
      doseAndRate: [{ doseQuantity: { value: 1, unit: 'capsule' } }],
      route: { coding: [{ system: 'http://snomed.info/sct', code: '26643006' }] },
    });
    expect(toDosage(CASES[2]![0]).timing?.repeat?.when).toEqual(['MORN', 'EVE']);
    expect(toDosage(CASES[7]![0])).toMatchObject({
      asNeededCodeableConcept: { text: 'pain' },
      maxDosePerPeriod: { numerator: { value: 1200 } },
    });
  });

  it('that the form cannot show is left alone', () => {
    expect(fromDosage({ text: 'As told' })).toBeUndefined();
    expect(fromDosage({ ...toDosage(NEW_INTAKE), timing: { repeat: { frequency: 1, period: 2, periodUnit: 'mo' } } })).toBeUndefined();
    expect(fromDosage({ ...toDosage(NEW_INTAKE), timing: { repeat: { when: ['WAKE'], periodUnit: 'd' } } })).toBeUndefined();
  });

  it('is told what is wrong with it', () => {
    expect(problemsOfIntake(intake({ amount: 0, unit: ' ', rhythm: { kind: 'weekly', days: [] }, days: 1.5 }))).toEqual([
      'amount',
      'unit',
      'rhythm',
      'days',
    ]);
    expect(problemsOfIntake(intake({ amount: Number.NaN }))).toEqual(['amount']);
    expect(problemsOfIntake(intake({ amount: 2, asNeeded: true, most: 1 }))).toEqual(['most']);
  });
});
