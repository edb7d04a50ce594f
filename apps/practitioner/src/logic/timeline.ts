// A patient's record in the order of what happened, by visits. What counts is when it was, not when it was written down.

import type {
  AllergyIntolerance,
  Appointment,
  CodeableConcept,
  Composition,
  Condition,
  DiagnosticReport,
  DocumentReference,
  Encounter,
  Immunization,
  MedicationRequest,
  Observation,
  Procedure,
  Resource,
} from 'fhir/r4';
import { textOfConcept } from '@medconsult/shared/fhir/values';
import { timeOf } from './trends';
import { type Day, dayOf } from '@medconsult/shared/format/zone';

export const KINDS = [
  'visit',
  'note',
  'problem',
  'medication',
  'allergy',
  'observation',
  'report',
  'document',
  'immunization',
  'procedure',
] as const;
export type Kind = (typeof KINDS)[number];

export interface Entry {
  /** `Type/id`. */
  reference: string;
  kind: Kind;
  /** Milliseconds since 1970; undefined where nobody says. */
  at?: number;
  title: string;
  detail?: string;
  /** `Encounter/…` in which it came about. */
  encounter?: string;
  resource: Resource;
}

function instant(...texts: (string | undefined)[]): number | undefined {
  const at = Date.parse(texts.find((text) => text) ?? '');
  return Number.isNaN(at) ? undefined : at;
}

/** A value as it is read: `142 / 81 mmHg`, `6.1 mmol/l`, `positive`. */
export function valueText(observation: Observation): string {
  const one = (of: Pick<Observation, 'valueQuantity' | 'valueString' | 'valueCodeableConcept' | 'valueInteger' | 'valueBoolean'>) => {
    if (of.valueQuantity?.value !== undefined) return `${of.valueQuantity.comparator ?? ''}${of.valueQuantity.value}`;
    if (of.valueInteger !== undefined) return String(of.valueInteger);
    if (of.valueBoolean !== undefined) return of.valueBoolean ? 'yes' : 'no';
    return of.valueString ?? textOfConcept(of.valueCodeableConcept);
  };
  const unit = observation.valueQuantity?.unit ?? observation.component?.[0]?.valueQuantity?.unit ?? '';
  const parts = observation.component?.length ? observation.component.map(one) : [one(observation)];
  const text = parts.filter(Boolean).join(' / ');
  return text && unit ? `${text} ${unit}` : text;
}

function read(resource: Resource): Omit<Entry, 'reference' | 'resource'> | undefined {
  switch (resource.resourceType) {
    case 'Encounter': {
      const { period, type, reasonCode } = resource as Encounter;
      return {
        kind: 'visit',
        at: instant(period?.start),
        title: textOfConcept(type?.[0]) || 'Visit',
        detail: textOfConcept(reasonCode?.[0]),
        encounter: `Encounter/${resource.id}`,
      };
    }
    case 'Appointment': {
      const { start, serviceType, description } = resource as Appointment;
      return { kind: 'visit', at: instant(start), title: textOfConcept(serviceType?.[0]) || 'Visit', detail: description };
    }
    case 'Composition': {
      const { date, title, encounter } = resource as Composition;
      return { kind: 'note', at: instant(date), title, encounter: encounter?.reference };
    }
    case 'Condition': {
      const { code, onsetDateTime, onsetPeriod, recordedDate, clinicalStatus, encounter } = resource as Condition;
      return {
        kind: 'problem',
        at: instant(onsetDateTime, onsetPeriod?.start, recordedDate),
        title: textOfConcept(code),
        detail: textOfConcept(clinicalStatus),
        encounter: encounter?.reference,
      };
    }
    case 'MedicationRequest': {
      const { authoredOn, medicationCodeableConcept, medicationReference, dosageInstruction, encounter } = resource as MedicationRequest;
      return {
        kind: 'medication',
        at: instant(authoredOn),
        title: textOfConcept(medicationCodeableConcept) || medicationReference?.display || '',
        detail: dosageInstruction?.[0]?.text,
        encounter: encounter?.reference,
      };
    }
    case 'AllergyIntolerance': {
      const { code, onsetDateTime, recordedDate, encounter } = resource as AllergyIntolerance;
      return { kind: 'allergy', at: instant(onsetDateTime, recordedDate), title: textOfConcept(code), encounter: encounter?.reference };
    }
    case 'Observation': {
      const observation = resource as Observation;
      return {
        kind: 'observation',
        at: timeOf(observation),
        title: textOfConcept(observation.code),
        detail: valueText(observation),
        encounter: observation.encounter?.reference,
      };
    }
    case 'DiagnosticReport': {
      const { effectiveDateTime, effectivePeriod, issued, code, conclusion, encounter } = resource as DiagnosticReport;
      return {
        kind: 'report',
        at: instant(effectiveDateTime, effectivePeriod?.start, issued),
        title: textOfConcept(code),
        detail: conclusion,
        encounter: encounter?.reference,
      };
    }
    case 'DocumentReference': {
      const { date, content, type, description, context } = resource as DocumentReference;
      const title = description ?? content[0]?.attachment.title ?? textOfConcept(type);
      const encounter = context?.encounter?.find(({ reference }) => reference?.startsWith('Encounter/'))?.reference;
      return { kind: 'document', at: instant(content[0]?.attachment.creation, date), title, detail: textOfConcept(type), encounter };
    }
    case 'Immunization': {
      const { occurrenceDateTime, recorded, vaccineCode, encounter } = resource as Immunization;
      return {
        kind: 'immunization',
        at: instant(occurrenceDateTime, recorded),
        title: textOfConcept(vaccineCode),
        encounter: encounter?.reference,
      };
    }
    case 'Procedure': {
      const { performedDateTime, performedPeriod, code, encounter } = resource as Procedure;
      return {
        kind: 'procedure',
        at: instant(performedDateTime, performedPeriod?.start),
        title: textOfConcept(code),
        encounter: encounter?.reference,
      };
    }
    default:
      return undefined;
  }
}

