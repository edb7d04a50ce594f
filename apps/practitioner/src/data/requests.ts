/** What waits for an answer of the practitioner: visits that were asked for, and visits that are to be moved. */
import { useChange, useSearch } from '@medconsult/shared/fhir/hooks';
import type { Stored } from '@medconsult/shared/fhir/client';
import { relative, systemUrl } from '@medconsult/shared/fhir/values';
import { useSession } from '@medconsult/shared/session/context';
import type { Appointment, AppointmentResponse, Patient, Task } from 'fhir/r4';
import { useMemo } from 'react';
import { answered, answerTo, offerOf } from '../logic/moves';
import { actorOf, byTab, visitOf } from '../logic/visits';
import { useNow } from './clock';
import { useSelf } from './visits';

/** A Task about another time, with the visit and whom it is with. */
export interface Asked {
  task: Stored<Task>;
  appointment: Stored<Appointment> | undefined;
  patient: Stored<Patient> | undefined;
}

const CODES = systemUrl('task-code');

export function useRequests() {
  const { user } = useSession();
  const now = useNow();
  const pending = useSearch('Appointment', {
    practitioner: user.reference,
    status: 'pending',
    _include: 'Appointment:patient',
    _sort: 'date',
    _count: 200,
  });
  const tasks = useSearch('Task', {
    owner: user.reference,
    status: 'requested',
    code: `${CODES}|reschedule-request`,
    _include: ['Task:focus', 'Task:patient'],
    _sort: 'authored-on',
    _count: 200,
  });
  const offers = useSearch('Task', { requester: user.reference, status: 'requested', code: `${CODES}|reschedule-offer`, _count: 200 });
  return useMemo(() => {
    const visits = byTab((pending.data?.resources ?? []).map((each) => visitOf(each, undefined, now))).requests;
    const included = tasks.data?.included ?? [];
    const find = <T extends 'Appointment' | 'Patient'>(type: T, reference: string | undefined) =>
      included.find((each) => each.resourceType === type && `${type}/${each.id}` === relative(reference));
    const moves: Asked[] = (tasks.data?.resources ?? []).map((task) => ({
      task,
      appointment: find('Appointment', task.focus?.reference) as Asked['appointment'],
      patient: find('Patient', task.for?.reference) as Asked['patient'],
    }));
    const patients = new Map((pending.data?.included ?? []).map((each) => [`${each.resourceType}/${each.id}`, each]));
    const patientOf = (appointment: Appointment) =>
      patients.get(relative(actorOf(appointment, 'Patient')?.actor?.reference) ?? '') as Stored<Patient> | undefined;
    // A visit for which other times were offered waits for its patient.
    const offered = new Map((offers.data?.resources ?? []).map((task) => [relative(task.focus?.reference) ?? '', task]));
    const waiting = visits.filter(({ appointment }) => !offered.has(`Appointment/${appointment.id}`));
    return { pending, tasks, visits, moves, offered, patientOf, count: waiting.length + moves.length };
  }, [pending, tasks, offers.data, now]);
}

const TOUCHES = ['Appointment', 'AppointmentResponse', 'Slot', 'Task', 'Invoice'] as const;

export function useAnswers() {
  const { fhir } = useSession();
  const self = useSelf();
  const approve = useChange<Appointment, AppointmentResponse>({
    run: (appointment) => fhir.create(answerTo(appointment, self, 'accepted')),
    touches: TOUCHES,
    expect: {
      type: 'Appointment',
      apply: (each, appointment) => (each.id === appointment.id && each.resourceType === 'Appointment' ? accepted(each) : each),
    },
  });
  const reject = useChange<{ appointment: Appointment; comment: string }, AppointmentResponse>({
    run: ({ appointment, comment }) => fhir.create(answerTo(appointment, self, 'declined', comment)),
    touches: TOUCHES,
  });
  const propose = useChange<{ appointment: Appointment; starts: number[]; comment: string }, Task>({
    run: ({ appointment, starts, comment }) => fhir.create(offerOf(appointment, self, starts, new Date(), comment)),
    touches: TOUCHES,
  });
  const answer = useChange<{ task: Task; answer: 'accepted' | 'rejected' | 'cancelled'; start?: number }, Task>({
    run: ({ task, answer: given, start }) => fhir.update(answered(task, given, start)),
    touches: TOUCHES,
  });
  return { approve, reject, propose, answer };
}

/** As it will probably be: what is to be paid first stays pending, and comes back as such. */
function accepted(appointment: Stored<Appointment>): Stored<Appointment> {
  const isPaid = actorOf(appointment, 'Patient')?.status === 'accepted';
  const participant = appointment.participant.map((each) =>
    each.actor?.reference?.includes('Practitioner/') ? { ...each, status: 'accepted' as const } : each,
  );
  return { ...appointment, participant, ...(isPaid && { status: 'booked' as const }) };
}
