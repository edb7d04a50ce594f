/** What booking asks the server for. */
import type { Appointment, Bundle, ChargeItemDefinition, FhirResource, HealthcareService, PractitionerRole } from 'fhir/r4';
import { useMemo } from 'react';
import { useFormats } from '@medconsult/shared/format/context';
import { dayOf } from '@medconsult/shared/format/time';
import { useAsk, useChange, useRead, useSearch } from '@medconsult/shared/fhir/hooks';
import type { Query, Stored } from '@medconsult/shared/fhir/client';
import { useSession } from '@medconsult/shared/session/context';
import { offersOf, serviceOf, type Offer, type Service } from './offers';

const proposalsIn = (bundle: Bundle | undefined): Appointment[] =>
  (bundle?.entry ?? []).flatMap(({ resource }) => (resource?.resourceType === 'Appointment' ? [resource] : []));

/** Everybody who can be booked. `service`: the next free time is one for that. */
export function useOffers(service?: string) {
  const { timeZone } = useFormats();
  const schedules = useSearch('Schedule', { active: true, _include: 'Schedule:actor', _count: 200 });
  const roles = useSearch('PractitionerRole', { active: true, _count: 500 });
  const prices = useSearch('ChargeItemDefinition', { status: 'active', _count: 200 });
  // Slots are what makes times free or not, so a change of one asks again.
  const first = useAsk<Bundle>('Slot', 'Appointment/$find', {
    'first-available': true,
    'time-zone': timeZone,
    'service': service && `HealthcareService/${service}`,
    '_count': 200,
  });
  const offers = useMemo((): Offer[] | undefined => {
    if (!schedules.data || !roles.data || !prices.data) return undefined;
    return offersOf({
      schedules: schedules.data.resources,
      actors: schedules.data.included as Stored<FhirResource>[],
      roles: roles.data.resources as PractitionerRole[],
      prices: prices.data.resources as ChargeItemDefinition[],
      proposals: proposalsIn(first.data),
    });
  }, [schedules.data, roles.data, prices.data, first.data]);
  const all = [schedules, roles, prices];
  return {
    data: offers,
    error: all.find((each) => each.error)?.error ?? null,
    isPending: offers === undefined,
    refetch: () => Promise.all(all.map((each) => each.refetch())),
    /** Whether next free times are known yet. */
    timesAreKnown: first.data !== undefined,
  } as const;
}

/** The free times of one practitioner for one service, from a day of the viewer's on. */
export function useTimes(practitioner: string | undefined, service: string | undefined, first: string, last: string, ignored?: string) {
  const { timeZone } = useFormats();
  const query: Query | undefined = practitioner && service ? {
    'practitioner': `Practitioner/${practitioner}`,
    'service': `HealthcareService/${service}`,
    'start': first,
    'end': last,
    'time-zone': timeZone,
    'ignore-appointment': ignored && `Appointment/${ignored}`,
    '_count': 500,
  } : undefined;
  const found = useAsk<Bundle>('Slot', 'Appointment/$find', query);
  const proposals = useMemo(() => proposalsIn(found.data), [found.data]);
  return { ...found, proposals };
}

/** The viewer's day of today. */
export function useToday(): string {
  return dayOf(new Date(), useFormats().timeZone);
}

/** A service with its price. */
export function useService(id: string | undefined): { data: Service | undefined; error: unknown } {
  const service = useRead<'HealthcareService'>(id && `HealthcareService/${id}`);
  const prices = useSearch('ChargeItemDefinition', { status: 'active', _count: 200 });
  const data = useMemo(
    () => (service.data && prices.data ? serviceOf(service.data as Stored<HealthcareService>, prices.data.resources) : undefined),
    [service.data, prices.data],
  );
  return { data, error: service.error ?? prices.error };
}

const onlyAppointment = (bundle: Bundle): Stored<Appointment> => {
  const found = proposalsIn(bundle)[0];
  if (!found) throw new Error('The answer has no Appointment.');
  return found as Stored<Appointment>;
};

/** Keeps a proposed time for some minutes. */
export function useHold() {
  const { fhir } = useSession();
  return useChange<Appointment, Stored<Appointment>>({
    run: async (proposal) =>
      onlyAppointment(
        await fhir.operation<Bundle>('Appointment/$hold', [{ name: 'appointment-reference', valueReference: { reference: `Appointment/${proposal.id}` } }]),
      ),
    touches: ['Appointment', 'Slot'],
  });
}

/** Books what is held, with what the patient tells about it. */
export function useBook() {
  const { fhir } = useSession();
  return useChange<Appointment, Stored<Appointment>>({
    run: async (visit) => onlyAppointment(await fhir.operation<Bundle>('Appointment/$book', [{ name: 'appointment-resource', resource: visit }])),
    touches: ['Appointment', 'Slot', 'Invoice', 'QuestionnaireResponse', 'Task'],
  });
}
