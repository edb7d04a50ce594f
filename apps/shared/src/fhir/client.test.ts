import { afterEach, describe, expect, it, vi } from 'vitest';
import { FhirClient, withQuery } from './client';
import { rewrite } from './hooks';

afterEach(() => vi.unstubAllGlobals());

/** A server that answers this, and what it was asked. */
function serverThat(answer: () => Response): Request[] {
  const asked: Request[] = [];
  vi.stubGlobal('fetch', (url: string, init: RequestInit) => {
    asked.push(new Request(url, init));
    return Promise.resolve(answer());
  });
  return asked;
}

const client = (refused = () => undefined) => new FhirClient('https://clinic.example/fhir/', { token: async () => 't', refused });

describe('a client', () => {
  it('names the version that it replaces', async () => {
    const asked = serverThat(() => Response.json({ resourceType: 'Patient', id: '7' }));
    await client().update({ resourceType: 'Patient', id: '7', meta: { versionId: '3' } });
    expect(asked[0]?.method).toBe('PUT');
    expect(asked[0]?.headers.get('if-match')).toBe('W/"3"');
    expect(asked[0]?.headers.get('authorization')).toBe('Bearer t');
  });

  it('takes a page apart', async () => {
    serverThat(() =>
      Response.json({
        resourceType: 'Bundle',
        type: 'searchset',
        total: 2,
        link: [{ relation: 'next', url: 'https://clinic.example/fhir/Patient?_cursor=x' }],
        entry: [
          { resource: { resourceType: 'Patient', id: '1' }, search: { mode: 'match' } },
          { resource: { resourceType: 'Practitioner', id: '2' }, search: { mode: 'include' } },
        ],
      }),
    );
    const page = await client().search('Patient');
    expect(page.resources.map((each) => each.id)).toEqual(['1']);
    expect(page.included.map((each) => each.id)).toEqual(['2']);
    expect(page.next).toContain('_cursor=x');
  });

  it('gives its token to its own server only', async () => {
    const asked = serverThat(() => Response.json({}));
    await expect(client().next('https://evil.example/fhir/Patient')).rejects.toThrow('own server');
    expect(asked).toHaveLength(0);
  });

  it('says when the token is not taken any more', async () => {
    serverThat(() => new Response('', { status: 401 }));
    const refused = vi.fn();
    await expect(client(refused).read('Patient', '7')).rejects.toMatchObject({ status: 401 });
    expect(refused).toHaveBeenCalledOnce();
  });
});

it('writes a query in one order, without what is not said', () => {
  expect(withQuery('Appointment', { 'b': [1, 2].map(String), 'a': 'x y', 'c': undefined, 'd': '' })).toBe('Appointment?a=x+y&b=1&b=2');
});

it('rewrites what is kept, in a page, in pages and by itself', () => {
  const one = { resourceType: 'Patient' as const, id: '1' };
  const two = { resourceType: 'Patient' as const, id: '2' };
  const without = (resource: { id: string }) => (resource.id === '1' ? undefined : (resource as typeof two));
  expect(rewrite({ resources: [one, two], next: undefined }, without)).toEqual({ resources: [two], next: undefined });
  expect(rewrite({ pages: [{ resources: [one] }, { resources: [two] }] }, without)).toEqual({ pages: [{ resources: [] }, { resources: [two] }] });
  expect(rewrite(two, without)).toBe(two);
  expect(rewrite(undefined, without)).toBeUndefined();
});
