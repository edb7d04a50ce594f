/** Who did what with the record, out of AuditEvents (IHE's basic audit log patterns). */
import type { AuditEvent } from 'fhir/r4';
import { split } from '@medconsult/shared/fhir/values';

export interface Opened {
  /** Whose doing it was: their resource, as `Practitioner/7`. Without one it was somebody's account, or the server by itself. */
  person: string | undefined;
  /** Whether an account is behind it that the record names by its number alone, as when somebody signs in. */
  byAccount: boolean;
  /** The id of the application that was used. */
  app: string | undefined;
  did: 'added' | 'read' | 'changed' | 'removed' | 'searched' | 'used' | 'signedIn' | 'allowed' | 'emergency';
  /** Types of what was seen or changed, other than the patient's own resource. */
  types: string[];
  /** Whether the server refused it. */
  wasRefused: boolean;
  at: string;
}

const DCM = 'http://dicom.nema.org/resources/ontology/DCM';
const PERSON = /(?:Practitioner|PractitionerRole|Patient|RelatedPerson|Person)\/[A-Za-z0-9.-]{1,64}$/;

export function openedOf(event: AuditEvent): Opened {
  const person = event.agent.map((agent) => PERSON.exec(agent.who?.reference ?? '')?.[0]).find(Boolean);
  const isPart = (agent: AuditEvent['agent'][number]) => agent.type?.coding?.some((coding) => coding.system?.endsWith('/v3-ParticipationType'));
  const app = event.agent.find((agent) => agent.who?.identifier?.system?.endsWith('/auth/clients'));
  const types = (event.entity ?? []).flatMap((entity) => split(entity.what?.reference)?.type ?? []);
  return {
    person,
    byAccount: !person && event.agent.some(isPart),
    app: app?.who?.identifier?.value,
    did: whatOf(event),
    types: [...new Set(types)].filter((type) => type !== 'Patient'),
    wasRefused: event.outcome !== undefined && event.outcome !== '0',
    at: event.recorded,
  };
}

function whatOf(event: AuditEvent): Opened['did'] {
  const subtypes = (event.subtype ?? []).map((coding) => coding.code);
  if (event.type.system === DCM) {
    if (subtypes.includes('110127')) return 'emergency';
    if (event.type.code === '110114') return 'signedIn';
    if (subtypes.includes('AuthZ-Consent')) return 'allowed';
  }
  if (subtypes.some((code) => code?.startsWith('search'))) return 'searched';
  return ({ C: 'added', R: 'read', U: 'changed', D: 'removed' } as const)[event.action as 'C' | 'R' | 'U' | 'D'] ?? 'used';
}