/** What was an error is no part of the record. */
function holds(resource: Resource): boolean {
  const { status, verificationStatus } = resource as { status?: string; verificationStatus?: CodeableConcept };
  return status !== 'entered-in-error' && !verificationStatus?.coding?.some(({ code }) => code === 'entered-in-error');
}

/** The entries of a record, the latest first; what has no date last. */
export function entriesOf(resources: Resource[]): Entry[] {
  return resources
    .filter(holds)
    .flatMap((resource) => {
      const found = read(resource);
      return found ? [{ ...found, reference: `${resource.resourceType}/${resource.id}`, resource }] : [];
    })
    .sort((one, other) => (other.at ?? -Infinity) - (one.at ?? -Infinity) || one.reference.localeCompare(other.reference));
}

export interface Filter {
  kinds?: Kind[];
  /** First and last day, where the reader is. */
  from?: Day;
  until?: Day;
  text?: string;
}

/** The entries that a reader looks for. Words are looked for in any order, in titles and details. */
export function filtered(entries: Entry[], { kinds, from, until, text }: Filter, zone: string): Entry[] {
  const words = (text ?? '').toLocaleLowerCase().split(/\s+/).filter(Boolean);
  return entries.filter((entry) => {
    if (kinds?.length && !kinds.includes(entry.kind)) return false;
    const day = entry.at === undefined ? undefined : dayOf(entry.at, zone);
    if ((from && !(day && day >= from)) || (until && !(day && day <= until))) return false;
    const told = `${entry.title} ${entry.detail ?? ''}`.toLocaleLowerCase();
    return words.every((word) => told.includes(word));
  });
}

/** What came about together: a visit with its entries, or one that stands alone. */
export interface Group {
  /** The visit, or the entry alone. */
  head: Entry;
  within: Entry[];
}

/** Entries under their visits. A group stands where its visit is. */
export function grouped(entries: Entry[]): Group[] {
  const visits = new Map(
    entries
      .filter(({ resource }) => resource.resourceType === 'Encounter')
      .map((head) => [head.reference, { head, within: [] as Entry[] }]),
  );
  const alone: Group[] = [];
  for (const entry of entries) {
    const visit = entry.encounter === undefined ? undefined : visits.get(entry.encounter);
    if (visit && visit.head !== entry) visit.within.push(entry);
    else if (!visit) alone.push({ head: entry, within: [] });
  }
  return [...visits.values(), ...alone].sort((one, other) => (other.head.at ?? -Infinity) - (one.head.at ?? -Infinity));
}
