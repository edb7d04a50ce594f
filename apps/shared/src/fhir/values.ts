/** Reading and making small parts of resources. */
import type { CodeableConcept, Coding, Extension, HumanName, Identifier, Meta, Reference } from 'fhir/r4';

/** Where MedConsult's own definitions are. */
export const BASE = 'https://medconsult.example/fhir';
export const extensionUrl = (name: string): string => `${BASE}/StructureDefinition/${name}`;
export const systemUrl = (name: string): string => `${BASE}/CodeSystem/${name}`;

interface Extended {
  extension?: Extension[] | undefined;
}

/** The extension of ours by that name. */
export function extension(of: Extended | undefined, name: string): Extension | undefined {
  const url = extensionUrl(name);
  return of?.extension?.find((each) => each.url === url);
}

/** A part of a complex extension. */
export function part(of: Extended | undefined, name: string): Extension | undefined {
  return of?.extension?.find((each) => each.url === name);
}

export const parts = (of: Extended | undefined, name: string): Extension[] => of?.extension?.filter((each) => each.url === name) ?? [];

/** How a person is called: the text that the record has, or the parts in their order. */
export function nameOf(names: HumanName[] | undefined): string {
  const name = names?.find((each) => each.use === 'official') ?? names?.find((each) => each.use !== 'old') ?? names?.[0];
  if (!name) return '';
  return name.text ?? [...(name.prefix ?? []), ...(name.given ?? []), name.family].filter(Boolean).join(' ');
}

export function initialsOf(name: string): string {
  const words = name.replace(/\b(dr|prof|mr|mrs|ms)\.?\s/gi, '').trim().split(/\s+/);
  const first = [...(words[0] ?? '')][0] ?? '';
  const last = words.length > 1 ? ([...(words.at(-1) ?? '')][0] ?? '') : '';
  return (first + last).toUpperCase();
}

/** What people read for a code. */
export function textOfConcept(concept: CodeableConcept | undefined): string {
  return concept?.text ?? concept?.coding?.find((coding) => coding.display)?.display ?? concept?.coding?.[0]?.code ?? '';
}

export function codeOf(concept: CodeableConcept | undefined, system: string): string | undefined {
  return concept?.coding?.find((coding) => coding.system === system)?.code;
}

export const hasCode = (codings: Coding[] | undefined, system: string, code: string): boolean =>
  codings?.some((coding) => coding.system === system && coding.code === code) ?? false;

export const tagOf = (meta: Meta | undefined, system: string): string | undefined => meta?.tag?.find((tag) => tag.system === system)?.code;

export const identifierOf = (identifiers: Identifier[] | undefined, system: string): string | undefined =>
  identifiers?.find((each) => each.system === system)?.value;

/** `Patient/7` as its two halves. Versions and what comes before do not matter. */
export function split(reference: string | undefined): { type: string; id: string } | undefined {
  const match = /([A-Z][A-Za-z]+)\/([A-Za-z0-9.-]{1,64})(?:\/_history\/[^/]+)?$/.exec(reference ?? '');
  return match ? { type: match[1] as string, id: match[2] as string } : undefined;
}

/** `Patient/7` out of whatever a reference is written as. */
export function relative(reference: string | undefined): string | undefined {
  const found = split(reference);
  return found && `${found.type}/${found.id}`;
}

export const refersTo = (reference: Reference | undefined, type: string): boolean => split(reference?.reference)?.type === type;

/** The zone that somebody chose in their settings. */
export const zoneOf = (of: Extended | undefined): string | undefined => extension(of, 'time-zone')?.valueCode;
