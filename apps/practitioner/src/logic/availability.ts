// A practitioner's bookable hours as the editor shows them, and as the Schedule keeps them (extension
// scheduling-parameters). What the editor does not know is kept as it was.

import type { Extension, Schedule } from 'fhir/r4';
import { addDays } from '@medconsult/shared/format/time';
import { extensionUrl } from '@medconsult/shared/fhir/values';
import { clockMinutes, type Day, weekday } from '@medconsult/shared/format/zone';

export const PARAMETERS = extensionUrl('scheduling-parameters');
export const WEEKDAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
export type Weekday = (typeof WEEKDAYS)[number];

/** A weekly window. Times are `09:00`; one that ends at or before its start ends on the next day. */
export interface Hours {
  days: Weekday[];
  start: string;
  end: string;
  /** First and last day on which it holds. */
  from?: Day;
  until?: Day;
}

/** A day with other hours than its weekday; without times it is closed. */
export interface Exception {
  date: Day;
  start?: string;
  end?: string;
}

/** Lengths that the editor offers, in minutes. */
export interface Lengths {
  duration?: number;
  interval?: number;
  bufferBefore?: number;
  bufferAfter?: number;
  minimumNotice?: number;
  horizon?: number;
}

/** The parameters of one service, or those for all. */
export interface Rules extends Lengths {
  /** `HealthcareService/…`; none: for all services. */
  service?: string;
  timezone?: string;
  hours: Hours[];
  exceptions: Exception[];
}

const LENGTHS = ['duration', 'interval', 'bufferBefore', 'bufferAfter', 'minimumNotice', 'horizon'] as const;
const KNOWN = new Set<string>(['service', 'timezone', 'availability', 'exception', ...LENGTHS]);
const UNITS: Record<string, number> = { min: 1, h: 60, d: 24 * 60, wk: 7 * 24 * 60 };

function part(extension: Extension, url: string): Extension | undefined {
  return extension.extension?.find((one) => one.url === url);
}

/** `09:00`, of FHIR's `09:00:00`. */
function short(time?: string): string {
  return (time ?? '').slice(0, 5);
}

function minutesOf(extension?: Extension): number | undefined {
  const duration = extension?.valueDuration;
  const unit = UNITS[duration?.code ?? ''];
  return duration?.value !== undefined && unit ? duration.value * unit : undefined;
}

/** A Duration in the largest unit that gives a whole number. */
function durationOf(minutes: number): Extension['valueDuration'] {
  const [code, size] = (['d', 'h', 'min'] as const)
    .map((unit) => [unit, UNITS[unit]!] as const)
    .find(([, length]) => minutes % length === 0 && minutes >= length) ?? ['min', 1];
  return { value: minutes / size, system: 'http://unitsofmeasure.org', code };
}

export function readRules(schedule: Schedule): Rules[] {
  return (schedule.extension ?? [])
    .filter(({ url }) => url === PARAMETERS)
    .map((extension) => {
      const rules: Rules = {
        service: part(extension, 'service')?.valueReference?.reference,
        timezone: part(extension, 'timezone')?.valueCode,
        hours: [],
        exceptions: [],
      };
      for (const name of LENGTHS) rules[name] = minutesOf(part(extension, name));
      for (const one of extension.extension ?? []) {
        const period = part(one, 'period')?.valuePeriod;
        if (one.url === 'availability') {
          rules.hours.push({
            days: (one.extension ?? []).filter(({ url }) => url === 'daysOfWeek').map(({ valueCode }) => valueCode as Weekday),
            start: short(part(one, 'start')?.valueTime),
            end: short(part(one, 'end')?.valueTime),
            from: period?.start?.slice(0, 10),
            until: period?.end?.slice(0, 10),
          });
        }
        if (one.url === 'exception') {
          const [start, end] = [part(one, 'start')?.valueTime, part(one, 'end')?.valueTime];
          rules.exceptions.push({
            date: part(one, 'date')?.valueDate ?? '',
            ...(start && end ? { start: short(start), end: short(end) } : {}),
          });
        }
      }
      return rules;
    });
}

