// What can be booked and what it costs, as the form has it and as HealthcareService and ChargeItemDefinition have it. What the
// form does not know is kept as it was.

import { BASE, extension, extensionUrl, part } from '@medconsult/shared/fhir/values';
import type { ChargeItemDefinition, Extension, HealthcareService } from 'fhir/r4';

const POLICY = 'booking-policy';
const PARAMETERS = 'scheduling-parameters';
const UCUM = 'http://unitsofmeasure.org';

export type Approval = 'auto' | 'manual';
export type Payment = 'none' | 'before-approval' | 'after-approval';

export interface ServiceForm {
  name: string;
  description: string;
  active: boolean;
  /** Minutes. */
  duration: number;
  approval: Approval;
  payment: Payment;
  /** A decimal as it is typed: nothing is calculated with it here. */
  price: string;
  currency: string;
  holdMinutes: number;
  /** Hours before the visit. */
  rescheduleNotice: number;
  cancelNotice: number;
  lateRefundPercent: number;
}

export const NEW_SERVICE: ServiceForm = {
  name: '',
  description: '',
  active: true,
  duration: 30,
  approval: 'manual',
  payment: 'none',
  price: '',
  currency: 'EUR',
  holdMinutes: 40,
  rescheduleNotice: 24,
  cancelNotice: 24,
  lateRefundPercent: 0,
};

const HOURS: Record<string, number> = { min: 1 / 60, h: 1, d: 24, wk: 168 };

function lengthIn(of: Extension | undefined, unit: 'min' | 'h'): number | undefined {
  const { value, code } = of?.valueDuration ?? {};
  const hours = HOURS[code ?? ''];
  if (value === undefined || hours === undefined) return undefined;
  return Math.round(value * hours * (unit === 'min' ? 60 : 1));
}

/** The ChargeItemDefinition's address that a service names. */
export const priceOf = (service: HealthcareService): string | undefined => part(extension(service, POLICY), 'price')?.valueCanonical;

export function readService(service: HealthcareService, price: ChargeItemDefinition | undefined): ServiceForm {
  const policy = extension(service, POLICY);
  const base = price?.propertyGroup?.[0]?.priceComponent?.find(({ type }) => type === 'base')?.amount;
  return {
    name: service.name ?? '',
    description: service.comment ?? '',
    active: service.active ?? true,
    duration: lengthIn(part(extension(service, PARAMETERS), 'duration'), 'min') ?? NEW_SERVICE.duration,
    approval: (part(policy, 'approval')?.valueCode as Approval | undefined) ?? 'manual',
    payment: (part(policy, 'payment')?.valueCode as Payment | undefined) ?? 'none',
    price: base?.value === undefined ? '' : String(base.value),
    currency: base?.currency ?? NEW_SERVICE.currency,
    holdMinutes: part(policy, 'holdMinutes')?.valuePositiveInt ?? 10,
    rescheduleNotice: lengthIn(part(policy, 'rescheduleNotice'), 'h') ?? 24,
    cancelNotice: lengthIn(part(policy, 'cancelNotice'), 'h') ?? 24,
    lateRefundPercent: part(policy, 'lateRefundPercent')?.valueUnsignedInt ?? 0,
  };
}

/** The extension with some of its parts in place of those of the same name. */
function withParts(before: Extension | undefined, name: string, parts: Extension[]): Extension {
  const names = new Set(parts.map(({ url }) => url));
  return { url: extensionUrl(name), extension: [...(before?.extension ?? []).filter(({ url }) => !names.has(url)), ...parts] };
}

