/** FHIR over HTTP (https://hl7.org/fhir/R4/http.html), typed, with the token of the session. */
import type { Bundle, FhirResource, OperationOutcome, Parameters, ParametersParameter } from 'fhir/r4';
import { FhirFailure, failureOf } from './failure';

export type ResourceType = FhirResource['resourceType'];
export type Of<T extends ResourceType> = Extract<FhirResource, { resourceType: T }>;
/** A resource as the server keeps it. */
export type Stored<T> = T & { id: string };
export type Query = Record<string, string | number | boolean | readonly string[] | undefined>;

/** One page of a search. */
export interface Found<T> {
  resources: Stored<T>[];
  /** What came along by `_include` and `_revinclude`. */
  included: Stored<FhirResource>[];
  total: number | undefined;
  /** Where the next page is. */
  next: string | undefined;
}

export interface PatchStep {
  op: 'add' | 'remove' | 'replace' | 'test';
  path: string;
  value?: unknown;
}

/** Where a token comes from. */
export interface Authority {
  /** The token as it is now; refreshed if it is about to end. */
  token(): Promise<string | undefined>;
  /** The server does not take it any more. */
  refused(): void;
}

/** How long an answer may be on its way, in milliseconds; uploads and downloads are not bound by it. */
const PATIENCE = 30_000;

export class FhirClient {
  readonly base: string;
  readonly #authority: Authority;

  constructor(base: string, authority: Authority) {
    this.base = base.replace(/\/$/, '');
    this.#authority = authority;
  }

  read<T extends ResourceType>(type: T, id: string, signal?: AbortSignal): Promise<Stored<Of<T>>> {
    return this.#json('GET', `${type}/${id}`, { signal });
  }

  async search<T extends ResourceType>(type: T, query: Query = {}, signal?: AbortSignal): Promise<Found<Of<T>>> {
    return this.#page<Of<T>>(withQuery(type, query), signal);
  }

  /** The page behind a `next` link. */
  next<T extends FhirResource>(link: string, signal?: AbortSignal): Promise<Found<T>> {
    return this.#page<T>(link, signal);
  }

  create<T extends FhirResource>(resource: T): Promise<Stored<T>> {
    return this.#json('POST', resource.resourceType, { body: resource, prefer: true });
  }

  /** Replaces the version that was read; fails with 412 when somebody else was faster. */
  update<T extends FhirResource & { id?: string }>(resource: T): Promise<Stored<T>> {
    const version = resource.meta?.versionId;
    const headers: Record<string, string> = version ? { 'If-Match': `W/"${version}"` } : {};
    return this.#json('PUT', `${resource.resourceType}/${resource.id}`, { body: resource, headers, prefer: true });
  }

  patch<T extends ResourceType>(type: T, id: string, steps: PatchStep[], version?: string): Promise<Stored<Of<T>>> {
    const headers: Record<string, string> = { 'Content-Type': 'application/json-patch+json' };
    if (version) headers['If-Match'] = `W/"${version}"`;
    return this.#json('PATCH', `${type}/${id}`, { body: steps, headers, prefer: true });
  }

  async remove(type: ResourceType, id: string): Promise<void> {
    await this.#send('DELETE', `${type}/${id}`, {});
  }

  /** An operation that changes something. `path` as in `Appointment/7/$cancel`. */
  operation<R extends FhirResource>(path: string, parameter: ParametersParameter[] = []): Promise<R> {
    const body: Parameters = { resourceType: 'Parameters', ...(parameter.length > 0 && { parameter }) };
    return this.#json('POST', path, { body });
  }

  /** An operation that only asks. */
  ask<R extends FhirResource>(path: string, query: Query = {}, signal?: AbortSignal): Promise<R> {
    return this.#json('GET', withQuery(path, query), { signal });
  }

  /** A batch or transaction. Entries that failed in a batch carry their OperationOutcome. */
  transaction(bundle: Bundle): Promise<Bundle> {
    return this.#json('POST', '', { body: bundle });
  }

  /** What a Binary holds, as a file. */
  async blob(reference: string, signal?: AbortSignal): Promise<Blob> {
    const answer = await this.#send('GET', reference, { headers: { Accept: '*/*' }, signal, patience: 0 });
    return answer.blob();
  }