function parametersOf(rules: Rules, before?: Extension): Extension {
  const time = (url: string, text: string): Extension => ({ url, valueTime: `${text}:00` });
  const parts: Extension[] = [];
  if (rules.service) parts.push({ url: 'service', valueReference: { reference: rules.service } });
  if (rules.timezone) parts.push({ url: 'timezone', valueCode: rules.timezone });
  for (const name of LENGTHS) {
    const minutes = rules[name];
    if (minutes !== undefined) parts.push({ url: name, valueDuration: durationOf(minutes) });
  }
  for (const { days, start, end, from, until } of rules.hours) {
    parts.push({
      url: 'availability',
      extension: [
        ...WEEKDAYS.filter((day) => days.includes(day)).map((day): Extension => ({ url: 'daysOfWeek', valueCode: day })),
        time('start', start),
        time('end', end),
        ...(from || until ? [{ url: 'period', valuePeriod: { start: from, end: until } }] : []),
      ],
    });
  }
  for (const { date, start, end } of [...rules.exceptions].sort((one, other) => one.date.localeCompare(other.date))) {
    parts.push({
      url: 'exception',
      extension: [{ url: 'date', valueDate: date }, ...(start && end ? [time('start', start), time('end', end)] : [])],
    });
  }
  const foreign = (before?.extension ?? []).filter(({ url }) => !KNOWN.has(url));
  return { url: PARAMETERS, extension: [...parts, ...foreign] };
}

/** The Schedule with these rules in place of its own. */
export function writeRules(schedule: Schedule, all: Rules[]): Schedule {
  const own = (schedule.extension ?? []).filter(({ url }) => url === PARAMETERS);
  const others = (schedule.extension ?? []).filter(({ url }) => url !== PARAMETERS);
  const before = (rules: Rules) => own.find((one) => part(one, 'service')?.valueReference?.reference === rules.service);
  return { ...schedule, extension: [...others, ...all.map((rules) => parametersOf(rules, before(rules)))] };
}

/** What is wrong with rules: which row of which list, and what; the codes are keys of the texts. */
export interface Problem {
  list: 'hours' | 'exceptions' | 'lengths';
  row: number;
  code: 'no-days' | 'no-time' | 'overlap' | 'period' | 'no-date' | 'twice' | 'half' | 'too-short';
}

/** Minutes of a week, from Monday's midnight, that hours fill. */
function spans({ days, start, end }: Hours): [number, number][] {
  const [from, to] = [clockMinutes(start), clockMinutes(end)];
  if (from === undefined || to === undefined) return [];
  const length = to > from ? to - from : to - from + 1440;
  return days.map((day) => {
    const begin = WEEKDAYS.indexOf(day) * 1440 + from;
    return [begin, begin + length];
  });
}

function holdTogether(one: Hours, other: Hours): boolean {
  return (one.from ?? '') <= (other.until ?? '9999') && (other.from ?? '') <= (one.until ?? '9999');
}

function overlap(one: Hours, other: Hours): boolean {
  const week = 7 * 1440;
  return (
    holdTogether(one, other) &&
    spans(one).some(([start, end]) =>
      spans(other).some(([from, to]) =>
        // Sunday night goes on at the beginning of the week.
        [-week, 0, week].some((shift) => start < to + shift && from + shift < end),
      ),
    )
  );
}

