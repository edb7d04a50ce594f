import type { Appointment, Encounter } from 'fhir/r4';
import { describe, expect, it } from 'vitest';
import {
  answered,
  answerTo,
  beginning,
  EMPTY_NOTE,
  ending,
  noteOf,
  offerOf,
  plainText,
  proposedStarts,
  rescheduleKind,
  textOfNote,
} from './moves';

const NOW = new Date('2026-11-23T10:00:00Z');
const DOCTOR = { reference: 'Practitioner/d', display: 'Dr. Bell' };

const appointment: Appointment = {
  resourceType: 'Appointment',
  id: 'a',
  meta: { versionId: '3' },
  status: 'booked',
  start: '2026-11-23T10:00:00Z',
  end: '2026-11-23T10:30:00Z',
  participant: [
    { actor: { reference: 'Patient/p', display: 'Ada' }, status: 'accepted' },
    { actor: DOCTOR, status: 'accepted' },
  ],
};

describe('an answer', () => {
  it('is an AppointmentResponse', () => {
    expect(answerTo(appointment, DOCTOR, 'declined', ' Away. ')).toEqual({
      resourceType: 'AppointmentResponse',
      meta: { profile: ['https://medconsult.example/fhir/StructureDefinition/appointment-response'] },
      appointment: { reference: 'Appointment/a' },
      actor: DOCTOR,
      participantStatus: 'declined',
      comment: 'Away.',
    });
    expect(answerTo(appointment, DOCTOR, 'accepted', '')).not.toHaveProperty('comment');
  });

  it('may be other times, the earliest first', () => {
    const [late, early] = [Date.parse('2026-11-25T10:00:00Z'), Date.parse('2026-11-24T09:30:00Z')];
    const task = offerOf(appointment, DOCTOR, [late, early], NOW);
    expect([rescheduleKind(task), task.owner?.reference, task.for?.reference]).toEqual(['reschedule-offer', 'Patient/p', 'Patient/p']);
    expect(task.input?.map(({ valueInstant }) => valueInstant)).toEqual(['2026-11-24T09:30:00Z', '2026-11-25T10:00:00Z']);
    expect(proposedStarts(task)).toEqual([early, late]);
    const accepted = answered(task, 'accepted', late);
    expect([accepted.status, accepted.output?.[0]?.valueInstant]).toEqual(['accepted', '2026-11-25T10:00:00Z']);
    expect(answered(task, 'rejected')).not.toHaveProperty('output');
  });
});

describe('a visit', () => {
  it('begins with an Encounter, once', () => {
    const { entry } = beginning(appointment, undefined, DOCTOR, NOW);
    expect(entry?.map(({ request }) => request)).toEqual([
      { method: 'POST', url: 'Encounter', ifNoneExist: 'appointment=Appointment/a&status=in-progress' },
      { method: 'PUT', url: 'Appointment/a', ifMatch: 'W/"3"' },
    ]);
    expect(entry?.[0]?.resource).toMatchObject({ status: 'in-progress', class: { code: 'VR' }, subject: { reference: 'Patient/p' } });
    expect(entry?.[1]?.resource).toMatchObject({ status: 'checked-in' });
  });

  it('goes on with the Encounter of who has arrived, and ends with it', () => {
    const arrived: Encounter = {
      resourceType: 'Encounter',
      id: 'e',
      meta: { versionId: '1' },
      status: 'arrived',
      class: { code: 'VR' },
      period: { start: '2026-11-23T09:50:00Z' },
      participant: [{ individual: DOCTOR, period: { start: '2026-11-23T10:00:00Z' } }],
    };
    const begun = beginning(appointment, arrived, DOCTOR, NOW).entry![0]!.resource as Encounter;
    expect([begun.status, begun.statusHistory]).toEqual([
      'in-progress',
      [{ status: 'arrived', period: { start: '2026-11-23T09:50:00Z', end: '2026-11-23T10:00:00.000Z' } }],
    ]);
    const { entry } = ending(appointment, begun, new Date('2026-11-23T10:25:00Z'));
    expect(entry![0]!.resource).toMatchObject({
      status: 'finished',
      period: { start: '2026-11-23T09:50:00Z', end: '2026-11-23T10:25:00.000Z' },
      participant: [{ period: { end: '2026-11-23T10:25:00.000Z' } }],
      statusHistory: [
        { status: 'arrived' },
        { status: 'in-progress', period: { start: '2026-11-23T10:00:00.000Z', end: '2026-11-23T10:25:00.000Z' } },
      ],
    });
    expect(entry![1]!.resource).toMatchObject({ status: 'fulfilled' });
  });
});

describe('a note', () => {
  const encounter: Encounter = {
    resourceType: 'Encounter',
    id: 'e',
    status: 'in-progress',
    class: { code: 'VR' },
    subject: { reference: 'Patient/p' },
  };
  const text = { ...EMPTY_NOTE, subjective: 'Cough < 2 weeks & fever.\nNo rash.\n\n"Worse" at night.', plan: 'Rest.' };

  it('is a draft until it is signed', () => {
    const draft = noteOf(text, { encounter, practitioner: DOCTOR, now: NOW, signed: false });
    expect([draft.status, draft.attester, draft.section?.map(({ title }) => title)]).toEqual([
      'preliminary',
      undefined,
      ['Subjective', 'Plan'],
    ]);
    const signed = noteOf(text, {
      encounter,
      practitioner: DOCTOR,
      now: NOW,
      signed: true,
      before: { ...draft, id: 'c', meta: { versionId: '1' } },
    });
    expect([signed.id, signed.status, signed.attester?.[0]?.party]).toEqual(['c', 'final', DOCTOR]);
    expect(noteOf(text, { encounter, practitioner: DOCTOR, now: NOW, signed: true, before: signed }).status).toBe('amended');
  });

  it('comes back as it was typed, and carries no markup', () => {
    const note = noteOf(text, { encounter, practitioner: DOCTOR, now: NOW, signed: false });
    expect(note.section?.[0]?.text?.div).toBe(
      '<div xmlns="http://www.w3.org/1999/xhtml"><p>Cough &lt; 2 weeks &amp; fever.<br/>No rash.</p><p>&quot;Worse&quot; at night.</p></div>',
    );
    expect(textOfNote(note)).toEqual(text);
    expect(plainText('<div><p>a &amp;lt; b</p></div>')).toBe('a &lt; b');
  });

  it('of another program is shown as well', () => {
    const foreign = {
      ...noteOf(EMPTY_NOTE, { encounter, practitioner: DOCTOR, now: NOW, signed: false }),
      section: [{ title: 'History', text: { status: 'generated' as const, div: '<div><ul><li>Well</li></ul></div>' } }],
    };
    expect(textOfNote(foreign)).toEqual({ ...EMPTY_NOTE, plan: 'Well' });
  });
});
