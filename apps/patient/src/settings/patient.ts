/** What patients say about themselves and how they want to be treated, as changes of their Patient. */
import type { ContactPoint, Extension, Patient } from 'fhir/r4';
import { extension, extensionUrl, part } from '@medconsult/shared/fhir/values';

/** Of what people are told by mail, unless they do not want it; by topic. */
export const MAILS = {
  visits: ['appointment-requested', 'appointment-approved', 'appointment-rejected', 'reschedule-requested', 'appointment-rescheduled', 'appointment-cancelled'],
  payments: ['payment-succeeded', 'payment-failed', 'payment-refunded'],
  record: ['document-added', 'prescription-added'],
} as const;

const PREFERENCE = extensionUrl('notification-preference');
const ZONE = extensionUrl('time-zone');

/** Whether somebody wants the mails about an event. */
export function wants(patient: Patient, event: string): boolean {
  return !(patient.extension ?? []).some(
    (each) => each.url === PREFERENCE && part(each, 'event')?.valueCode === event && part(each, 'channel')?.valueCode === 'email' && part(each, 'enabled')?.valueBoolean === false,
  );
}

/** The patient with another wish about these mails. What is wanted needs no saying. */
export function withMails<P extends Patient>(patient: P, events: readonly string[], wanted: boolean): P {
  const others = (patient.extension ?? []).filter(
    (each) => !(each.url === PREFERENCE && part(each, 'channel')?.valueCode === 'email' && events.includes(part(each, 'event')?.valueCode ?? '')),
  );
  const refused = wanted ? [] : events.map((event): Extension => ({
    url: PREFERENCE,
    extension: [{ url: 'event', valueCode: event }, { url: 'channel', valueCode: 'email' }, { url: 'enabled', valueBoolean: false }],
  }));
  return withExtensions(patient, [...others, ...refused]);
}

/** The patient in another zone; `undefined` for that of whatever browser they use. */
export function withZone<P extends Patient>(patient: P, zone: string | undefined): P {
  const others = (patient.extension ?? []).filter((each) => each.url !== ZONE);
  return withExtensions(patient, zone ? [...others, { url: ZONE, valueCode: zone }] : others);
}

export const zoneIn = (patient: Patient): string => extension(patient, 'time-zone')?.valueCode ?? '';

/** The patient who wants to be spoken and written to in that language. */
export function withLanguage<P extends Patient>(patient: P, language: string): P {
  const others = (patient.communication ?? []).map(({ preferred: _, ...each }) => each).filter((each) => languageIn(each) !== language);
  const own = language ? [{ language: { coding: [{ system: 'urn:ietf:bcp:47', code: language }] }, preferred: true }] : [];
  return without({ ...patient, communication: [...own, ...others] }, 'communication');
}

export const languageOf = (patient: Patient): string => languageIn(patient.communication?.find((each) => each.preferred) ?? patient.communication?.[0]);

const languageIn = (each: { language: { coding?: { code?: string | undefined }[] | undefined } } | undefined): string => each?.language.coding?.[0]?.code ?? '';

export interface Person {
  birthDate: string;
  gender: string;
  phone: string;
  line: string;
  postalCode: string;
  city: string;
  country: string;
}

export function personOf(patient: Patient): Person {
  const address = patient.address?.[0];
  return {
    birthDate: patient.birthDate ?? '',
    gender: patient.gender ?? '',
    phone: patient.telecom?.find((each) => each.system === 'phone')?.value ?? '',
    line: (address?.line ?? []).join('\n'),
    postalCode: address?.postalCode ?? '',
    city: address?.city ?? '',
    country: address?.country ?? '',
  };
}

/** The patient with these details; what is empty is left out, and what else there is stays. */
export function withPerson<P extends Patient>(patient: P, person: Person): P {
  const others = (patient.telecom ?? []).filter((each) => each.system !== 'phone');
  const before = patient.telecom?.find((each) => each.system === 'phone');
  const phone: ContactPoint[] = person.phone.trim() ? [{ ...(before ?? { system: 'phone' as const }), value: person.phone.trim() }] : [];
  const line = person.line.split('\n').map((each) => each.trim()).filter(Boolean);
  const address = Object.fromEntries(
    Object.entries({ ...patient.address?.[0], line, postalCode: person.postalCode.trim(), city: person.city.trim(), country: person.country.trim(), text: undefined }).filter(([, value]) => value !== undefined && value !== '' && !(Array.isArray(value) && value.length === 0)),
  );
  const changed = {
    ...patient,
    birthDate: person.birthDate || undefined,
    gender: (person.gender || undefined) as Patient['gender'],
    telecom: [...others, ...phone],
    address: Object.keys(address).length > 0 ? [address, ...(patient.address ?? []).slice(1)] : (patient.address ?? []).slice(1),
  };
  return without(without(changed, 'telecom'), 'address');
}

function withExtensions<P extends Patient>(patient: P, extensions: Extension[]): P {
  return without({ ...patient, extension: extensions }, 'extension');
}

/** FHIR has no empty lists. */
function without<P extends Patient>(patient: P, name: 'extension' | 'communication' | 'telecom' | 'address'): P {
  if ((patient[name] ?? []).length > 0) return patient;
  const { [name]: _, ...rest } = patient;
  return rest as P;
}
