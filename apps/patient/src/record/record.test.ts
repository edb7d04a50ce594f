import type { AuditEvent, FhirResource } from 'fhir/r4';
import { describe, expect, it } from 'vitest';
import type { Stored } from '@medconsult/shared/fhir/client';
import { openedOf } from './access';
import { groupsOf, sheetOf } from './prescriptions';
import { eventOf, shown, valueOf, type Event } from './timeline';

describe('the line of time', () => {
  const event = (at: string, title: string, type: Event['type'] = 'Observation'): Event => ({ key: at + title, type, id: '1', at, title, detail: '', to: undefined });

  it('goes by when things happened, whatever form the date has', () => {
    const events = [event('2026-03', 'a'), event('2026-03-29T01:00:00+02:00', 'b'), event('2026-03-29T00:30:00Z', 'c'), event('2025', 'd')];
    expect(shown(events, { types: [], from: '', to: '', text: '' }).map((each) => each.title)).toEqual(['c', 'b', 'a', 'd']);
  });

  it('is narrowed by kind, date and words', () => {
    const events = [event('2026-03-01', 'Blood pressure'), event('2026-04-01', 'Blood count', 'DiagnosticReport')];
    const titles = (filter: object) => shown(events, { types: [], from: '', to: '', text: '', ...filter }).map((each) => each.title);
    expect(titles({ types: ['DiagnosticReport'] })).toEqual(['Blood count']);
    expect(titles({ from: '2026-03-02' })).toEqual(['Blood count']);
    expect(titles({ to: '2026-03-01' })).toEqual(['Blood pressure']);
    expect(titles({ text: 'press BLOOD' })).toEqual(['Blood pressure']);
  });

  it('leaves out what never became anything', () => {
    const draft = { resourceType: 'MedicationRequest', id: '1', status: 'draft' } as unknown as Stored<FhirResource>;
    expect(eventOf(draft)).toBeUndefined();
  });

  it('writes a measurement with two parts', () => {
    const part = (value: number) => ({ code: {}, valueQuantity: { value, unit: 'mmHg' } });
    expect(valueOf({ component: [part(120), part(80)] })).toBe('120 mmHg / 80 mmHg');
  });
});

describe('prescriptions', () => {
  const order = (id: string, number: string) => ({ resourceType: 'MedicationRequest' as const, id, status: 'active' as const, intent: 'order' as const, subject: {}, groupIdentifier: { value: number } });
  const sheet = (status: 'current' | 'superseded', about: string) => ({ resourceType: 'DocumentReference' as const, status, content: [], context: { related: [{ reference: `MedicationRequest/${about}` }] } });

  it('are together what was signed together, with the sheet that is in force', () => {
    const groups = groupsOf([order('1', 'R-1'), order('2', 'R-2'), order('3', 'R-1')]);
    expect(groups.map((group) => group.orders.map((each) => each.id))).toEqual([['1', '3'], ['2']]);
    const current = sheet('current', '3');
    expect(sheetOf(groups[0]?.orders ?? [], [sheet('superseded', '3'), current])).toBe(current);
    expect(sheetOf(groups[1]?.orders ?? [], [current])).toBeUndefined();
  });
});

describe('a record of access', () => {
  const event = (more: Partial<AuditEvent>): AuditEvent => ({
    resourceType: 'AuditEvent',
    type: { system: 'http://terminology.hl7.org/CodeSystem/audit-event-type', code: 'rest' },
    recorded: '2026-11-23T12:00:00Z',
    agent: [{ requestor: false, who: { identifier: { system: 'https://x/auth/clients', value: 'medconsult-practitioner' } } }, { requestor: true, who: { reference: 'Practitioner/2' } }],
    source: { observer: {} },
    ...more,
  });

  it('names who, with what, and what it was', () => {
    const opened = openedOf(event({ action: 'R', entity: [{ what: { reference: 'Patient/1' } }, { what: { reference: 'Observation/9/_history/2' } }] }));
    expect(opened).toMatchObject({ person: 'Practitioner/2', app: 'medconsult-practitioner', did: 'read', types: ['Observation'], wasRefused: false });
  });

  it('tells an emergency from the rest', () => {
    const dcm = 'http://dicom.nema.org/resources/ontology/DCM';
    expect(openedOf(event({ type: { system: dcm, code: '110113' }, subtype: [{ system: dcm, code: '110127' }] })).did).toBe('emergency');
    expect(openedOf(event({ type: { system: dcm, code: '110114' } })).did).toBe('signedIn');
    expect(openedOf(event({ action: 'E', subtype: [{ code: 'search-type' }], outcome: '4' }))).toMatchObject({ did: 'searched', wasRefused: true });
  });
});
