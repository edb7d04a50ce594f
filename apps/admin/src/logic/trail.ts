// AuditEvents as an administrator reads them (https://profiles.ihe.net/ITI/BALP/): who, what, about what, and whether it was
// let happen.

import { split } from '@medconsult/shared/fhir/values';
import type { AuditEvent } from 'fhir/r4';

export const DCM = 'http://dicom.nema.org/resources/ontology/DCM';
const REST = 'http://hl7.org/fhir/restful-interaction';

export const DEEDS = [
  'read',
  'search',
  'create',
  'change',
  'delete',
  'operation',
  'disclosure',
  'sign-in',
  'sign-out',
  'token',
  'consent',
  'account',
  'emergency',
  'stranger',
  'archive',
  'alarm',
  'other',
] as const;
export type Deed = (typeof DEEDS)[number];

/** What each is asked for by: parameters of a search of AuditEvent. */
export const QUERIES: Partial<Record<Deed, Record<string, string>>> = {
  'read': {
    subtype: ['read', 'vread', 'history', 'history-instance', 'history-type', 'history-system'].map((code) => `${REST}|${code}`).join(','),
  },
  'search': { subtype: ['search', 'search-type', 'search-system'].map((code) => `${REST}|${code}`).join(',') },
  'create': { subtype: `${REST}|create` },
  'change': { subtype: `${REST}|update,${REST}|patch` },
  'delete': { subtype: `${REST}|delete` },
  'operation': { subtype: `${REST}|operation` },
  'sign-in': { subtype: `${DCM}|110122` },
  'sign-out': { subtype: `${DCM}|110123` },
  'consent': { subtype: 'AuthZ-Consent,AuthZ-Role' },
  'account': { subtype: `${DCM}|110137` },
  'emergency': { subtype: `${DCM}|110127` },
  'stranger': { subtype: `${DCM}|110126` },
  'alarm': { subtype: `${DCM}|110134` },
};

const BY_SUBTYPE: Record<string, Deed> = {
  'read': 'read',
  'vread': 'read',
  'history': 'read',
  'history-instance': 'read',
  'history-type': 'read',
  'history-system': 'read',
  'search': 'search',
  'search-type': 'search',
  'search-system': 'search',
  'create': 'create',
  'update': 'change',
  'patch': 'change',
  'delete': 'delete',
  'operation': 'operation',
  'disclose': 'disclosure',
  '110122': 'sign-in',
  '110123': 'sign-out',
  'ITI-71': 'token',
  'AuthZ-Consent': 'consent',
  'AuthZ-Role': 'consent',
  '110137': 'account',
  '110127': 'emergency',
  '110126': 'stranger',
  'archive': 'archive',
  '110134': 'alarm',
};

export interface Entry {
  id: string;
  at: string;
  deed: Deed;
  /** Whose doing it was: `Practitioner/7`; undefined for a back end, a stranger or the server itself. */
  person: string | undefined;
  /** The id of the application. */
  application: string | undefined;
  /** From which address. */
  address: string | undefined;
  /** What it was about: `Observation/7`; patients come last. */
  about: string[];
  /** What was asked for, as in the address: `Task?owner=…`. */
  query: string | undefined;
  request: string | undefined;
  wasRefused: boolean;
  /** What the refusal, or the person in an emergency, said. */
  words: string | undefined;
}

const PERSON = /(?:Practitioner|PractitionerRole|Patient|RelatedPerson|Person)\/[A-Za-z0-9.-]{1,64}$/;

function queryOf(encoded: string): string {
  // A query is kept as it was sent, in base64.
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  const text = new TextDecoder().decode(bytes);
  try {
    return decodeURIComponent(text.replace(/^https?:\/\/[^/]+\/fhir\/?/, '').replaceAll('+', ' '));
  } catch {
    // Not every request is well formed, and that is why somebody may look at it.
    return text;
  }
}

export function entryOf(event: AuditEvent): Entry {
  const entities = event.entity ?? [];
  const about = entities.flatMap(({ what }) => {
    const found = split(what?.reference);
    return found ? [`${found.type}/${found.id}`] : [];
  });
  const requester =
    event.agent.find((agent) => agent.requestor && PERSON.test(agent.who?.reference ?? '')) ??
    event.agent.find((agent) => PERSON.test(agent.who?.reference ?? ''));
  const client = event.agent.find((agent) => agent.who?.identifier?.system?.endsWith('/auth/clients'));
  const query = entities.find((entity) => entity.query)?.query;
  const request = entities.find((entity) => entity.type?.code === 'XrequestId')?.what?.identifier?.value;
  const deed = (event.subtype ?? []).map(({ code }) => BY_SUBTYPE[code ?? '']).find(Boolean);
  return {
    id: event.id ?? '',
    at: event.recorded,
    deed: deed ?? 'other',
    person: PERSON.exec(requester?.who?.reference ?? '')?.[0],
    application: client?.who?.identifier?.value,
    address: event.agent.find((agent) => agent.network?.type === '2')?.network?.address,
    about: [...new Set(about)].sort((one, other) => Number(one.startsWith('Patient/')) - Number(other.startsWith('Patient/'))),
    query: query && queryOf(query),
    request,
    wasRefused: event.outcome !== undefined && event.outcome !== '0',
    words: event.outcomeDesc ?? event.purposeOfEvent?.find(({ text }) => text)?.text,
  };
}

/** The people whom entries are of and about, by type, so that they can be called by name. */
export function peopleIn(entries: Entry[]): { Practitioner: string[]; Patient: string[] } {
  const found = { Practitioner: new Set<string>(), Patient: new Set<string>() };
  for (const reference of entries.flatMap(({ person, about }) => [person, ...about])) {
    const { type, id } = split(reference) ?? {};
    if (id && (type === 'Practitioner' || type === 'Patient')) found[type].add(id);
  }
  return { Practitioner: [...found.Practitioner].sort(), Patient: [...found.Patient].sort() };
}
