// The visits of a day as a practitioner works through them: where each stands, who waits since when, who is next, and the
// one thing to do about each.

import type { Appointment, Encounter } from 'fhir/r4';
import { systemUrl, tagOf } from '@medconsult/shared/fhir/values';
import { MINUTE } from '@medconsult/shared/format/zone';

/** Where a visit stands; the codes of the server's appointment-label, and `in-progress` for one that takes place now. */
export type Standing =
  | 'held'
  | 'requested'
  | 'pending-payment'
  | 'approved'
  | 'waiting-room'
  | 'in-progress'
  | 'completed'
  | 'no-show'
  | 'rejected'
  | 'cancelled'
  | 'payment-expired'
  | 'hold-expired'
  | 'rescheduled'
  | 'waiting-list';

export type Tab = 'requests' | 'today' | 'done' | 'cancelled';

/** The one thing to do about a visit; `none` where it is somebody else's turn. */
export type Action = 'approve' | 'start' | 'continue' | 'write-note' | 'open-chart' | 'none';

export interface Visit {
  appointment: Appointment;
  encounter?: Encounter;
  standing: Standing;
  tab: Tab;
  action: Action;
  start: number;
  end: number;
  /** When the patient came into the waiting room. */
  waitingSince?: number;
  /** Whole minutes in the waiting room until now. */
  waitingMinutes?: number;
  /** Minutes since it should have begun; zero until then, and once it has. */
  lateMinutes: number;
  /** What was asked to be paid is not paid yet. */
  unpaid: boolean;
}

/** How long before its beginning a visit can be started. */
const EARLY = 15 * MINUTE;

export function actorOf(appointment: Appointment, type: string) {
  return appointment.participant.find(
    (participant) => participant.actor?.reference?.startsWith(`${type}/`) || participant.actor?.type === type,
  );
}

/** The standing of an Appointment. The server's tag is a copy for searches: what counts are status and participants. */
export function standingOf(appointment: Appointment, encounter?: Encounter): Standing {
  const said = (type: string) => actorOf(appointment, type)?.status;
  switch (appointment.status) {
    case 'pending':
      if (said('Patient') === 'needs-action') return 'held';
      return said('Patient') === 'tentative' ? 'pending-payment' : 'requested';
    case 'booked':
    case 'arrived':
    case 'checked-in':
      if (encounter?.status === 'in-progress' || encounter?.status === 'onleave') return 'in-progress';
      if (encounter?.status === 'arrived' || encounter?.status === 'triaged') return 'waiting-room';
      return appointment.status === 'booked' ? 'approved' : 'waiting-room';
    case 'fulfilled':
      return 'completed';
    case 'noshow':
      return 'no-show';
    case 'waitlist':
      return 'waiting-list';
    case 'cancelled': {
      if (said('Practitioner') === 'declined') return 'rejected';
      const label = tagOf(appointment.meta, systemUrl('appointment-label'));
      const told = ['payment-expired', 'hold-expired', 'rescheduled'] as const;
      return told.find((code) => code === label) ?? 'cancelled';
    }
    default:
      return 'cancelled';
  }
}

/** When the patient came: as the Encounter's history tells, else as far as the Appointment does. */
export function arrivalOf(appointment: Appointment, encounter?: Encounter): number | undefined {
  const arrived =
    encounter?.statusHistory?.find((entry) => entry.status === 'arrived')?.period.start ??
    (encounter?.status === 'arrived' ? encounter.period?.start : undefined);
  if (arrived) return Date.parse(arrived);
  const isThere = appointment.status === 'arrived' || appointment.status === 'checked-in';
  // An Appointment does not say when it came to its status; the last change of one that waits is its arrival.
  const changed = isThere ? appointment.meta?.lastUpdated : undefined;
  return changed ? Date.parse(changed) : undefined;
}

