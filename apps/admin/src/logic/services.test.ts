import type { ChargeItemDefinition, HealthcareService } from 'fhir/r4';
import { describe, expect, it } from 'vitest';
import { NEW_SERVICE, priceOf, problemsOfService, readService, writePrice, writeService } from './services';

const OURS = 'https://medconsult.example/fhir/StructureDefinition';
const hours = (value: number, code = 'h') => ({ value, system: 'http://unitsofmeasure.org', code });

const service: HealthcareService = {
  resourceType: 'HealthcareService',
  id: 's',
  meta: { versionId: '4' },
  active: true,
  name: 'Video visit',
  type: [{ coding: [{ code: 'v' }], text: 'Video visit' }],
  availableTime: [{ daysOfWeek: ['mon'] }],
  extension: [
    { url: 'https://elsewhere.example/colour', valueString: 'blue' },
    {
      url: `${OURS}/booking-policy`,
      extension: [
        { url: 'approval', valueCode: 'manual' },
        { url: 'payment', valueCode: 'before-approval' },
        { url: 'holdMinutes', valuePositiveInt: 40 },
        { url: 'rescheduleNotice', valueDuration: hours(2, 'd') },
        { url: 'price', valueCanonical: 'https://practice.example/price' },
        { url: 'intake', valueCanonical: 'https://practice.example/intake' },
      ],
    },
  ],
};
const price: ChargeItemDefinition = {
  resourceType: 'ChargeItemDefinition',
  id: 'c',
  url: 'https://practice.example/price',
  title: 'Visit',
  status: 'active',
  propertyGroup: [
    {
      priceComponent: [
        { type: 'base', amount: { value: 60, currency: 'EUR' } },
        { type: 'tax', factor: 0.2 },
      ],
    },
  ],
};

describe('a service', () => {
  const form = readService(service, price);

  it('is read with its policy and price', () => {
    expect(form).toEqual({
      ...NEW_SERVICE,
      name: 'Video visit',
      payment: 'before-approval',
      price: '60',
      currency: 'EUR',
      holdMinutes: 40,
      rescheduleNotice: 48,
      duration: 30,
    });
    expect(priceOf(service)).toBe('https://practice.example/price');
  });

  it('is written with what the form does not know', () => {
    const written = writeService(
      { ...form, name: ' Long visit ', duration: 45, lateRefundPercent: 50 },
      service,
      'https://practice.example/price',
    );
    expect(readService(written, price)).toEqual({ ...form, name: 'Long visit', duration: 45, lateRefundPercent: 50 });
    expect([written.id, written.meta, written.type, written.availableTime]).toEqual([
      service.id,
      service.meta,
      service.type,
      service.availableTime,
    ]);
    const policy = written.extension?.find(({ url }) => url.endsWith('booking-policy'))?.extension;
    expect(policy?.find(({ url }) => url === 'intake')?.valueCanonical).toBe('https://practice.example/intake');
    expect(written.extension?.[0]?.valueString).toBe('blue');
  });

  it('costs what is typed, beside its taxes', () => {
    const written = writePrice({ ...form, price: '65.50' }, price, price.url);
    expect(written.propertyGroup?.[0]?.priceComponent).toEqual([
      { type: 'base', amount: { value: 65.5, currency: 'EUR' } },
      { type: 'tax', factor: 0.2 },
    ]);
    expect(writePrice({ ...form, name: 'New' }, undefined, 'u')).toMatchObject({ url: 'u', title: 'New', status: 'active' });
  });

  it('is told what is wrong with it', () => {
    expect(problemsOfService({ ...form, price: '60.5' })).toEqual([]);
    expect(problemsOfService({ ...form, price: '60.555' })).toEqual(['price']);
    expect(problemsOfService({ ...form, currency: 'JPY', price: '60.5' })).toEqual(['price']);
    expect(problemsOfService({ ...form, currency: 'eur', holdMinutes: 10 })).toEqual(['currency', 'holdMinutes']);
    expect(problemsOfService({ ...NEW_SERVICE, duration: 2, lateRefundPercent: 101, cancelNotice: -1 })).toEqual([
      'name',
      'duration',
      'cancelNotice',
      'lateRefundPercent',
    ]);
    // What is free needs no price, whatever is typed there.
    expect(problemsOfService({ ...form, payment: 'none', price: 'a lot', holdMinutes: 10 })).toEqual([]);
  });
});
