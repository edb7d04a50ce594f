/** What can be booked: practitioners with their services, prices and next free times, put together out of what the server keeps. */
import type { Appointment, ChargeItemDefinition, FhirResource, HealthcareService, Money, Practitioner, PractitionerRole, Schedule } from 'fhir/r4';
import type { Stored } from '@medconsult/shared/fhir/client';
import { extension, part, split, textOfConcept } from '@medconsult/shared/fhir/values';

export interface Service {
  id: string;
  name: string;
  comment: string | undefined;
  minutes: number | undefined;
  policy: Policy;
  price: Money | undefined;
}

export interface Policy {
  /** Whether the practitioner agrees first. */
  approval: 'auto' | 'manual';
  payment: 'none' | 'before-approval' | 'after-approval';
  /** Hours before the visit up to which one moves it alone, and cancels for the full refund. */
  rescheduleNotice: number | undefined;
  cancelNotice: number | undefined;
  /** What comes back afterwards. */
  lateRefundPercent: number;
  /** The canonical of the questions that are asked. */
  intake: string | undefined;
}

export interface Offer {
  practitioner: Stored<Practitioner>;
  specialties: string[];
  /** Codes of the languages that the practitioner speaks. */
  languages: string[];
  services: Service[];
  /** The next free time. */
  next: Appointment | undefined;
}

export function policyOf(service: HealthcareService | undefined): Policy {
  const policy = extension(service, 'booking-policy');
  return {
    approval: part(policy, 'approval')?.valueCode === 'auto' ? 'auto' : 'manual',
    payment: (part(policy, 'payment')?.valueCode as Policy['payment'] | undefined) ?? 'none',
    rescheduleNotice: hoursOf(part(policy, 'rescheduleNotice')?.valueDuration),
    cancelNotice: hoursOf(part(policy, 'cancelNotice')?.valueDuration),
    lateRefundPercent: part(policy, 'lateRefundPercent')?.valueUnsignedInt ?? 0,
    intake: part(policy, 'intake')?.valueCanonical,
  };
}

/** A duration of UCUM in hours. */
export function hoursOf(duration: { value?: number | undefined; code?: string | undefined } | undefined): number | undefined {
  const hours = { min: 1 / 60, h: 1, d: 24, wk: 168 }[duration?.code ?? ''];
  return duration?.value === undefined || hours === undefined ? undefined : duration.value * hours;
}

/** The amount of a price list's entry. */
export function priceOf(service: HealthcareService | undefined, prices: readonly ChargeItemDefinition[]): Money | undefined {
  const url = part(extension(service, 'booking-policy'), 'price')?.valueCanonical?.split('|')[0];
  const price = url === undefined ? undefined : prices.find((each) => each.url === url);
  return price?.propertyGroup?.[0]?.priceComponent?.find((each) => each.type === 'base')?.amount;
}

export function serviceOf(service: Stored<HealthcareService>, prices: readonly ChargeItemDefinition[], schedule?: Schedule): Service {
  const own = schedule?.extension?.filter((each) => each.url.endsWith('/scheduling-parameters')) ?? [];
  const forThis = own.find((each) => split(part(each, 'service')?.valueReference?.reference)?.id === service.id);
  const general = own.find((each) => part(each, 'service') === undefined);
  // In the order in which the server asks them.
  const durations = [forThis, general, extension(service, 'scheduling-parameters')].map((each) => part(each, 'duration')?.valueDuration);
  const hours = hoursOf(durations.find((each) => each !== undefined));
  return {
    id: service.id,
    name: service.name ?? textOfConcept(service.type?.[0]),
    comment: service.comment,
    minutes: hours === undefined ? 30 : Math.round(hours * 60),
    policy: policyOf(service),
    price: priceOf(service, prices),
  };
}

/** Every practitioner with a calendar, those who are free soonest first. */
export function offersOf(found: {
  schedules: Stored<Schedule>[];
  actors: Stored<FhirResource>[];
  roles: PractitionerRole[];
  prices: ChargeItemDefinition[];
  proposals: Appointment[];
}): Offer[] {
  const actor = (reference: string | undefined) => {
    const at = split(reference);
    return found.actors.find((each) => each.resourceType === at?.type && each.id === at.id);
  };
  const offers = found.schedules.flatMap((schedule): Offer[] => {
    const actors = schedule.actor.map((each) => actor(each.reference)).filter((each) => each !== undefined);
    const practitioner = actors.find((each) => each.resourceType === 'Practitioner');
    const services = actors.filter((each) => each.resourceType === 'HealthcareService').filter((each) => each.active !== false);
    if (!practitioner || practitioner.active === false || services.length === 0) return [];
    const roles = found.roles.filter((role) => split(role.practitioner?.reference)?.id === practitioner.id && role.active !== false);
    const specialties = [...roles.flatMap((role) => role.specialty ?? []), ...(schedule.specialty ?? [])].map(textOfConcept);
    return [
      {
        practitioner,
        specialties: [...new Set(specialties)].filter(Boolean),
        languages: languagesOf(practitioner),
        services: services.map((service) => serviceOf(service, found.prices, schedule)),
        next: found.proposals.find((proposal) => practitionerOf(proposal) === practitioner.id),
      },
    ];
  });
  return offers.sort((one, other) => startOf(one) - startOf(other));
}


export function languagesOf(practitioner: Practitioner): string[] {
  return (practitioner.communication ?? []).flatMap((each) => each.coding?.find((coding) => coding.code)?.code?.split('-')[0] ?? []);
}

/** The id of who is visited. */
export const practitionerOf = (visit: Appointment): string | undefined => actorOf(visit, 'Practitioner');
/** The id of what is booked. */
export const serviceIdOf = (visit: Appointment): string | undefined => actorOf(visit, 'HealthcareService');

function actorOf(visit: Appointment, type: string): string | undefined {
  return visit.participant.map((each) => split(each.actor?.reference)).find((at) => at?.type === type)?.id;
}

export interface Filter {
  specialty?: string;
  language?: string;
  service?: string;
  /** At most this much, in whatever currency the price is. */
  price?: number;
  text?: string;
}

export function matches(offer: Offer, filter: Filter, nameOf: (practitioner: Practitioner) => string): boolean {
  const services = filter.service ? offer.services.filter((service) => service.id === filter.service) : offer.services;
  const words = (filter.text ?? '').toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const haystack = [nameOf(offer.practitioner), ...offer.specialties, ...offer.services.map((service) => service.name)].join(' ').toLocaleLowerCase();
  return (
    services.some((service) => filter.price === undefined || (service.price?.value ?? 0) <= filter.price) &&
    (!filter.specialty || offer.specialties.includes(filter.specialty)) &&
    (!filter.language || offer.languages.includes(filter.language)) &&
    words.every((word) => haystack.includes(word))
  );
}

/** Who has no free time comes last. */
const startOf = (offer: Offer): number => (offer.next?.start ? Date.parse(offer.next.start) : Number.MAX_SAFE_INTEGER);
