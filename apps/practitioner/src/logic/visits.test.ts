import type { Appointment, Encounter } from 'fhir/r4';
import { describe, expect, it } from 'vitest';
import { byTab, encountersByAppointment, nextVisit, standingOf, visitOf } from './visits';

const NOW = Date.parse('2026-11-23T10:00:00Z');

function appointment(
  id: string,
  status: Appointment['status'],
  start: string,
  patient = 'accepted',
  practitioner = 'accepted',
): Appointment {
  const begin = Date.parse(`2026-11-23T${start}:00Z`);
  return {
    resourceType: 'Appointment',
    id,
    status,
    start: new Date(begin).toISOString(),
    end: new Date(begin + 30 * 60_000).toISOString(),
    participant: [
      { actor: { reference: `Patient/${id}` }, status: patient as 'accepted' },
      { actor: { reference: 'Practitioner/d' }, status: practitioner as 'accepted' },
    ],
  };
}

function encounter(of: string, status: Encounter['status'], arrived?: string): Encounter {
  return {
    resourceType: 'Encounter',
    status,
    class: { code: 'VR' },
    appointment: [{ reference: `Appointment/${of}` }],
    period: { start: arrived },
    statusHistory: arrived ? [{ status: 'arrived', period: { start: arrived } }] : undefined,
  };
}

describe('a visit', () => {
  it('stands where status and participants say', () => {
    expect(standingOf(appointment('a', 'pending', '10:00', 'accepted', 'needs-action'))).toBe('requested');
    expect(standingOf(appointment('a', 'pending', '10:00', 'tentative', 'needs-action'))).toBe('pending-payment');
    expect(standingOf(appointment('a', 'pending', '10:00', 'needs-action', 'needs-action'))).toBe('held');
    expect(standingOf(appointment('a', 'cancelled', '10:00', 'accepted', 'declined'))).toBe('rejected');
    const expired = appointment('a', 'cancelled', '10:00', 'tentative');
    expired.meta = { tag: [{ system: 'https://medconsult.example/fhir/CodeSystem/appointment-label', code: 'payment-expired' }] };
    expect(standingOf(expired)).toBe('payment-expired');
  });

  it('takes place while its Encounter does', () => {
    const arrived = appointment('a', 'arrived', '10:00');
    expect(standingOf(arrived)).toBe('waiting-room');
    expect(standingOf(arrived, encounter('a', 'in-progress'))).toBe('in-progress');
    expect(standingOf(appointment('a', 'fulfilled', '10:00'), encounter('a', 'finished'))).toBe('completed');
  });

  it('counts the minutes of who waits, not of who is seen', () => {
    const waiting = visitOf(appointment('a', 'arrived', '09:55'), encounter('a', 'arrived', '2026-11-23T09:47:30Z'), NOW);
    expect([waiting.waitingMinutes, waiting.lateMinutes, waiting.action]).toEqual([12, 5, 'start']);
    const seen = visitOf(appointment('a', 'checked-in', '09:55'), encounter('a', 'in-progress', '2026-11-23T09:47:30Z'), NOW);
    expect([seen.waitingMinutes, seen.lateMinutes, seen.action]).toEqual([undefined, 0, 'continue']);
    const without = appointment('a', 'arrived', '10:30');
    without.meta = { lastUpdated: '2026-11-23T09:58:00Z' };
    expect(visitOf(without, undefined, NOW).waitingMinutes).toBe(2);
  });

  it('has one thing to do', () => {
    const action = (...of: Parameters<typeof appointment>) => visitOf(appointment(...of), undefined, NOW).action;
    expect(action('a', 'pending', '15:00', 'accepted', 'needs-action')).toBe('approve');
    expect(action('a', 'pending', '15:00', 'tentative', 'needs-action')).toBe('approve');
    expect(action('a', 'pending', '15:00', 'tentative', 'accepted')).toBe('none');
    expect(action('a', 'booked', '15:00')).toBe('open-chart');
    expect(action('a', 'booked', '10:15')).toBe('start');
    expect(action('a', 'booked', '10:16')).toBe('open-chart');
    expect(action('a', 'fulfilled', '09:00')).toBe('write-note');
    expect(action('a', 'cancelled', '09:00')).toBe('none');
  });
});

describe('a day', () => {
  const visits = [
    appointment('later', 'booked', '15:00'),
    appointment('asked', 'pending', '11:00', 'accepted', 'needs-action'),
    appointment('waits', 'arrived', '10:30'),
    appointment('missed', 'noshow', '08:00'),
    appointment('unpaid', 'pending', '16:00', 'tentative', 'accepted'),
    appointment('held', 'pending', '17:00', 'needs-action', 'needs-action'),
    appointment('off', 'cancelled', '09:00'),
  ].map((one) => visitOf(one, undefined, NOW));

  it('is in four tabs, each by time', () => {
    const ids = Object.entries(byTab(visits)).map(([tab, list]) => [tab, list.map((visit) => visit.appointment.id)]);
    expect(Object.fromEntries(ids)).toEqual({
      requests: ['asked'],
      today: ['waits', 'later', 'unpaid'],
      done: ['missed'],
      cancelled: ['off'],
    });
  });

  it('goes on with who is being seen, then with who waits, then with who is to come', () => {
    const next = (list: typeof visits) => nextVisit(list, NOW)?.appointment.id;
    expect(next(visits)).toBe('waits');
    expect(next(visits.filter((visit) => visit.appointment.id !== 'waits'))).toBe('later');
    const seen = visitOf(appointment('seen', 'checked-in', '09:30'), encounter('seen', 'in-progress'), NOW);
    expect(next([...visits, seen])).toBe('seen');
    // Nobody came to that one, and its time is over.
    expect(next([visitOf(appointment('past', 'booked', '09:00'), undefined, NOW)])).toBeUndefined();
    expect(next([])).toBeUndefined();
  });

  it('knows the Encounter of each', () => {
    const first = encounter('a', 'cancelled', '2026-11-23T08:00:00Z');
    const second = encounter('a', 'in-progress', '2026-11-23T09:00:00Z');
    expect(encountersByAppointment([second, first]).get('Appointment/a')).toBe(second);
  });
});
