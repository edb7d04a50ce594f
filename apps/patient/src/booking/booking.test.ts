import type { Appointment, HealthcareService, Practitioner, Questionnaire } from 'fhir/r4';
import { describe, expect, it } from 'vitest';
import { BASE } from '@medconsult/shared/fhir/values';
import { answersOf, linesOf, missingIn } from './intake';
import { hoursOf, matches, offersOf, priceOf, serviceOf, type Offer } from './offers';
import { blocksOf, daysOf } from './times';

const policy = (price?: string): HealthcareService['extension'] => [
  {
    url: `${BASE}/StructureDefinition/booking-policy`,
    extension: [
      { url: 'approval', valueCode: 'auto' },
      { url: 'payment', valueCode: price ? 'before-approval' : 'none' },
      { url: 'cancelNotice', valueDuration: { value: 1, code: 'd' } },
      { url: 'lateRefundPercent', valueUnsignedInt: 50 },
      ...(price ? [{ url: 'price', valueCanonical: price }] : []),
    ],
  },
];
const PRICES = [{ resourceType: 'ChargeItemDefinition' as const, status: 'active' as const, url: 'https://x/first', propertyGroup: [{ priceComponent: [{ type: 'base' as const, amount: { value: 60, currency: 'EUR' } }] }] }];
const service = (id: string, price?: string) => ({ resourceType: 'HealthcareService' as const, id, name: id, active: true, extension: policy(price) });
const proposal = (start: string, practitioner = 'p1', part = 'morning'): Appointment => ({
  resourceType: 'Appointment',
  id: `p-${start}`,
  status: 'proposed',
  start,
  participant: [{ status: 'needs-action', actor: { reference: `Practitioner/${practitioner}` } }],
  extension: [{ url: `${BASE}/StructureDefinition/availability-window`, extension: [{ url: 'partOfDay', valueCode: part }] }],
});

describe('offers', () => {
  const found = {
    schedules: ['p1', 'p2'].map((id) => ({ resourceType: 'Schedule' as const, id: `s${id}`, actor: [{ reference: `Practitioner/${id}` }, { reference: 'HealthcareService/first' }] })),
    actors: [
      { resourceType: 'Practitioner' as const, id: 'p1', name: [{ text: 'Dr. Late' }], communication: [{ coding: [{ code: 'de-AT' }] }] },
      { resourceType: 'Practitioner' as const, id: 'p2', name: [{ text: 'Dr. Soon' }] },
      service('first', 'https://x/first'),
    ],
    roles: [{ resourceType: 'PractitionerRole' as const, practitioner: { reference: 'Practitioner/p1' }, specialty: [{ text: 'Cardiology' }] }],
    prices: PRICES,
    // By the clock on the wall the second looks later; it is earlier.
    proposals: [proposal('2026-11-24T09:00:00+01:00', 'p1'), proposal('2026-11-24T12:00:00+05:30', 'p2')],
  };
  const nameOf = (practitioner: Practitioner) => practitioner.name?.[0]?.text ?? '';

  it('come soonest first, as instants', () => {
    expect(offersOf(found).map((offer) => offer.practitioner.id)).toEqual(['p2', 'p1']);
  });

  it('leave out who is not there any more', () => {
    const gone = found.actors.map((actor) => (actor.id === 'p2' ? { ...actor, active: false } : actor)) as typeof found.actors;
    expect(offersOf({ ...found, actors: gone })).toHaveLength(1);
  });

  it('are found by name, specialty, language and price', () => {
    const late = offersOf(found)[1] as Offer;
    expect(matches(late, { text: 'late cardio' }, nameOf)).toBe(true);
    expect(matches(late, { text: 'skin' }, nameOf)).toBe(false);
    expect(matches(late, { specialty: 'Cardiology', language: 'de', service: 'first', price: 60 }, nameOf)).toBe(true);
    expect(matches(late, { price: 59 }, nameOf)).toBe(false);
    expect(matches(late, { language: 'en' }, nameOf)).toBe(false);
  });

  it('say what they cost and how long they take', () => {
    expect(priceOf(service('first', 'https://x/first|1.0.0'), PRICES)).toEqual({ value: 60, currency: 'EUR' });
    expect(priceOf(service('free'), PRICES)).toBeUndefined();
    const schedule = {
      resourceType: 'Schedule' as const,
      actor: [],
      extension: [
        { url: `${BASE}/StructureDefinition/scheduling-parameters`, extension: [{ url: 'duration', valueDuration: { value: 30, code: 'min' } }] },
        { url: `${BASE}/StructureDefinition/scheduling-parameters`, extension: [{ url: 'service', valueReference: { reference: 'HealthcareService/first' } }, { url: 'duration', valueDuration: { value: 1, code: 'h' } }] },
      ],
    };
    expect(serviceOf(service('first'), PRICES, schedule).minutes).toBe(60);
    expect(serviceOf(service('other'), PRICES, schedule).minutes).toBe(30);
    expect(hoursOf({ value: 1, code: 'd' })).toBe(24);
    expect(hoursOf({ value: 1, code: 'mo' })).toBeUndefined();
  });
});

describe('times', () => {
  it('lie on the days of the viewer', () => {
    const days = daysOf([proposal('2026-11-24T23:30:00Z')], '2026-11-24', 2, 'Europe/Berlin');
    expect(days.map((day) => day.times.length)).toEqual([0, 1]);
  });

  it('are in blocks that follow the day', () => {
    const times = [proposal('2026-11-24T00:30:00Z', 'p1', 'night'), proposal('2026-11-24T09:00:00Z'), proposal('2026-11-24T09:30:00Z'), proposal('2026-11-24T23:00:00Z', 'p1', 'night')];
    expect(blocksOf({ day: '2026-11-24', times }).map((block) => [block.part, block.times.length])).toEqual([['night', 1], ['morning', 2], ['night', 1]]);
  });
});

describe('questions before a visit', () => {
  const questionnaire: Questionnaire = {
    resourceType: 'Questionnaire',
    status: 'active',
    item: [
      { linkId: 'reason', text: 'Why?', type: 'text', required: true },
      { linkId: 'allergies', type: 'boolean', required: true },
      { linkId: 'allergens', text: 'To what?', type: 'text', required: true, enableWhen: [{ question: 'allergies', operator: '=', answerBoolean: true }] },
      { linkId: 'note', text: 'Call for help.', type: 'display' },
    ],
  };

  it('are required only while they are asked', () => {
    expect(missingIn(questionnaire, {})).toEqual(['reason', 'allergies']);
    expect(missingIn(questionnaire, { reason: 'x', allergies: true })).toEqual(['allergens']);
    expect(missingIn(questionnaire, { reason: 'x', allergies: false })).toEqual([]);
  });

  it('leave out answers to what is not asked any more', () => {
    const items = answersOf(questionnaire, { reason: 'cough', allergies: false, allergens: 'nuts' });
    expect(items.map((item) => item.linkId)).toEqual(['reason', 'allergies']);
    expect(items[1]?.answer).toEqual([{ valueBoolean: false }]);
    expect(linesOf(items, 'yes', 'no')).toEqual([{ text: 'Why?', answer: 'cough' }, { text: 'allergies', answer: 'no' }]);
  });
});
