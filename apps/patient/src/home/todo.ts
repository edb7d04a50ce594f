/** What waits for the patient: visits to be paid or finished, and other times that the practice offers. */
import type { Appointment, Task } from 'fhir/r4';
import { useMemo } from 'react';
import type { Stored } from '@medconsult/shared/fhir/client';
import { useSearch } from '@medconsult/shared/fhir/hooks';
import { extension, split, systemUrl } from '@medconsult/shared/fhir/values';
import { useSession } from '@medconsult/shared/session/context';
import { labelOf } from '@medconsult/shared/ui/status';

export type Todo =
  | { kind: 'pay' | 'finish'; visit: Stored<Appointment>; until: string | undefined }
  | { kind: 'offer'; visit: string; task: Stored<Task>; until: undefined };

/** A year back and all that is ahead: what the visits' page shows first. */
export const VISITS = (patient: string | undefined) => ({ patient: `Patient/${patient ?? ''}`, _sort: '-date', _count: 100 });
export const OFFERS = (patient: string | undefined) => ({
  subject: `Patient/${patient ?? ''}`,
  code: `${systemUrl('task-code')}|reschedule-offer`,
  status: 'requested',
  _count: 50,
});

export function todosOf(visits: Stored<Appointment>[], offers: Stored<Task>[], now: number): Todo[] {
  const ofVisits = visits.flatMap((visit): Todo[] => {
    const label = labelOf(visit);
    const until = extension(visit, 'hold-expires')?.valueInstant;
    const isOver = until !== undefined && Date.parse(until) <= now;
    if (isOver || (label !== 'pending-payment' && label !== 'held')) return [];
    return [{ kind: label === 'held' ? 'finish' : 'pay', visit, until }];
  });
  const ofOffers = offers.flatMap((task): Todo[] => {
    const visit = split(task.focus?.reference);
    return visit ? [{ kind: 'offer', visit: visit.id, task, until: undefined }] : [];
  });
  return [...ofVisits, ...ofOffers];
}

const NOTHING: never[] = [];

export function useThingsToDo(): Todo[] {
  const { patient } = useSession();
  const visits = useSearch('Appointment', VISITS(patient)).data?.resources ?? NOTHING;
  const offers = useSearch('Task', OFFERS(patient)).data?.resources ?? NOTHING;
  return useMemo(() => todosOf(visits, offers, Date.now()), [visits, offers]);
}