export function problemsOf(rules: Rules): Problem[] {
  const problems: Problem[] = [];
  rules.hours.forEach((hours, row) => {
    const add = (code: Problem['code']) => problems.push({ list: 'hours', row, code });
    if (hours.days.length === 0) add('no-days');
    if (clockMinutes(hours.start) === undefined || clockMinutes(hours.end) === undefined) add('no-time');
    if (hours.from && hours.until && hours.until < hours.from) add('period');
    if (rules.hours.slice(0, row).some((earlier) => overlap(earlier, hours))) add('overlap');
  });
  rules.exceptions.forEach(({ date, start, end }, row) => {
    const add = (code: Problem['code']) => problems.push({ list: 'exceptions', row, code });
    if (!/^\d{4}-\d\d-\d\d$/.test(date)) add('no-date');
    if (Boolean(start) !== Boolean(end)) add('half');
    // Several hours of one day are fine; a day that is closed has none.
    const same = rules.exceptions.slice(0, row).filter((earlier) => earlier.date === date);
    if (date && same.some((earlier) => !start || !earlier.start || earlier.start === start)) add('twice');
  });
  LENGTHS.forEach((name, row) => {
    const minutes = rules[name];
    const least = name === 'duration' || name === 'interval' || name === 'horizon' ? 1 : 0;
    if (minutes !== undefined && (!Number.isInteger(minutes) || minutes < least))
      problems.push({ list: 'lengths', row, code: 'too-short' });
  });
  return problems;
}

/** The hours of a day on its clock, `[from, to)` in minutes since midnight; beyond 1440 on the day after. */
export function hoursOn(day: Day, rules: Rules): [number, number][] {
  const read = (start: string, end: string): [number, number][] => {
    const [from, to] = [clockMinutes(start), clockMinutes(end)];
    return from === undefined || to === undefined ? [] : [[from, to > from ? to : to + 1440]];
  };
  const exceptions = rules.exceptions.filter(({ date }) => date === day);
  const found =
    exceptions.length > 0
      ? exceptions.flatMap(({ start, end }) => (start && end ? read(start, end) : []))
      : rules.hours
          .filter(
            ({ days, from, until }) => days.includes(WEEKDAYS[weekday(day) - 1]!) && (!from || from <= day) && (!until || day <= until),
          )
          .flatMap(({ start, end }) => read(start, end));
  return found.sort(([one], [other]) => one - other);
}

/** Minutes that can be booked in the week that begins at `first`. */
export function minutesInWeek(first: Day, rules: Rules): number {
  return Array.from({ length: 7 }, (_, index) => hoursOn(addDays(first, index), rules))
    .flat()
    .reduce((sum, [from, to]) => sum + to - from, 0);
}

/** A window of one weekday. */
export type Window = Omit<Hours, 'days'>;
export type Week = Record<Weekday, Window[]>;

/** Hours by weekday, as a week is looked at. */
export function toWeek(hours: Hours[]): Week {
  const of = (day: Weekday) =>
    hours
      .filter(({ days }) => days.includes(day))
      .map(({ days: _, ...window }) => window)
      .sort((one, other) => one.start.localeCompare(other.start));
  return Object.fromEntries(WEEKDAYS.map((day) => [day, of(day)])) as Week;
}

/** The weekday's windows as hours; days with the same window share it. */
export function fromWeek(week: Week): Hours[] {
  const found = new Map<string, Hours>();
  for (const day of WEEKDAYS) {
    for (const window of week[day]) {
      const key = [window.start, window.end, window.from, window.until].join(' ');
      const hours = found.get(key);
      // A window that a day has twice stays there twice, for somebody to see.
      if (hours && !hours.days.includes(day)) hours.days.push(day);
      else found.set(hours ? `${key} ${day}` : key, { days: [day], ...window });
    }
  }
  return [...found.values()];
}

/** The problems of a week's windows: which day, which of its windows, and what. */
export function problemsOfWeek(week: Week): { day: Weekday; row: number; code: Problem['code'] }[] {
  const rows = WEEKDAYS.flatMap((day) => week[day].map((window, row) => ({ day, row, hours: { days: [day], ...window } })));
  return problemsOf({ hours: rows.map(({ hours }) => hours), exceptions: [] }).map(({ row, code }) => ({
    day: rows[row]!.day,
    row: rows[row]!.row,
    code,
  }));
}
