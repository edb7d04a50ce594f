/** What there is to say about a visit, and what can be done with it. */
import type { Appointment, Task } from 'fhir/r4';
import { extension, refersTo, split } from '@medconsult/shared/fhir/values';
import { labelOf, type VisitLabel } from '@medconsult/shared/ui/status';
import type { Policy } from '../booking/offers';

const OPEN: readonly VisitLabel[] = ['held', 'requested', 'pending-payment', 'approved', 'waiting-room', 'waiting-list'];

/** Whether it is still to come. */
export function isAhead(visit: Appointment, now: number): boolean {
  return OPEN.includes(labelOf(visit)) && Date.parse(visit.end ?? visit.start ?? '') > now;
}

/** The practitioner's name as the visit has it. */
export function whoIn(visit: Appointment): string {
  return visit.participant.find((each) => each.actor && refersTo(each.actor, 'Practitioner'))?.actor?.display ?? '';
}

export function whatIn(visit: Appointment): string {
  const service = visit.participant.find((each) => each.actor && refersTo(each.actor, 'HealthcareService'))?.actor?.display;
  return service ?? visit.serviceType?.[0]?.text ?? visit.serviceType?.[0]?.coding?.[0]?.display ?? '';
}

export type Action = 'finish' | 'pay' | 'join' | 'calendar' | 'move' | 'cancel' | 'again' | 'release';

/** What the patient can do now; the first is the one to do. */
export function actionsFor(visit: Appointment, now: number): Action[] {
  const label = labelOf(visit);
  const ahead = Date.parse(visit.start ?? '') > now;
  switch (label) {
    case 'held':
      return ['finish', 'release'];
    case 'pending-payment':
      return ['pay', ...(ahead ? (['move', 'cancel'] as const) : [])];
    case 'requested':
      return ahead ? ['calendar', 'move', 'cancel'] : [];
    case 'approved':
      return [...(addressOf(visit) ? (['join'] as const) : []), 'calendar', ...(ahead ? (['move', 'cancel'] as const) : [])];
    case 'waiting-room':
      return addressOf(visit) ? ['join'] : [];
    case 'waiting-list':
      return ['cancel'];
    default:
      return ['again'];
  }
}

/** Where the visit takes place, when the practice has put an address into it. */
export function addressOf(visit: Appointment): string | undefined {
  const virtual = visit.extension?.find((each) => each.url.endsWith('/5.0/StructureDefinition/extension-Appointment.virtualService'));
  const address = virtual?.extension?.find((each) => each.url.startsWith('address'));
  const url = address?.valueUrl ?? address?.valueString ?? address?.valueContactPoint?.value;
  return url?.startsWith('https://') ? url : undefined;
}

/** Until when one moves or cancels without the practice, `undefined` for until it begins. */
export function noticeEnds(visit: Appointment, hours: number | undefined): number {
  return Date.parse(visit.start ?? '') - (hours ?? 0) * 3_600_000;
}

/** What comes back of what was paid, in percent, if it is cancelled now. */
export function refundPercent(visit: Appointment, policy: Policy, now: number): number {
  return now <= noticeEnds(visit, policy.cancelNotice) ? 100 : policy.lateRefundPercent;
}

/** The invoice of a visit, as a reference. */
export function invoiceOf(visit: Appointment): string | undefined {
  const reference = visit.supportingInformation?.find((each) => refersTo(each, 'Invoice'))?.reference;
  const at = split(reference);
  return at && `${at.type}/${at.id}`;
}

/** The times that a Task offers or asks for. */
export function timesIn(task: Task): string[] {
  return (task.input ?? []).flatMap((input) => (input.type.coding?.some((coding) => coding.code === 'proposed-start') && input.valueInstant ? [input.valueInstant] : []));
}

export const holdEnds = (visit: Appointment): string | undefined => extension(visit, 'hold-expires')?.valueInstant;
