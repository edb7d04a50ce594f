import type { Organization } from 'fhir/r4';
import { describe, expect, it } from 'vitest';
import { readPractice, writePractice } from './practice';

const organization: Organization = {
  resourceType: 'Organization',
  id: 'o',
  meta: { versionId: '2' },
  active: true,
  name: 'Harbour',
  identifier: [{ value: '7' }],
  telecom: [
    { system: 'fax', value: '1' },
    { system: 'phone', value: '2', use: 'home' },
    { system: 'phone', value: '3' },
  ],
  address: [{ use: 'work', line: ['Hafenstr. 1', '2nd floor'], city: 'Hamburg', postalCode: '20457', country: 'DE' }, { city: 'Bremen' }],
};

describe('the practice', () => {
  it('is read and written, with what the form does not know', () => {
    const form = readPractice(organization);
    expect(form).toEqual({
      name: 'Harbour',
      phone: '2',
      email: '',
      street: 'Hafenstr. 1\n2nd floor',
      postalCode: '20457',
      city: 'Hamburg',
      country: 'DE',
    });
    expect(writePractice(form, organization)).toEqual(organization);
  });

  it('changes what was changed', () => {
    const written = writePractice(
      { ...readPractice(organization), phone: ' 4 ', email: 'hello@harbour.example', street: 'Kai 3\n', postalCode: '' },
      organization,
    );
    expect(written.telecom).toEqual([
      { system: 'fax', value: '1' },
      { system: 'phone', value: '4', use: 'home' },
      { system: 'phone', value: '3' },
      { system: 'email', use: 'work', value: 'hello@harbour.example' },
    ]);
    expect(written.address).toEqual([{ use: 'work', line: ['Kai 3'], city: 'Hamburg', country: 'DE' }, { city: 'Bremen' }]);
  });

  it('leaves out what is empty', () => {
    const bare: Organization = { resourceType: 'Organization', id: 'o', name: 'Harbour' };
    expect(writePractice(readPractice(bare), bare)).toEqual(bare);
    expect(writePractice({ ...readPractice(organization), phone: '' }, organization).telecom).toEqual([
      { system: 'fax', value: '1' },
      { system: 'phone', value: '3' },
    ]);
  });
});
