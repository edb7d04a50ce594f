// Days and clocks of a time zone. Instants are milliseconds since 1970 (UTC); days are `2026-03-29`; clocks are minutes
// since midnight as the clock on the wall shows them, so that 02:30 is 150 whether or not the hour before it took place.

import { addDays } from './time';

/** A calendar day, `2026-03-29`. */
export type Day = string;

export const MINUTE = 60_000;

/** What a clock on the wall shows. */
export interface WallClock {
  day: Day;
  /** Minutes since midnight, 0 to 1439. */
  minutes: number;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function format(zone: string): Intl.DateTimeFormat {
  let found = formats.get(zone);
  if (!found) {
    found = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
    });
    formats.set(zone, found);
  }
  return found;
}

/** What the clock of `zone` shows at an instant. */
export function wallClock(instant: number, zone: string): WallClock {
  const parts: Record<string, string> = {};
  for (const part of format(zone).formatToParts(instant)) parts[part.type] = part.value;
  return {
    day: `${parts.year}-${parts.month}-${parts.day}`,
    minutes: Number(parts.hour) * 60 + Number(parts.minute),
  };
}

export function dayOf(instant: number, zone: string): Day {
  return wallClock(instant, zone).day;
}

/** 1 is Monday and 7 is Sunday, as ISO 8601 counts. */
export function weekday(day: Day): number {
  return new Date(`${day}T00:00:00Z`).getUTCDay() || 7;
}

/** The first day of the week that `day` is in. `firstWeekday` as `weekday` counts. */
export function startOfWeek(day: Day, firstWeekday = 1): Day {
  return addDays(day, -((weekday(day) - firstWeekday + 7) % 7));
}

/**
 * The instant at which the clock of `zone` shows that time. A time that the clock skips is the instant of the jump; one
 * that it shows twice is the first, as the server reads a practitioner's hours.
 */
export function instantOf(day: Day, minutes: number, zone: string): number {
  const asUtc = Date.parse(`${day}T00:00:00Z`) + minutes * MINUTE;
  const offsetAt = (instant: number) => {
    const shown = wallClock(instant, zone);
    return Date.parse(`${shown.day}T00:00:00Z`) + shown.minutes * MINUTE - Math.floor(instant / MINUTE) * MINUTE;
  };
  // The two offsets that hold around this time; they differ on the day of a change only.
  const before = offsetAt(asUtc - 24 * 60 * MINUTE);
  const after = offsetAt(asUtc + 24 * 60 * MINUTE);
  const fits = [before, after].map((offset) => asUtc - offset).filter((instant) => offsetAt(instant) === asUtc - instant);
  if (fits.length > 0) return Math.min(...fits);
  // Skipped: look for the jump, which lies between the two readings.
  let [low, high] = [asUtc - Math.max(before, after), asUtc - Math.min(before, after)];
  while (high - low > MINUTE) {
    const middle = low + Math.floor((high - low) / 2 / MINUTE) * MINUTE;
    if (offsetAt(middle) === before) low = middle;
    else high = middle;
  }
  return high;
}

/** From midnight to midnight, in minutes: 1440, but for the days on which the clock is changed. */
export function lengthOfDay(day: Day, zone: string): number {
  return (instantOf(addDays(day, 1), 0, zone) - instantOf(day, 0, zone)) / MINUTE;
}

/** `09:30`, from minutes since midnight. 1440 is `24:00`. */
export function clockText(minutes: number): string {
  return `${String(Math.floor(minutes / 60)).padStart(2, '0')}:${String(minutes % 60).padStart(2, '0')}`;
}

/** Minutes since midnight, from `09:30` or `09:30:00`; undefined for anything else. */
export function clockMinutes(text: string): number | undefined {
  const match = /^([01]\d|2[0-3]):([0-5]\d)(:[0-5]\d(\.\d+)?)?$/.exec(text);
  return match ? Number(match[1]) * 60 + Number(match[2]) : undefined;
}
