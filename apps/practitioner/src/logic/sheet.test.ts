import type { DetectedIssue } from 'fhir/r4';
import { describe, expect, it } from 'vitest';
import { draftOf, keyOfIssue, lineOf, newLine, newSheet, overridden, problemsOfLine } from './sheet';

const NOW = new Date('2026-11-23T10:00:00Z');
const OF = {
  sheet: 'R-2345',
  patient: { reference: 'Patient/p' },
  practitioner: { reference: 'Practitioner/d' },
  encounter: 'e',
  now: NOW,
};

describe('a line', () => {
  const line = {
    ...newLine(),
    medicine: ' Amoxicillin 500 mg capsules ',
    repeats: 1,
    intake: { ...newLine().intake, unit: 'capsule', rhythm: { kind: 'daily' as const, times: 3 }, days: 7 },
  };

  it('is a draft of the sheet', () => {
    expect(draftOf(line, OF)).toMatchObject({
      meta: { profile: ['https://medconsult.example/fhir/StructureDefinition/prescription'] },
      status: 'draft',
      intent: 'order',
      medicationCodeableConcept: { text: 'Amoxicillin 500 mg capsules' },
      encounter: { reference: 'Encounter/e' },
      groupIdentifier: { system: 'https://medconsult.example/fhir/sid/prescription', value: 'R-2345' },
      dispenseRequest: {
        numberOfRepeatsAllowed: 1,
        quantity: { value: 21, unit: 'capsule' },
        expectedSupplyDuration: { value: 7, code: 'd' },
      },
    });
  });

  it('comes back from it', () => {
    const stored = { ...draftOf({ ...line, quantity: 24 }, OF), id: 'm', meta: { versionId: '2' } };
    expect(lineOf(stored)).toMatchObject({ key: 'm', medicine: 'Amoxicillin 500 mg capsules', repeats: 1, quantity: 24 });
    // What the instruction comes to is counted anew when the instruction changes.
    expect(lineOf({ ...draftOf(line, OF), id: 'm' })).not.toHaveProperty('quantity');
    const again = draftOf(lineOf(stored)!, { ...OF, now: new Date('2026-11-24T10:00:00Z') });
    expect([again.id, again.meta, again.authoredOn]).toEqual(['m', { versionId: '2' }, '2026-11-23T10:00:00.000Z']);
    expect(lineOf({ ...stored, dosageInstruction: [{ text: 'as told' }] })).toBeUndefined();
  });

  it('is told what is wrong with it', () => {
    expect(problemsOfLine(line)).toEqual([]);
    expect(problemsOfLine({ ...newLine(), repeats: 13, quantity: 0 })).toEqual(['medicine', 'repeats', 'quantity']);
  });
});

it('the number of a sheet has no letters that are taken for others', () => {
  expect(newSheet(new Uint8Array([0, 7, 8, 31, 32, 255, 10, 13]))).toBe('R-29AZ2ZCF');
});

it('a reason stays with what it was given for', () => {
  const issue: DetectedIssue = {
    resourceType: 'DetectedIssue',
    status: 'preliminary',
    code: { coding: [{ code: 'DRG' }] },
    detail: 'Bleeding.',
    implicated: [{ reference: 'MedicationRequest/b' }, { reference: 'MedicationRequest/a' }],
  };
  expect(keyOfIssue(issue)).toBe(keyOfIssue({ ...issue, id: 'x', implicated: [...issue.implicated!].reverse() }));
  expect(keyOfIssue({ ...issue, detail: 'Other.' })).not.toBe(keyOfIssue(issue));
  expect(overridden(issue, ' Short course. ', OF.practitioner, NOW).mitigation).toEqual([
    { action: { text: 'Short course.' }, date: '2026-11-23T10:00:00.000Z', author: { reference: 'Practitioner/d' } },
  ]);
});
