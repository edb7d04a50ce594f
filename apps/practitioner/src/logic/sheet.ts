// A sheet of prescriptions while it is written: its lines as the form has them, and as MedicationRequests.

import { BASE, extensionUrl, textOfConcept } from '@medconsult/shared/fhir/values';
import type { DetectedIssue, MedicationRequest, Reference } from 'fhir/r4';
import { fromDosage, type Intake, type IntakeProblem, neededOf, NEW_INTAKE, problemsOfIntake, toDosage } from './dosage';

export const SHEETS = `${BASE}/sid/prescription`;

export interface Line {
  /** Of the form: a line has it before the server knows of it. */
  key: string;
  /** As the server has it. */
  stored?: MedicationRequest & { id: string };
  medicine: string;
  intake: Intake;
  /** How often it may be dispensed again. */
  repeats: number;
  /** How much is dispensed at a time; undefined: what the instruction comes to. */
  quantity?: number;
}

let last = 0;
export const newLine = (): Line => ({ key: `new-${(last += 1)}`, medicine: '', intake: NEW_INTAKE, repeats: 0 });

/** The number of a new sheet, which nobody guesses and nobody has twice. */
export function newSheet(random: Uint8Array): string {
  // Without letters and digits that are taken for each other.
  const alphabet = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ';
  return `R-${[...random].map((byte) => alphabet[byte % 32]).join('')}`;
}

export type LineProblem = IntakeProblem | 'medicine' | 'repeats' | 'quantity';

export function problemsOfLine({ medicine, intake, repeats, quantity }: Line): LineProblem[] {
  return [
    ...(medicine.trim() ? [] : (['medicine'] as const)),
    ...problemsOfIntake(intake),
    ...(Number.isInteger(repeats) && repeats >= 0 && repeats <= 12 ? [] : (['repeats'] as const)),
    ...(quantity === undefined || quantity > 0 ? [] : (['quantity'] as const)),
  ];
}

/** The draft that a line is. */
export function draftOf(
  line: Line,
  {
    sheet,
    patient,
    practitioner,
    encounter,
    now,
  }: {
    sheet: string;
    patient: Reference;
    practitioner: Reference;
    encounter?: string | undefined;
    now: Date;
  },
): MedicationRequest {
  const { intake, stored } = line;
  const quantity = line.quantity ?? neededOf(intake);
  return {
    ...(stored && { id: stored.id, meta: stored.meta }),
    ...(!stored && { meta: { profile: [extensionUrl('prescription')] } }),
    resourceType: 'MedicationRequest',
    status: 'draft',
    intent: 'order',
    medicationCodeableConcept: { text: line.medicine.trim() },
    subject: patient,
    ...(encounter && { encounter: { reference: `Encounter/${encounter}` } }),
    authoredOn: stored?.authoredOn ?? now.toISOString(),
    requester: practitioner,
    groupIdentifier: { system: SHEETS, value: sheet },
    dosageInstruction: [toDosage(intake)],
    dispenseRequest: {
      numberOfRepeatsAllowed: line.repeats,
      ...(quantity !== undefined && { quantity: { value: quantity, unit: intake.unit } }),
      ...(intake.days && {
        expectedSupplyDuration: {
          value: intake.days,
          unit: intake.days === 1 ? 'day' : 'days',
          system: 'http://unitsofmeasure.org',
          code: 'd',
        },
      }),
    },
  };
}

/** The line that a draft was made of; undefined for one that says what the form cannot. */
export function lineOf(stored: MedicationRequest & { id: string }): Line | undefined {
  const intake = stored.dosageInstruction?.length === 1 ? fromDosage(stored.dosageInstruction[0]!) : undefined;
  if (!intake) return undefined;
  const quantity = stored.dispenseRequest?.quantity?.value;
  return {
    key: stored.id,
    stored,
    intake,
    medicine: textOfConcept(stored.medicationCodeableConcept),
    repeats: stored.dispenseRequest?.numberOfRepeatsAllowed ?? 0,
    ...(quantity !== undefined && quantity !== neededOf(intake) && { quantity }),
  };
}

/** What an issue is about, wherever it was found: the same finding gets the same reason after it was looked for again. */
export function keyOfIssue(issue: DetectedIssue): string {
  const implicated = (issue.implicated ?? []).map(({ reference }) => reference ?? '').sort();
  return [issue.code?.coding?.[0]?.code ?? '', ...implicated, issue.detail ?? ''].join(' ');
}

/** The issue with the reason for which it is prescribed all the same. */
export function overridden(issue: DetectedIssue, reason: string, practitioner: Reference, now: Date): DetectedIssue {
  return { ...issue, mitigation: [{ action: { text: reason.trim() }, date: now.toISOString(), author: practitioner }] };
}
