/** Everything that is in the record, as events on one line of time. */
import type { FhirResource } from 'fhir/r4';
import type { Stored } from '@medconsult/shared/fhir/client';
import { textOfConcept } from '@medconsult/shared/fhir/values';
import { labelOf } from '@medconsult/shared/ui/status';

/** What is shown, each with the parameter that sorts it by its clinical date. */
export const TYPES = {
  Appointment: '-date',
  Encounter: '-date',
  DocumentReference: '-date',
  MedicationRequest: '-authoredon',
  Condition: '-recorded-date',
  AllergyIntolerance: '-date',
  Observation: '-date',
  DiagnosticReport: '-date',
  Immunization: '-date',
  Procedure: '-date',
  Composition: '-date',
} as const;
export type TimelineType = keyof typeof TYPES;

export interface Event {
  key: string;
  type: TimelineType;
  id: string;
  /** A FHIR date or instant; what happened, not when it was stored. */
  at: string;
  title: string;
  detail: string;
  /** The page of the app about it. */
  to: string | undefined;
}

export function eventOf(resource: Stored<FhirResource>): Event | undefined {
  const make = (at: string | undefined, title: string, detail: (string | undefined)[] = [], to?: string): Event => ({
    key: `${resource.resourceType}/${resource.id}`,
    type: resource.resourceType as TimelineType,
    id: resource.id,
    at: at ?? resource.meta?.lastUpdated ?? '',
    title,
    detail: detail.filter(Boolean).join(' · '),
    to,
  });
  switch (resource.resourceType) {
    case 'Appointment': {
      const label = labelOf(resource);
      if (label === 'held' || label === 'hold-expired') return undefined;
      const people = resource.participant.filter((each) => !/^(Patient|HealthcareService)\//.test(each.actor?.reference ?? '')).map((each) => each.actor?.display);
      const what = resource.participant.find((each) => each.actor?.reference?.startsWith('HealthcareService/'))?.actor?.display ?? textOfConcept(resource.serviceType?.[0]);
      return make(resource.start, what, people, `/visits/${resource.id}`);
    }
    case 'Encounter':
      return make(resource.period?.start, textOfConcept(resource.type?.[0]) || textOfConcept(resource.serviceType), [resource.participant?.[0]?.individual?.display, textOfConcept(resource.reasonCode?.[0])]);
    case 'DocumentReference':
      return make(resource.date, resource.content[0]?.attachment.title ?? textOfConcept(resource.type), [resource.author?.[0]?.display], `/documents?open=${resource.id}`);
    case 'MedicationRequest':
      if (resource.status === 'draft') return undefined;
      return make(resource.authoredOn, textOfConcept(resource.medicationCodeableConcept) || (resource.medicationReference?.display ?? ''), [resource.dosageInstruction?.[0]?.text, resource.requester?.display], `/prescriptions#${resource.id}`);
    case 'Condition':
      return make(resource.onsetDateTime ?? resource.recordedDate, textOfConcept(resource.code), [textOfConcept(resource.clinicalStatus)]);
    case 'AllergyIntolerance':
      return make(resource.onsetDateTime ?? resource.recordedDate, textOfConcept(resource.code), [resource.reaction?.flatMap((each) => each.manifestation.map(textOfConcept)).join(', ')]);
    case 'Observation':
      return make(resource.effectiveDateTime ?? resource.effectivePeriod?.start ?? resource.issued, textOfConcept(resource.code), [valueOf(resource), textOfConcept(resource.interpretation?.[0])]);
    case 'DiagnosticReport':
      return make(resource.effectiveDateTime ?? resource.issued, textOfConcept(resource.code), [resource.conclusion]);
    case 'Immunization':
      return make(resource.occurrenceDateTime, textOfConcept(resource.vaccineCode));
    case 'Procedure':
      return make(resource.performedDateTime ?? resource.performedPeriod?.start, textOfConcept(resource.code), [textOfConcept(resource.reasonCode?.[0])]);
    case 'Composition':
      return make(resource.date, resource.title, [resource.author[0]?.display]);
    default:
      return undefined;
  }
}

type Measured = Extract<FhirResource, { resourceType: 'Observation' }>;

/** What was measured, as people write it; blood pressure has two. */
export function valueOf(observation: Pick<Measured, 'valueQuantity' | 'valueString' | 'valueCodeableConcept' | 'component'>): string {
  const quantity = (value: { value?: number | undefined; unit?: string | undefined; code?: string | undefined } | undefined) =>
    value?.value === undefined ? '' : `${value.value} ${value.unit ?? value.code ?? ''}`.trim();
  if (observation.valueQuantity) return quantity(observation.valueQuantity);
  if (observation.valueString) return observation.valueString;
  if (observation.valueCodeableConcept) return textOfConcept(observation.valueCodeableConcept);
  return (observation.component ?? []).map((part) => quantity(part.valueQuantity)).filter(Boolean).join(' / ');
}

export interface Filter {
  types: readonly TimelineType[];
  from: string;
  to: string;
  text: string;
}

/** Those that fit, the newest first. Days are compared as they are written. */
export function shown(events: readonly Event[], filter: Filter): Event[] {
  const words = filter.text.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  return events
    .filter((event) => filter.types.length === 0 || filter.types.includes(event.type))
    .filter((event) => (!filter.from || event.at.slice(0, 10) >= filter.from) && (!filter.to || event.at.slice(0, 10) <= filter.to))
    .filter((event) => words.every((word) => `${event.title} ${event.detail}`.toLocaleLowerCase().includes(word)))
    .sort((one, other) => (Date.parse(other.at) || 0) - (Date.parse(one.at) || 0));
}
