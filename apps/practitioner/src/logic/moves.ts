// The resources that a practitioner's decisions are made of. Each function gives what is to be written; nothing is sent here.

import type {
  Appointment,
  AppointmentResponse,
  Bundle,
  Composition,
  CompositionSection,
  Encounter,
  Practitioner,
  Reference,
  Task,
} from 'fhir/r4';
import { extensionUrl, systemUrl } from '@medconsult/shared/fhir/values';
import { actorOf } from './visits';

const ACT = 'http://terminology.hl7.org/CodeSystem/v3-ActCode';
const LOINC = 'http://loinc.org';

/** The answer of a practitioner to a visit that waits for it. */
export function answerTo(
  appointment: Appointment,
  practitioner: Reference,
  answer: 'accepted' | 'declined',
  comment?: string,
): AppointmentResponse {
  return {
    resourceType: 'AppointmentResponse',
    meta: { profile: [extensionUrl('appointment-response')] },
    appointment: { reference: `Appointment/${appointment.id}` },
    actor: practitioner,
    participantStatus: answer,
    ...(comment?.trim() ? { comment: comment.trim() } : {}),
  };
}

/** Other times that the patient may choose from; the visit stays where it is until then. Instants in milliseconds. */
export function offerOf(appointment: Appointment, practitioner: Reference, starts: number[], now: Date, comment?: string): Task {
  const patient = actorOf(appointment, 'Patient')?.actor;
  return {
    resourceType: 'Task',
    meta: { profile: [extensionUrl('reschedule-offer')] },
    status: 'requested',
    intent: 'order',
    code: { coding: [{ system: systemUrl('task-code'), code: 'reschedule-offer' }] },
    focus: { reference: `Appointment/${appointment.id}` },
    for: patient,
    requester: practitioner,
    owner: patient,
    authoredOn: now.toISOString(),
    input: [...starts]
      .sort((one, other) => one - other)
      .map((start) => ({
        type: { coding: [{ system: systemUrl('task-parameter'), code: 'proposed-start' }] },
        valueInstant: new Date(start).toISOString().replace('.000', ''),
      })),
    ...(comment?.trim() ? { note: [{ text: comment.trim() }] } : {}),
  };
}

/** Which of the two Tasks about another time it is, if one. */
export function rescheduleKind(task: Task): 'reschedule-request' | 'reschedule-offer' | undefined {
  const code = task.code?.coding?.find(({ system }) => system === systemUrl('task-code'))?.code;
  return code === 'reschedule-request' || code === 'reschedule-offer' ? code : undefined;
}

/** The times that a Task proposes, in milliseconds. */
export function proposedStarts(task: Task): number[] {
  return (task.input ?? []).flatMap(({ type, valueInstant }) =>
    valueInstant && type.coding?.some(({ code }) => code === 'proposed-start') ? [Date.parse(valueInstant)] : [],
  );
}

/** The Task with its answer. `start` is the one of the proposed times that was chosen. */
export function answered(task: Task, answer: 'accepted' | 'rejected' | 'cancelled', start?: number): Task {
  const chosen =
    start === undefined
      ? []
      : [
          {
            type: { coding: [{ system: systemUrl('task-parameter'), code: 'chosen-start' }] },
            valueInstant: new Date(start).toISOString().replace('.000', ''),
          },
        ];
  return { ...task, status: answer, ...(chosen.length > 0 ? { output: chosen } : {}) };
}

function transaction(...entries: { method: 'POST' | 'PUT'; resource: Appointment | Encounter; version?: string }[]): Bundle {
  return {
    resourceType: 'Bundle',
    type: 'transaction',
    entry: entries.map(({ method, resource, version }) => ({
      resource,
      request: {
        method,
        url: method === 'POST' ? resource.resourceType : `${resource.resourceType}/${resource.id}`,
        ...(method === 'PUT' && version ? { ifMatch: `W/"${version}"` } : {}),
        ...(method === 'POST'
          ? { ifNoneExist: `appointment=${(resource as Encounter).appointment?.[0]?.reference}&status=in-progress` }
          : {}),
      },
    })),
  };
}

function put<R extends Appointment | Encounter>(resource: R) {
  return { method: 'PUT' as const, resource, version: resource.meta?.versionId };
}

/** The visit begins: an Encounter that goes on, and the Appointment checked in. */
export function beginning(appointment: Appointment, encounter: Encounter | undefined, practitioner: Reference, now: Date): Bundle {
  const at = now.toISOString();
  const checkedIn: Appointment = { ...appointment, status: 'checked-in' };
  if (encounter) return transaction(put(moved(encounter, 'in-progress', at)), put(checkedIn));
  const created: Encounter = {
    resourceType: 'Encounter',
    status: 'in-progress',
    class: { system: ACT, code: 'VR', display: 'virtual' },
    subject: actorOf(appointment, 'Patient')?.actor,
    participant: [{ individual: practitioner, period: { start: at } }],
    appointment: [{ reference: `Appointment/${appointment.id}` }],
    period: { start: at },
    ...(appointment.serviceType ? { type: appointment.serviceType } : {}),
    ...(appointment.reasonCode ? { reasonCode: appointment.reasonCode } : {}),
  };
  return transaction({ method: 'POST', resource: created }, put(checkedIn));
}