  /** A form with files in it, to an operation that takes one. `progress` hears of the share that is sent, from 0 to 1. */
  async upload<R extends FhirResource>(path: string, form: FormData, progress: (share: number) => void, signal?: AbortSignal): Promise<Stored<R>> {
    const token = await this.#authority.token();
    // Only XMLHttpRequest tells how far an upload is.
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open('POST', `${this.base}/${path}`);
      request.setRequestHeader('Accept', 'application/fhir+json');
      if (token) request.setRequestHeader('Authorization', `Bearer ${token}`);
      request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
      request.onerror = () => reject(new FhirFailure(0));
      request.onabort = () => reject(new DOMException('The upload was stopped.', 'AbortError'));
      request.onload = () => {
        if (request.status < 300) return resolve(JSON.parse(request.responseText) as Stored<R>);
        const headers = new Headers();
        for (const name of ['Retry-After', 'WWW-Authenticate']) {
          const value = request.getResponseHeader(name);
          if (value) headers.set(name, value);
        }
        if (request.status === 401) this.#authority.refused();
        reject(failureOf(request.status, headers, request.responseText));
      };
      signal?.addEventListener('abort', () => request.abort());
      request.send(form);
    });
  }

  /** The answer as it comes, for streams. */
  stream(path: string, signal: AbortSignal, accept: string): Promise<Response> {
    return this.#send('GET', path, { headers: { Accept: accept }, signal, patience: 0 });
  }

  async #page<T extends FhirResource>(path: string, signal?: AbortSignal): Promise<Found<T>> {
    const bundle: Bundle = await this.#json('GET', path, { signal });
    const entries = bundle.entry ?? [];
    const of = (mode: 'match' | 'include') =>
      entries.filter((entry) => (entry.search?.mode ?? 'match') === mode).flatMap((entry) => entry.resource ?? []);
    return {
      resources: of('match') as Stored<T>[],
      included: of('include') as Stored<FhirResource>[],
      total: bundle.total,
      next: bundle.link?.find((link) => link.relation === 'next')?.url,
    };
  }

  async #json<R>(method: string, path: string, options: Options): Promise<R> {
    const answer = await this.#send(method, path, options);
    const text = await answer.text();
    return (text === '' ? undefined : JSON.parse(text)) as R;
  }

  async #send(method: string, path: string, { body, headers, signal, prefer, patience = PATIENCE }: Options): Promise<Response> {
    const token = await this.#authority.token();
    const all = new Headers({ Accept: 'application/fhir+json', ...headers });
    if (token) all.set('Authorization', `Bearer ${token}`);
    if (body !== undefined && !all.has('Content-Type')) all.set('Content-Type', 'application/fhir+json');
    if (prefer) all.set('Prefer', 'return=representation');
    const url = /^https?:/.test(path) ? path : path === '' ? this.base : `${this.base}/${path}`;
    if (!url.startsWith(this.base)) throw new Error('The token goes to its own server only.');
    const signals = [signal, patience > 0 ? AbortSignal.timeout(patience) : undefined].filter((each) => each !== undefined);
    let answer: Response;
    try {
      const content = body === undefined ? null : JSON.stringify(body);
      answer = await fetch(url, { method, headers: all, body: content, signal: AbortSignal.any(signals), cache: 'no-store' });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new FhirFailure(0);
    }
    if (answer.ok) return answer;
    const failure = failureOf(answer.status, answer.headers, await answer.text());
    if (failure.remedy === 'sign-in') this.#authority.refused();
    throw failure;
  }
}

interface Options {
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
  /** Whether the stored resource is wanted back. */
  prefer?: boolean;
  /** Milliseconds; 0: as long as it takes. */
  patience?: number;
}

/** A path with its query, in an order that does not depend on how the query was written. */
export function withQuery(path: string, query: Query): string {
  const pairs = new URLSearchParams();
  for (const name of Object.keys(query).sort()) {
    const value = query[name];
    if (value === undefined || value === '') continue;
    for (const each of Array.isArray(value) ? (value as string[]) : [String(value)]) pairs.append(name, each);
  }
  const text = pairs.toString();
  return text === '' ? path : `${path}?${text}`;
}

/** Whether an answer is a refusal in disguise, as in the entries of a batch. */
export function isOutcome(resource: FhirResource | undefined): resource is OperationOutcome {
  return resource?.resourceType === 'OperationOutcome';
}
