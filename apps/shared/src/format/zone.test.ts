import { describe, expect, it } from 'vitest';
import { MINUTE, clockMinutes, clockText, dayOf, instantOf, lengthOfDay, startOfWeek, wallClock, weekday } from './zone';

const at = (text: string) => Date.parse(text);

describe('clocks', () => {
  it('show the day and time of their zone', () => {
    expect(wallClock(at('2026-03-29T00:30:00Z'), 'Asia/Kolkata')).toEqual({ day: '2026-03-29', minutes: 6 * 60 });
    expect(wallClock(at('2026-01-01T05:00:00Z'), 'America/Los_Angeles')).toEqual({ day: '2025-12-31', minutes: 21 * 60 });
    expect(wallClock(at('2026-01-01T00:00:00Z'), 'UTC')).toEqual({ day: '2026-01-01', minutes: 0 });
  });

  it('give the instant of a time', () => {
    expect(instantOf('2026-07-01', 9 * 60, 'Europe/Vienna')).toBe(at('2026-07-01T07:00:00Z'));
    expect(instantOf('2026-01-15', 9 * 60 + 15, 'Asia/Kathmandu')).toBe(at('2026-01-15T03:30:00Z'));
    expect(instantOf('2026-01-15', 0, 'Pacific/Kiritimati')).toBe(at('2026-01-14T10:00:00Z'));
  });

  it('read a skipped time as the jump', () => {
    expect(instantOf('2026-03-29', 2 * 60 + 30, 'Europe/Vienna')).toBe(at('2026-03-29T01:00:00Z'));
    expect(instantOf('2026-03-08', 2 * 60 + 1, 'America/New_York')).toBe(at('2026-03-08T07:00:00Z'));
    // Lord Howe's clock is changed by half an hour.
    expect(instantOf('2026-10-04', 2 * 60 + 15, 'Australia/Lord_Howe')).toBe(at('2026-10-03T15:30:00Z'));
    // Samoa had no 30 December 2011.
    expect(instantOf('2011-12-30', 12 * 60, 'Pacific/Apia')).toBe(at('2011-12-30T10:00:00Z'));
  });

  it('read a time that comes twice as the first', () => {
    expect(instantOf('2026-10-25', 2 * 60 + 30, 'Europe/Vienna')).toBe(at('2026-10-25T00:30:00Z'));
    expect(instantOf('2026-11-01', 60, 'America/New_York')).toBe(at('2026-11-01T05:00:00Z'));
  });

  it('know how long a day is', () => {
    expect(lengthOfDay('2026-03-29', 'Europe/Vienna')).toBe(23 * 60);
    expect(lengthOfDay('2026-10-25', 'Europe/Vienna')).toBe(25 * 60);
    expect(lengthOfDay('2026-04-05', 'Australia/Lord_Howe')).toBe(24 * 60 + 30);
    expect(lengthOfDay('2026-06-01', 'Europe/Vienna')).toBe(24 * 60);
  });

  it('agree with themselves at every quarter of a year', () => {
    for (const zone of ['Europe/Vienna', 'America/St_Johns', 'Asia/Kathmandu', 'Australia/Lord_Howe', 'Pacific/Chatham']) {
      for (let instant = at('2026-01-01T00:00:00Z'); instant < at('2027-01-01T00:00:00Z'); instant += 197 * MINUTE) {
        const shown = wallClock(instant, zone);
        const back = instantOf(shown.day, shown.minutes, zone);
        // The second time that a clock shows the same, the first is given.
        expect(back === instant || (back < instant && instant - back <= 60 * MINUTE), `${zone} ${instant}`).toBe(true);
        expect(wallClock(back, zone)).toEqual(shown);
      }
    }
  });
});

describe('days', () => {
  it('are counted without clocks', () => {
    expect(weekday('2026-11-23')).toBe(1);
    expect(weekday('2026-11-29')).toBe(7);
    expect(startOfWeek('2026-11-29')).toBe('2026-11-23');
    expect(startOfWeek('2026-11-29', 7)).toBe('2026-11-29');
    expect(dayOf(at('2026-11-23T23:30:00Z'), 'Europe/Vienna')).toBe('2026-11-24');
  });

  it('have times that are written and read', () => {
    expect(clockText(0)).toBe('00:00');
    expect(clockText(1440)).toBe('24:00');
    expect(clockMinutes('09:30:00')).toBe(570);
    expect(clockMinutes('24:00')).toBeUndefined();
    expect(clockMinutes('9:30')).toBeUndefined();
  });
});