function tabOf(standing: Standing, practitionerSaid?: string): Tab {
  switch (standing) {
    case 'requested':
      return 'requests';
    case 'pending-payment':
      return practitionerSaid === 'needs-action' ? 'requests' : 'today';
    case 'completed':
    case 'no-show':
      return 'done';
    case 'rejected':
    case 'cancelled':
    case 'payment-expired':
    case 'hold-expired':
    case 'rescheduled':
      return 'cancelled';
    default:
      return 'today';
  }
}

function actionOf(visit: Omit<Visit, 'action'>, practitionerSaid: string | undefined, now: number): Action {
  switch (visit.standing) {
    case 'requested':
      return 'approve';
    case 'pending-payment':
      return practitionerSaid === 'needs-action' ? 'approve' : 'none';
    case 'waiting-room':
      return 'start';
    case 'approved':
      return now >= visit.start - EARLY ? 'start' : 'open-chart';
    case 'in-progress':
      return 'continue';
    case 'completed':
      return 'write-note';
    case 'no-show':
      return 'open-chart';
    default:
      return 'none';
  }
}

/** What is to be shown of an Appointment at `now`. */
export function visitOf(appointment: Appointment, encounter: Encounter | undefined, now: number): Visit {
  const standing = standingOf(appointment, encounter);
  const said = actorOf(appointment, 'Practitioner')?.status;
  const start = Date.parse(appointment.start ?? '');
  const waitingSince = standing === 'waiting-room' ? arrivalOf(appointment, encounter) : undefined;
  const isDue = standing === 'approved' || standing === 'waiting-room';
  const visit = {
    appointment,
    encounter,
    standing,
    start,
    waitingSince,
    tab: tabOf(standing, said),
    end: Date.parse(appointment.end ?? ''),
    waitingMinutes: waitingSince === undefined ? undefined : Math.max(0, Math.floor((now - waitingSince) / MINUTE)),
    lateMinutes: isDue ? Math.max(0, Math.floor((now - start) / MINUTE)) : 0,
    unpaid: standing === 'pending-payment',
  };
  return { ...visit, action: actionOf(visit, said, now) };
}

/** Visits in the order in which they are seen: those of a time by who waits longer. */
export function inOrder(visits: Visit[]): Visit[] {
  return [...visits].sort(
    (one, other) =>
      one.start - other.start ||
      (one.waitingSince ?? Infinity) - (other.waitingSince ?? Infinity) ||
      (one.appointment.id ?? '').localeCompare(other.appointment.id ?? ''),
  );
}

/** The visits of each tab. What is only held is nobody's visit yet, and in none. */
export function byTab(visits: Visit[]): Record<Tab, Visit[]> {
  const tabs: Record<Tab, Visit[]> = { requests: [], today: [], done: [], cancelled: [] };
  for (const visit of inOrder(visits)) {
    if (visit.standing !== 'held' && visit.standing !== 'hold-expired') tabs[visit.tab].push(visit);
  }
  return tabs;
}

/** Whom to see now: a visit that takes place; else, of those who wait, whose time comes first; else the next to come. */
export function nextVisit(visits: Visit[], now: number): Visit | undefined {
  const ordered = inOrder(visits);
  return (
    ordered.find((visit) => visit.standing === 'in-progress') ??
    ordered.find((visit) => visit.standing === 'waiting-room') ??
    ordered.find((visit) => visit.standing === 'approved' && visit.end > now)
  );
}

/** Encounters by the Appointment that they are of; the latest, should there be several. */
export function encountersByAppointment(encounters: Encounter[]): Map<string, Encounter> {
  const found = new Map<string, Encounter>();
  for (const encounter of encounters) {
    for (const { reference } of encounter.appointment ?? []) {
      const before = reference && found.get(reference);
      if (reference && (!before || (before.period?.start ?? '') < (encounter.period?.start ?? ''))) {
        found.set(reference, encounter);
      }
    }
  }
  return found;
}
