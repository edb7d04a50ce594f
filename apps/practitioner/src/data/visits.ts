/** The visits of the practitioner who is signed in, with whom they are. */
import type { Found, Query, Stored } from '@medconsult/shared/fhir/client';
import type { FhirFailure } from '@medconsult/shared/fhir/failure';
import { useChange, useRead, useSearch } from '@medconsult/shared/fhir/hooks';
import { nameOf, relative, textOfConcept } from '@medconsult/shared/fhir/values';
import { useMe } from '@medconsult/shared/format/context';
import { useSession } from '@medconsult/shared/session/context';
import type { UseQueryResult } from '@tanstack/react-query';
import type { Appointment, Bundle, Encounter, FhirResource, Patient, Reference } from 'fhir/r4';
import { useMemo } from 'react';
import { beginning, ending, missed } from '../logic/moves';
import { actorOf, encountersByAppointment, type Visit, visitOf } from '../logic/visits';
import { useNow } from './clock';

/** Who is signed in, as resources refer to them. */
export function useSelf(): Reference {
  const { user } = useSession();
  const { name } = useMe();
  return useMemo(() => ({ reference: user.reference, ...(name && { display: name }) }), [user.reference, name]);
}

export const instant = (at: number): string => new Date(at).toISOString();

export interface Visits {
  asked: UseQueryResult<Found<Appointment>, FhirFailure>;
  visits: Visit[];
  patientOf: (visit: Pick<Visit, 'appointment'>) => Stored<Patient> | undefined;
}

/** The visits between two instants. `more`: what else the Appointments must fulfil. */
export function useVisits(from: number, until: number, more: Query = {}): Visits {
  const { user } = useSession();
  const now = useNow();
  const asked = useSearch('Appointment', {
    practitioner: user.reference,
    date: [`ge${instant(from)}`, `lt${instant(until)}`],
    _include: 'Appointment:patient',
    _sort: 'date',
    _count: 500,
    ...more,
  });
  const encounters = useSearch('Encounter', {
    practitioner: user.reference,
    date: [`ge${instant(from - 86_400_000)}`, `lt${instant(until)}`],
    _count: 500,
  });
  return useMemo(() => {
    const found = encountersByAppointment(encounters.data?.resources ?? []);
    const visits = (asked.data?.resources ?? []).map((each) => visitOf(each, found.get(`Appointment/${each.id}`), now));
    return { asked, visits, patientOf: patientsIn(asked.data?.included) };
  }, [asked, encounters.data, now]);
}

/** One visit, with its Encounter and its patient. */
export function useVisit(id: string) {
  const now = useNow();
  const appointment = useRead<'Appointment'>(`Appointment/${id}`);
  const encounters = useSearch('Encounter', { appointment: `Appointment/${id}`, _sort: '-date', _count: 10 });
  const patient = useRead<'Patient'>(appointment.data && actorOf(appointment.data, 'Patient')?.actor?.reference);
  const encounter = encounters.data && encountersByAppointment(encounters.data.resources).get(`Appointment/${id}`);
  const visit = appointment.data && encounters.data ? visitOf(appointment.data, encounter, now) : undefined;
  return { appointment, encounters, patient, visit };
}

function patientsIn(included: Stored<FhirResource>[] | undefined): Visits['patientOf'] {
  const patients = new Map<string, Stored<Patient>>();
  for (const each of included ?? []) if (each.resourceType === 'Patient') patients.set(`Patient/${each.id}`, each);
  return ({ appointment }) => patients.get(relative(actorOf(appointment, 'Patient')?.actor?.reference) ?? '');
}

/** What the patient is called; what the visit says of them where the record is not at hand. */
export function patientName(appointment: Appointment, patient: Patient | undefined): string {
  return nameOf(patient?.name) || actorOf(appointment, 'Patient')?.actor?.display || '';
}

/** What the visit is, and what the patient said about it. */
export const serviceOf = (appointment: Appointment): string =>
  actorOf(appointment, 'HealthcareService')?.actor?.display ?? textOfConcept(appointment.serviceType?.[0]);
export const reasonOf = (appointment: Appointment): string =>
  appointment.description ?? (textOfConcept(appointment.reasonCode?.[0]) || appointment.comment || '');

/** The moves of a visit that are writes of Appointment and Encounter alone. */
export function useVisitMoves() {
  const { fhir } = useSession();
  const self = useSelf();
  const touches = ['Appointment', 'Encounter'] as const;
  const start = useChange<Visit, Bundle>({
    run: ({ appointment, encounter }) => fhir.transaction(beginning(appointment, encounter, self, new Date())),
    touches,
  });
  const finish = useChange<{ appointment: Appointment; encounter: Encounter }, Bundle>({
    run: ({ appointment, encounter }) => fhir.transaction(ending(appointment, encounter, new Date())),
    touches,
  });
  const miss = useChange<Visit, Appointment>({ run: ({ appointment }) => fhir.update(missed(appointment)), touches });
  return { start, finish, miss };
}
