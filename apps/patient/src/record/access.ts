/** Who did what with the record, out of AuditEvents (IHE's basic audit). */
import type { AuditEvent } from 'fhir/r4';

export interface Opened {
  /** Who it was, as the server names them. */
  who: string;
  /** Their resource, to tell the patient's own doings from those of others. */
  reference: string | undefined;
  /** The application that they used. */
  app: string | undefined;
  /** create, read, update, delete or execute. */
  action: 'C' | 'R' | 'U' | 'D' | 'E';
  /** Types of what was seen or changed. */
  types: string[];
  /** Whether the practitioner broke the glass. */
  isEmergency: boolean;
  at: string;
}

/** People are requestors who are no application; a batch job has none. */
export function openedOf(event: AuditEvent): Opened {
  const human = event.agent.find((agent) => agent.requestor && /^(Practitioner|PractitionerRole|Patient|RelatedPerson|Person)\//.test(relativeOf(agent.who?.reference))) ??
    event.agent.find((agent) => /^(Practitioner|PractitionerRole|Patient|RelatedPerson|Person)\//.test(relativeOf(agent.who?.reference)));
  const app = event.agent.find((agent) => agent !== human && (agent.type?.coding ?? []).some((coding) => coding.code === '110150' || coding.code === '110153' || coding.code === 'CST'));
  const types = (event.entity ?? []).flatMap((entity) => {
    const type = relativeOf(entity.what?.reference).split('/')[0];
    return type && type !== 'Patient' ? [type] : [];
  });
  const codes = [...(event.subtype ?? []), event.type, ...(event.purposeOfEvent ?? []).flatMap((purpose) => purpose.coding ?? [])];
  return {
    who: human?.who?.display ?? human?.name ?? app?.who?.display ?? app?.name ?? event.agent[0]?.who?.display ?? '',
    reference: human?.who?.reference && relativeOf(human.who.reference),
    app: app?.who?.display ?? app?.name,
    action: (event.action ?? 'E') as Opened['action'],
    types: [...new Set(types)],
    isEmergency: codes.some((coding) => coding.code === 'BTG' || coding.code === 'ETREAT' || coding.code === '110127' || coding.code === 'break-glass'),
    at: event.recorded,
  };
}

function relativeOf(reference: string | undefined): string {
  return /[A-Z][A-Za-z]+\/[A-Za-z0-9.-]{1,64}$/.exec(reference ?? '')?.[0] ?? '';
}