/** The visit is over. */
export function ending(appointment: Appointment, encounter: Encounter, now: Date): Bundle {
  const at = now.toISOString();
  const over = moved(encounter, 'finished', at);
  over.period = { ...over.period, end: at };
  over.participant = over.participant?.map((one) =>
    one.period?.start && !one.period.end ? { ...one, period: { ...one.period, end: at } } : one,
  );
  return transaction(put(over), put({ ...appointment, status: 'fulfilled' }));
}

/** The patient did not come. */
export function missed(appointment: Appointment): Appointment {
  return { ...appointment, status: 'noshow' };
}

/** An Encounter in another status, with the time that it spent in the one before. */
function moved(encounter: Encounter, status: Encounter['status'], at: string): Encounter {
  const since = encounter.statusHistory?.at(-1)?.period.end ?? encounter.period?.start;
  const before = { status: encounter.status, period: { ...(since ? { start: since } : {}), end: at } };
  return { ...encounter, status, statusHistory: [...(encounter.statusHistory ?? []), before] };
}

/** The parts of a visit note, in their order, with their codes of LOINC. */
export const NOTE_PARTS = {
  subjective: ['61150-9', 'Subjective'],
  objective: ['61149-1', 'Objective'],
  assessment: ['51848-0', 'Assessment'],
  plan: ['18776-5', 'Plan'],
} as const;
export type NotePart = keyof typeof NOTE_PARTS;
export type NoteText = Record<NotePart, string>;

export const EMPTY_NOTE: NoteText = { subjective: '', objective: '', assessment: '', plan: '' };

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Text as a Narrative: a paragraph for each, a break for each line. */
function narrative(text: string): CompositionSection['text'] {
  const escaped = text.trim().replace(/[&<>"]/g, (character) => ESCAPES[character]!);
  const paragraphs = escaped.split(/\n{2,}/).map((paragraph) => `<p>${paragraph.replaceAll('\n', '<br/>')}</p>`);
  return { status: 'additional', div: `<div xmlns="http://www.w3.org/1999/xhtml">${paragraphs.join('')}</div>` };
}

/** The text of a Narrative that `narrative` made; of any other, its words. */
export function plainText(div: string): string {
  return div
    .replace(/<br\s*\/?>/g, '\n')
    .replace(/<\/p>\s*<p[^>]*>/g, '\n\n')
    .replace(/<[^>]*>/g, '')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&amp;', '&')
    .trim();
}

/** The note of a visit: a draft, or, `signed`, what stands. */
export function noteOf(
  text: NoteText,
  {
    encounter,
    practitioner,
    before,
    now,
    signed,
  }: { encounter: Encounter; practitioner: Reference; before?: Composition; now: Date; signed: boolean },
): Composition {
  const at = now.toISOString();
  const section = (Object.keys(NOTE_PARTS) as NotePart[])
    .filter((part) => text[part].trim())
    .map((part): CompositionSection => {
      const [code, display] = NOTE_PARTS[part];
      return { title: display, code: { coding: [{ system: LOINC, code, display }] }, text: narrative(text[part]) };
    });
  return {
    ...before,
    resourceType: 'Composition',
    // What was signed once is amended from then on.
    status: signed ? (before?.status === 'final' || before?.status === 'amended' ? 'amended' : 'final') : 'preliminary',
    type: { coding: [{ system: LOINC, code: '11488-4', display: 'Consult note' }] },
    title: 'Visit note',
    subject: encounter.subject,
    encounter: { reference: `Encounter/${encounter.id}` },
    author: [practitioner],
    date: at,
    section,
    ...(signed ? { attester: [{ mode: 'professional' as const, time: at, party: practitioner }] } : {}),
  };
}

/** Which of the four parts a section is, if one. */
export function partOf(section: CompositionSection): NotePart | undefined {
  const codes = section.code?.coding?.map(({ code }) => code) ?? [];
  return (Object.keys(NOTE_PARTS) as NotePart[]).find((name) => codes.includes(NOTE_PARTS[name][0]));
}

/** The text of a note, part by part. What is in none of the four stands in the last. */
export function textOfNote(note: Composition): NoteText {
  const text = { ...EMPTY_NOTE };
  for (const section of note.section ?? []) {
    const part = partOf(section) ?? 'plan';
    const words = plainText(section.text?.div ?? '');
    text[part] = [text[part], words].filter(Boolean).join('\n\n');
  }
  return text;
}

/** `Practitioner/7` with its name, as references carry it. */
export function referenceTo(practitioner: Pick<Practitioner, 'id'>, display?: string): Reference {
  return { reference: `Practitioner/${practitioner.id}`, ...(display ? { display } : {}) };
}
