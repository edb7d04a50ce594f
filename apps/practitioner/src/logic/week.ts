// Where the visits of a calendar are drawn: columns of days, minutes on the wall's clock downwards. On the day on which the
// clock is set back an hour comes twice: what begins in either stands side by side, as do visits that overlap.

import { addDays } from '@medconsult/shared/format/time';
import { type Day, MINUTE, wallClock } from '@medconsult/shared/format/zone';

/** Something with a time in the calendar. Instants in milliseconds. */
export interface Item {
  id: string;
  start: number;
  end: number;
}

/** Where an item is drawn, on one day. */
export interface Placed<T extends Item> {
  item: T;
  day: Day;
  /** Minutes since midnight on the wall's clock. */
  from: number;
  /** At most 1440. */
  to: number;
  /** Which of `lanes` columns side by side. */
  lane: number;
  lanes: number;
  /** It began the day before, or goes on the day after. */
  continued: boolean;
}

/** No visit is drawn smaller than this: it could not be read, nor touched. Minutes. */
const LEAST_HEIGHT = 15;

/** The parts of an item on the days that it touches. */
function partsOf<T extends Item>(item: T, zone: string): Placed<T>[] {
  const begin = wallClock(item.start, zone);
  // A visit is drawn as long as it takes, wherever the clock jumps meanwhile.
  const length = Math.max(0, (item.end - item.start) / MINUTE);
  const parts: Placed<T>[] = [];
  const add = (day: Day, from: number, to: number, continued: boolean) => parts.push({ item, day, from, to, lane: 0, lanes: 1, continued });
  const goesOn = begin.minutes + length > 1440;
  add(begin.day, begin.minutes, Math.min(begin.minutes + length, 1440), goesOn);
  let rest = begin.minutes + length - 1440;
  for (let day = addDays(begin.day, 1); rest > 0; day = addDays(day, 1), rest -= 1440) add(day, 0, Math.min(rest, 1440), true);
  return parts;
}

/** Gives the items of one day lanes: as few as it takes for those that overlap, through any chain of overlaps. */
function intoLanes<T extends Item>(day: Placed<T>[]): void {
  day.sort(
    (one, other) =>
      one.from - other.from || one.item.start - other.item.start || other.to - one.to || one.item.id.localeCompare(other.item.id),
  );
  let group: Placed<T>[] = [];
  let ends: number[] = [];
  const close = () => {
    for (const placed of group) placed.lanes = ends.length;
    [group, ends] = [[], []];
  };
  for (const placed of day) {
    if (group.length > 0 && ends.every((end) => end <= placed.from)) close();
    const free = ends.findIndex((end) => end <= placed.from);
    placed.lane = free < 0 ? ends.length : free;
    ends[placed.lane] = Math.max(placed.to, placed.from + LEAST_HEIGHT);
    group.push(placed);
  }
  close();
}

/** The items of each of these days, in the order of their times. */
export function placeItems<T extends Item>(items: T[], days: Day[], zone: string): Map<Day, Placed<T>[]> {
  const columns = new Map<Day, Placed<T>[]>(days.map((day) => [day, []]));
  for (const item of items) {
    for (const placed of partsOf(item, zone)) columns.get(placed.day)?.push(placed);
  }
  for (const column of columns.values()) intoLanes(column);
  return columns;
}

/** The whole hours to draw, `[from, to)`: a working day, and whatever lies beyond it. Spans are minutes of a day. */
export function hoursToDraw(spans: { from: number; to: number }[], usual: [number, number] = [8, 18]): [number, number] {
  return spans.reduce<[number, number]>(
    ([first, last], { from, to }) => [Math.min(first, Math.floor(from / 60)), Math.max(last, Math.min(24, Math.ceil(to / 60)))],
    usual,
  );
}

/** A time to which a visit can be moved. */
export interface Opening {
  /** Id of the proposal of `$find`. */
  id: string;
  start: number;
}

/** The opening that is nearest to a place in the calendar, if one is within `reach` minutes on that day. */
export function nearestOpening(openings: Opening[], day: Day, minutes: number, zone: string, reach = 30): Opening | undefined {
  let best: { opening: Opening; away: number } | undefined;
  for (const opening of openings) {
    const shown = wallClock(opening.start, zone);
    const away = Math.abs(shown.minutes - minutes);
    if (shown.day === day && away <= reach && (!best || away < best.away)) best = { opening, away };
  }
  return best?.opening;
}

/** Where an arrow key moves a visit that is being moved: to the next opening in time, or to the nearest of the next day that has one. */
export function stepOpening(
  openings: Opening[],
  from: number,
  key: 'ArrowUp' | 'ArrowDown' | 'ArrowLeft' | 'ArrowRight',
  zone: string,
): Opening | undefined {
  const ordered = [...openings].sort((one, other) => one.start - other.start);
  const here = wallClock(from, zone);
  if (key === 'ArrowUp') return ordered.findLast(({ start }) => start < from);
  if (key === 'ArrowDown') return ordered.find(({ start }) => start > from);
  const forward = key === 'ArrowRight';
  const days = ordered.map(({ start }) => wallClock(start, zone).day);
  const day = forward ? days.find((one) => one > here.day) : days.findLast((one) => one < here.day);
  return day === undefined ? undefined : nearestOpening(ordered, day, here.minutes, zone, 1440);
}
