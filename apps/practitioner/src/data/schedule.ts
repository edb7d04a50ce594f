/** The calendar of the practitioner: when visits can be booked, and when they are away. */
import { useChange, useSearch } from '@medconsult/shared/fhir/hooks';
import { useSession } from '@medconsult/shared/session/context';
import type { Appointment, Bundle, Schedule, Slot } from 'fhir/r4';
import { addDays, dayOf } from '@medconsult/shared/format/time';
import { hoursOn, readRules } from '../logic/availability';
import type { Item } from '../logic/week';
import { instantOf } from '@medconsult/shared/format/zone';
import { instant } from './visits';

/** The practitioner's own Schedule: the active one that the server keeps. */
export function useSchedule() {
  const { user } = useSession();
  const asked = useSearch('Schedule', { actor: user.reference, active: true, _count: 20 });
  const schedule = asked.data?.resources.find((each) => readRules(each).length > 0);
  return { asked, schedule };
}

/** The bookable hours between two instants, on the clock of the Schedule. */
export function openHours(schedule: Schedule | undefined, from: number, until: number): Item[] {
  const general = (schedule ? readRules(schedule) : []).find(({ service }) => !service);
  const zone = general?.timezone;
  if (!general || !zone) return [];
  const items: Item[] = [];
  // A window of the day before may reach over midnight.
  for (let day = addDays(dayOf(new Date(from), zone), -1); instantOf(day, 0, zone) < until; day = addDays(day, 1)) {
    for (const [start, end] of hoursOn(day, general)) {
      const to = end > 1440 ? instantOf(addDays(day, 1), end - 1440, zone) : instantOf(day, end, zone);
      const item = {
        id: `${day} ${start}`,
        start: instantOf(day, start, zone),
        end: end === 1440 ? instantOf(addDays(day, 1), 0, zone) : to,
      };
      if (item.start < item.end) items.push(item);
    }
  }
  return items;
}

/** Absences that touch the time between two instants. */
export function useAbsences(schedule: Schedule | undefined, from: number, until: number) {
  // Slots are found by their beginning: one that began long before may go on.
  const longest = 60 * 86_400_000;
  const asked = useSearch(
    'Slot',
    schedule && {
      schedule: `Schedule/${schedule.id}`,
      status: 'busy-unavailable',
      start: [`ge${instant(from - longest)}`, `lt${instant(until)}`],
      _sort: 'start',
      _count: 200,
    },
  );
  return { asked, absences: (asked.data?.resources ?? []).filter(({ end }) => Date.parse(end) > from) };
}

export interface Absence {
  start: number;
  end: number;
  comment: string;
}

/** Blocks time, or tells which visits that would hit. */
export function useBlock(schedule: Schedule | undefined) {
  const { fhir } = useSession();
  const call = ({ start, end, comment }: Absence, preview: boolean) =>
    fhir.operation<Bundle>(`Schedule/${schedule?.id}/$block`, [
      { name: 'start', valueDateTime: instant(start) },
      { name: 'end', valueDateTime: instant(end) },
      ...(comment.trim() ? [{ name: 'comment', valueString: comment.trim() }] : []),
      ...(preview ? [{ name: 'preview', valueBoolean: true }] : []),
    ]);
  const preview = useChange<Absence, Bundle>({ run: (absence) => call(absence, true), touches: [] });
  const block = useChange<Absence, Bundle>({ run: (absence) => call(absence, false), touches: ['Slot', 'Task', 'Appointment'] });
  const lift = useChange<Slot, Slot>({ run: (slot) => fhir.update(freed(slot)), touches: ['Slot'] });
  return { preview, block, lift };
}

/** The time of an absence as it is when it can be booked again: no longer one of those that take time, whose profile it leaves. */
function freed({ comment: _, ...slot }: Slot): Slot {
  const { versionId } = slot.meta ?? {};
  return { ...slot, ...(versionId && { meta: { versionId } }), status: 'free' };
}

/** The visits in the answer of `$block`: those that are there, not those that are proposed. */
export function visitsHit(bundle: Bundle): Appointment[] {
  return (bundle.entry ?? []).flatMap(({ resource, search }) =>
    resource?.resourceType === 'Appointment' && resource.status !== 'proposed' && search?.mode !== 'include' ? [resource] : [],
  );
}
