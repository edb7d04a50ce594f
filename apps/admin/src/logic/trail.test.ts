import type { AuditEvent } from 'fhir/r4';
import { describe, expect, it } from 'vitest';
import { entryOf, peopleIn } from './trail';

const event = (change: Partial<AuditEvent>): AuditEvent => ({
  resourceType: 'AuditEvent',
  id: 'a',
  recorded: '2026-11-23T10:00:00Z',
  type: { code: 'rest' },
  outcome: '0',
  source: { observer: {} },
  subtype: [{ system: 'http://hl7.org/fhir/restful-interaction', code: 'read' }],
  agent: [
    {
      requestor: false,
      who: { identifier: { system: 'https://clinic.example/auth/clients', value: 'medconsult-patient' } },
      network: { type: '2', address: '192.0.2.7' },
    },
    {
      requestor: false,
      who: { identifier: { value: 'https://clinic.example/fhir' } },
      network: { type: '5', address: 'https://clinic.example/fhir' },
    },
    { requestor: true, who: { reference: 'Practitioner/d' } },
  ],
  ...change,
});

describe('an entry of the trail', () => {
  it('says who did what, by which application and from where', () => {
    expect(entryOf(event({ entity: [{ what: { reference: 'Patient/p' } }, { what: { reference: 'Observation/o/_history/2' } }] }))).toEqual(
      {
        id: 'a',
        at: '2026-11-23T10:00:00Z',
        deed: 'read',
        person: 'Practitioner/d',
        application: 'medconsult-patient',
        address: '192.0.2.7',
        about: ['Observation/o', 'Patient/p'],
        query: undefined,
        request: undefined,
        wasRefused: false,
        words: undefined,
      },
    );
  });

  it('shows a query as it was asked, whatever is in it', () => {
    const asked = (text: string) => entryOf(event({ entity: [{ query: btoa(text) }] })).query;
    expect(asked('https://clinic.example/fhir/Task?code=http%3A%2F%2Fx%7Cy&owner=Practitioner%2Fd')).toBe(
      'Task?code=http://x|y&owner=Practitioner/d',
    );
    expect(asked('https://clinic.example/fhir/Task?code=%E0%A4%A')).toBe('https://clinic.example/fhir/Task?code=%E0%A4%A');
  });

  it('tells refusals, emergencies and strangers apart', () => {
    const dcm = (code: string) => [{ system: 'http://dicom.nema.org/resources/ontology/DCM', code }];
    expect(entryOf(event({ subtype: dcm('110127'), purposeOfEvent: [{ text: 'unconscious' }] }))).toMatchObject({
      deed: 'emergency',
      words: 'unconscious',
    });
    expect(entryOf(event({ subtype: dcm('110126'), outcome: '4', outcomeDesc: 'invalid_token', agent: [] }))).toMatchObject({
      deed: 'stranger',
      person: undefined,
      wasRefused: true,
      words: 'invalid_token',
    });
    expect(entryOf(event({ subtype: [{ code: 'unheard-of' }] })).deed).toBe('other');
  });

  it('names people once', () => {
    const entries = [
      entryOf(event({ entity: [{ what: { reference: 'Patient/p' } }] })),
      entryOf(event({ entity: [{ what: { reference: 'Patient/p' } }, { what: { reference: 'Task/t' } }] })),
    ];
    expect(peopleIn(entries)).toEqual({ Practitioner: ['d'], Patient: ['p'] });
  });
});
