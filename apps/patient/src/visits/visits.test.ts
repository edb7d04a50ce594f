import type { Appointment } from 'fhir/r4';
import { describe, expect, it } from 'vitest';
import { labelOf } from '@medconsult/shared/ui/status';
import type { Policy } from '../booking/offers';
import { todosOf } from '../home/todo';
import { actionsFor, isAhead, refundPercent } from './visits';

const NOW = Date.parse('2026-11-23T12:00:00Z');
const HOUR = 3_600_000;
type Status = Appointment['participant'][number]['status'];

const visit = (status: Appointment['status'], patient: Status, practitioner: Status, hours = 48, more: Partial<Appointment> = {}): Appointment & { id: string } => ({
  resourceType: 'Appointment',
  id: '7',
  status,
  start: new Date(NOW + hours * HOUR).toISOString(),
  end: new Date(NOW + (hours + 0.5) * HOUR).toISOString(),
  participant: [
    { status: patient, actor: { reference: 'Patient/1' } },
    { status: practitioner, actor: { reference: 'Practitioner/2' } },
  ],
  ...more,
});

describe('a visit', () => {
  it('has a label where the server writes none', () => {
    const labels = [
      visit('pending', 'needs-action', 'needs-action'),
      visit('pending', 'accepted', 'needs-action'),
      visit('pending', 'tentative', 'needs-action'),
      visit('booked', 'accepted', 'accepted'),
      visit('cancelled', 'accepted', 'declined'),
      visit('cancelled', 'accepted', 'accepted'),
      visit('noshow', 'accepted', 'accepted'),
    ].map(labelOf);
    expect(labels).toEqual(['held', 'requested', 'pending-payment', 'approved', 'rejected', 'cancelled', 'no-show']);
  });

  it('offers what can be done, the thing to do first', () => {
    expect(actionsFor(visit('pending', 'tentative', 'accepted'), NOW)).toEqual(['pay', 'move', 'cancel']);
    expect(actionsFor(visit('booked', 'accepted', 'accepted'), NOW)).toEqual(['calendar', 'move', 'cancel']);
    expect(actionsFor(visit('cancelled', 'accepted', 'declined'), NOW)).toEqual(['again']);
    // Once it has begun, it is neither moved nor cancelled.
    expect(actionsFor(visit('booked', 'accepted', 'accepted', -0.1), NOW)).toEqual(['calendar']);
  });

  it('is joined only where there is an address, and a safe one', () => {
    const at = (address: string) => ({ extension: [{ url: 'http://hl7.org/fhir/5.0/StructureDefinition/extension-Appointment.virtualService', extension: [{ url: 'addressUrl', valueUrl: address }] }] });
    expect(actionsFor(visit('booked', 'accepted', 'accepted', 1, at('https://video.example/7')), NOW)[0]).toBe('join');
    expect(actionsFor(visit('booked', 'accepted', 'accepted', 1, at('javascript:alert(1)')), NOW)[0]).toBe('calendar');
  });

  it('is ahead until it is over', () => {
    expect(isAhead(visit('booked', 'accepted', 'accepted', -0.25), NOW)).toBe(true);
    expect(isAhead(visit('booked', 'accepted', 'accepted', -1), NOW)).toBe(false);
    expect(isAhead(visit('cancelled', 'accepted', 'accepted'), NOW)).toBe(false);
  });

  it('costs what the policy says when it is cancelled', () => {
    const policy: Policy = { approval: 'auto', payment: 'before-approval', rescheduleNotice: 24, cancelNotice: 24, lateRefundPercent: 50, intake: undefined };
    expect(refundPercent(visit('booked', 'accepted', 'accepted', 25), policy, NOW)).toBe(100);
    expect(refundPercent(visit('booked', 'accepted', 'accepted', 23), policy, NOW)).toBe(50);
  });
});

it('waits for the patient while it can be paid, and no longer', () => {
  const until = (hours: number) => ({ extension: [{ url: 'https://medconsult.example/fhir/StructureDefinition/hold-expires', valueInstant: new Date(NOW + hours * HOUR).toISOString() }] });
  const todos = (hours: number) => todosOf([visit('pending', 'tentative', 'accepted', 48, until(hours))], [], NOW);
  expect(todos(1).map((todo) => todo.kind)).toEqual(['pay']);
  expect(todos(-1)).toEqual([]);
});
