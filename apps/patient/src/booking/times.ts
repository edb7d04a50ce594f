/** Free times, by day and part of the day, as the viewer's clock has them. */
import type { Appointment } from 'fhir/r4';
import { extension, part } from '@medconsult/shared/fhir/values';
import { addDays, dayOf } from '@medconsult/shared/format/time';

export const PARTS = ['morning', 'afternoon', 'evening', 'night'] as const;
export type PartOfDay = (typeof PARTS)[number];

export interface Day {
  /** `2026-03-29` */
  day: string;
  times: Appointment[];
}

/** `count` days from `first`, each with its times. */
export function daysOf(proposals: readonly Appointment[], first: string, count: number, timeZone: string): Day[] {
  const byDay = new Map<string, Appointment[]>();
  for (const proposal of proposals) {
    const day = dayOf(proposal.start ?? '', timeZone);
    byDay.set(day, [...(byDay.get(day) ?? []), proposal]);
  }
  return Array.from({ length: count }, (_, index) => {
    const day = addDays(first, index);
    return { day, times: byDay.get(day) ?? [] };
  });
}

/** What the server says, which knows the zone it was asked in. */
export function partOfDay(proposal: Appointment): PartOfDay {
  const said = part(extension(proposal, 'availability-window'), 'partOfDay')?.valueCode;
  return PARTS.find((each) => each === said) ?? 'morning';
}

/** The blocks of one day that have any times, in the order of the day; what is after midnight comes first. */
export function blocksOf(day: Day): { part: PartOfDay; times: Appointment[] }[] {
  const blocks: { part: PartOfDay; times: Appointment[] }[] = [];
  for (const proposal of day.times) {
    const part = partOfDay(proposal);
    const last = blocks.at(-1);
    if (last?.part === part) last.times.push(proposal);
    else blocks.push({ part, times: [proposal] });
  }
  return blocks;
}
