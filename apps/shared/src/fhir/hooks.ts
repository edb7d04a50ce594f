/**
 * Reading and changing resources in components.
 *
 * What was read is kept under its resource type. A change by this app, or one that the server tells of, marks what is kept of
 * the types concerned as old, and what is on the screen is read again.
 */
import {
  keepPreviousData, QueryClient, useInfiniteQuery, useMutation, useQuery, useQueryClient, type QueryKey, type UseQueryResult,
} from '@tanstack/react-query';
import type { FhirResource } from 'fhir/r4';
import { useSession } from '../session/context';
import type { Found, Of, Query, ResourceType, Stored } from './client';
import { asFailure, FhirFailure } from './failure';
import { split } from './values';

export function newCache(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 20_000,
        gcTime: 10 * 60_000,
        // What can help by itself is tried again; a refusal is not.
        retry: (count, error) => count < 2 && asFailure(error).remedy === 'retry',
        retryDelay: (count) => 500 * 2 ** count,
      },
    },
  });
}

export const searchKey = (type: ResourceType, query: Query): QueryKey => [type, 'search', query];
export const readKey = (type: string, id: string): QueryKey => [type, 'read', id];

type Result<T> = UseQueryResult<T, FhirFailure>;

/** The first page of a search. `query` undefined: not yet. */
export function useSearch<T extends ResourceType>(type: T, query: Query | undefined): Result<Found<Of<T>>> {
  const { fhir } = useSession();
  return useQuery<Found<Of<T>>, FhirFailure>({
    queryKey: searchKey(type, query ?? {}),
    queryFn: ({ signal }) => fhir.search(type, query ?? {}, signal),
    enabled: query !== undefined,
    placeholderData: keepPreviousData,
  });
}

/** All pages of a search, one after the other, as the person asks for more. */
export function useSearchPages<T extends ResourceType>(type: T, query: Query | undefined) {
  const { fhir } = useSession();
  return useInfiniteQuery<Found<Of<T>>, FhirFailure, { resources: Stored<Of<T>>[]; included: Stored<FhirResource>[] }, QueryKey, string | undefined>({
    queryKey: [type, 'pages', query ?? {}],
    queryFn: ({ pageParam, signal }) => (pageParam ? fhir.next<Of<T>>(pageParam, signal) : fhir.search(type, query ?? {}, signal)),
    initialPageParam: undefined,
    getNextPageParam: (page) => page.next,
    select: ({ pages }) => ({ resources: pages.flatMap((page) => page.resources), included: pages.flatMap((page) => page.included) }),
    enabled: query !== undefined,
  });
}

/** One resource, by a reference such as `Practitioner/7`. */
export function useRead<T extends ResourceType>(reference: string | undefined): Result<Stored<Of<T>>> {
  const { fhir } = useSession();
  const found = split(reference);
  return useQuery<Stored<Of<T>>, FhirFailure>({
    queryKey: readKey(found?.type ?? '', found?.id ?? ''),
    queryFn: ({ signal }) => fhir.read(found?.type as T, found?.id ?? '', signal),
    enabled: found !== undefined,
  });
}

/** An operation that only asks, kept under the type that its answer depends on. */
export function useAsk<R extends FhirResource>(type: ResourceType, path: string, query: Query | undefined): Result<R> {
  const { fhir } = useSession();
  return useQuery<R, FhirFailure>({
    queryKey: [type, path, query ?? {}],
    queryFn: ({ signal }) => fhir.ask<R>(path, query ?? {}, signal),
    enabled: query !== undefined,
    placeholderData: keepPreviousData,
  });
}

export interface Change<V, R> {
  /** What is to be done. */
  run: (input: V) => Promise<R>;
  /** The types of what it changes. */
  touches: readonly ResourceType[];
  /** Shows the change before the server has agreed: what it makes of a kept resource. It is taken back when the server refuses. */
  expect?: { type: ResourceType; apply: (resource: Stored<FhirResource>, input: V) => Stored<FhirResource> | undefined };
}

/** A change, which is shown at once where `expect` says how. */
export function useChange<V = void, R = unknown>({ run, touches, expect }: Change<V, R>) {
  const cache = useQueryClient();
  return useMutation<R, FhirFailure, V, [QueryKey, unknown][]>({
    mutationFn: async (input) => {
      try {
        return await run(input);
      } catch (error) {
        throw asFailure(error);
      }
    },
    onMutate: async (input) => {
      if (!expect) return [];
      await cache.cancelQueries({ queryKey: [expect.type] });
      const before = cache.getQueriesData({ queryKey: [expect.type] });
      cache.setQueriesData({ queryKey: [expect.type] }, (kept: unknown) => rewrite(kept, (each) => expect.apply(each, input)));
      return before;
    },
    onError: (_error, _input, before) => before?.forEach(([key, data]) => cache.setQueryData(key, data)),
    onSettled: () => Promise.all(touches.map((type) => cache.invalidateQueries({ queryKey: [type] }))),
  });
}

type Rewrite = (resource: Stored<FhirResource>) => Stored<FhirResource> | undefined;

/** What is kept (a resource, a page of them, all pages) with each resource rewritten; those that become nothing leave. */
export function rewrite(kept: unknown, by: Rewrite): unknown {
  if (typeof kept !== 'object' || kept === null) return kept;
  if ('pages' in kept && Array.isArray(kept.pages)) return { ...kept, pages: kept.pages.map((page: unknown) => rewrite(page, by)) };
  if ('resources' in kept && Array.isArray(kept.resources)) {
    return { ...kept, resources: kept.resources.flatMap((each: Stored<FhirResource>) => by(each) ?? []) };
  }
  if ('resourceType' in kept && 'id' in kept) return by(kept as Stored<FhirResource>) ?? kept;
  return kept;
}
