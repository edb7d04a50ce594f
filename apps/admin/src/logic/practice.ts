// The practice as letters and prescriptions name it: an Organization, of which the form knows a part.

import type { ContactPoint, Organization } from 'fhir/r4';

export interface PracticeForm {
  name: string;
  phone: string;
  email: string;
  /** A line each. */
  street: string;
  postalCode: string;
  city: string;
  /** ISO 3166, as `DE`. */
  country: string;
}

const contact = (organization: Organization, system: ContactPoint['system']) =>
  organization.telecom?.find((each) => each.system === system)?.value ?? '';

export function readPractice(organization: Organization): PracticeForm {
  const address = organization.address?.[0];
  return {
    name: organization.name ?? '',
    phone: contact(organization, 'phone'),
    email: contact(organization, 'email'),
    street: (address?.line ?? []).join('\n'),
    postalCode: address?.postalCode ?? '',
    city: address?.city ?? '',
    country: address?.country ?? '',
  };
}

/** The contact in place of the first of its kind; none, when it is empty. */
function withContact(telecom: ContactPoint[], system: ContactPoint['system'], value: string): ContactPoint[] {
  const at = telecom.findIndex((each) => each.system === system);
  const kept = telecom.filter((_, index) => index !== at);
  if (!value.trim()) return kept;
  const changed: ContactPoint = { ...(telecom[at] ?? { system, use: 'work' }), value: value.trim() };
  return at < 0 ? [...telecom, changed] : telecom.map((each, index) => (index === at ? changed : each));
}

export function writePractice(form: PracticeForm, before: Organization): Organization {
  const line = form.street
    .split('\n')
    .map((each) => each.trim())
    .filter(Boolean);
  const first = before.address?.[0];
  const { line: _, postalCode: __, city: ___, country: ____, text: _____, ...rest } = first ?? {};
  const address = {
    ...rest,
    ...(line.length > 0 && { line }),
    ...(form.postalCode.trim() && { postalCode: form.postalCode.trim() }),
    ...(form.city.trim() && { city: form.city.trim() }),
    ...(form.country.trim() && { country: form.country.trim() }),
  };
  const addresses = [...(Object.keys(address).length > 0 ? [address] : []), ...(before.address?.slice(1) ?? [])];
  const telecom = withContact(withContact(before.telecom ?? [], 'phone', form.phone), 'email', form.email);
  const { address: ______, telecom: _______, ...kept } = before;
  return { ...kept, name: form.name.trim(), ...(telecom.length > 0 && { telecom }), ...(addresses.length > 0 && { address: addresses }) };
}