/** The service as it is to be stored. `price`: the address of what it costs; a service that is free keeps the one it had. */
export function writeService(form: ServiceForm, before: HealthcareService | undefined, price: string | undefined): HealthcareService {
  const hours = (url: string, value: number): Extension => ({ url, valueDuration: { value, system: UCUM, code: 'h' } });
  const policy = withParts(before && extension(before, POLICY), POLICY, [
    { url: 'approval', valueCode: form.approval },
    { url: 'payment', valueCode: form.payment },
    { url: 'holdMinutes', valuePositiveInt: form.holdMinutes },
    hours('rescheduleNotice', form.rescheduleNotice),
    hours('cancelNotice', form.cancelNotice),
    { url: 'lateRefundPercent', valueUnsignedInt: form.lateRefundPercent },
    ...(price ? [{ url: 'price', valueCanonical: price }] : []),
  ]);
  const parameters = withParts(before && extension(before, PARAMETERS), PARAMETERS, [
    { url: 'duration', valueDuration: { value: form.duration, system: UCUM, code: 'min' } },
  ]);
  const others = (before?.extension ?? []).filter(({ url }) => url !== policy.url && url !== parameters.url);
  const name = form.name.trim();
  return {
    ...(before ?? { meta: { profile: [extensionUrl('healthcare-service')] } }),
    resourceType: 'HealthcareService',
    active: form.active,
    name,
    type: before?.type ?? [{ text: name }],
    comment: form.description.trim() || undefined,
    extension: [...others, policy, parameters],
  };
}

/** What it costs, as it is to be stored. Invoices that were made keep their own amounts. */
export function writePrice(form: ServiceForm, before: ChargeItemDefinition | undefined, url: string): ChargeItemDefinition {
  const group = before?.propertyGroup?.[0];
  const rest = group?.priceComponent?.filter(({ type }) => type !== 'base') ?? [];
  return {
    ...(before ?? { meta: { profile: [extensionUrl('price')] } }),
    resourceType: 'ChargeItemDefinition',
    url,
    title: form.name.trim(),
    status: 'active',
    propertyGroup: [
      { ...group, priceComponent: [{ type: 'base', amount: { value: Number(form.price), currency: form.currency } }, ...rest] },
      ...(before?.propertyGroup?.slice(1) ?? []),
    ],
  };
}

/** The address of a new price. */
export const newPriceUrl = (id: string): string => `${BASE}/ChargeItemDefinition/${id}`;

export type ServiceProblem =
  'name' | 'duration' | 'price' | 'currency' | 'holdMinutes' | 'rescheduleNotice' | 'cancelNotice' | 'lateRefundPercent';

/** How many digits a currency has after the point. */
export function digitsOf(currency: string): number | undefined {
  try {
    return new Intl.NumberFormat('en', { style: 'currency', currency }).resolvedOptions().maximumFractionDigits;
  } catch {
    return undefined;
  }
}

export function problemsOfService(form: ServiceForm): ServiceProblem[] {
  const isWhole = (value: number, least: number, most: number) => Number.isInteger(value) && value >= least && value <= most;
  const problems: ServiceProblem[] = [];
  if (!form.name.trim()) problems.push('name');
  if (!isWhole(form.duration, 5, 24 * 60)) problems.push('duration');
  if (form.payment !== 'none') {
    const digits = /^[A-Z]{3}$/.test(form.currency) ? digitsOf(form.currency) : undefined;
    if (digits === undefined) problems.push('currency');
    const match = /^(\d{1,9})(?:\.(\d+))?$/.exec(form.price.trim());
    if (!match || Number(form.price) <= 0 || (match[2]?.length ?? 0) > (digits ?? 2)) problems.push('price');
  }
  // Payment pages stay open for half an hour: what is held shorter is lost while it is paid.
  if (!isWhole(form.holdMinutes, form.payment === 'none' ? 1 : 35, 10_080)) problems.push('holdMinutes');
  if (!isWhole(form.rescheduleNotice, 0, 720)) problems.push('rescheduleNotice');
  if (!isWhole(form.cancelNotice, 0, 720)) problems.push('cancelNotice');
  if (!isWhole(form.lateRefundPercent, 0, 100)) problems.push('lateRefundPercent');
  return problems;
}
