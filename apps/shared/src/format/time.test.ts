import { describe, expect, it } from 'vitest';
import { addDays, dayOf, daysBetween, writeCountdown, writeDate, writeDateTime, writeOffset, writeRange, writeRelative, writeTime, writeZone } from './time';

describe('instants', () => {
  it('are shown on the clock of the viewer, whatever day that is there', () => {
    const instant = '2026-11-23T23:30:00Z';
    expect(writeTime(instant, 'time', 'en-GB', 'Europe/Berlin')).toBe('0:30');
    expect(dayOf(instant, 'Europe/Berlin')).toBe('2026-11-24');
    expect(dayOf(instant, 'America/New_York')).toBe('2026-11-23');
    // The line where the date changes, and a zone of half an hour.
    expect(dayOf(instant, 'Pacific/Kiritimati')).toBe('2026-11-24');
    expect(writeTime(instant, 'time', 'en-GB', 'Asia/Kolkata')).toBe('5:00');
  });

  it('keep their order across a night in which the clock goes back', () => {
    // 02:30 comes twice in Berlin on 2026-10-25.
    expect(writeTime('2026-10-25T00:30:00Z', 'time', 'en-GB', 'Europe/Berlin')).toBe('2:30');
    expect(writeTime('2026-10-25T01:30:00Z', 'time', 'en-GB', 'Europe/Berlin')).toBe('2:30');
    expect(writeOffset('Europe/Berlin', new Date('2026-10-25T00:30:00Z'))).toBe('UTC+2');
    expect(writeOffset('Europe/Berlin', new Date('2026-10-25T01:30:00Z'))).toBe('UTC+1');
  });

  it('end on another day without naming both', () => {
    expect(writeRange('2026-11-23T22:45:00Z', '2026-11-23T23:15:00Z', 'time', 'en-GB', 'Europe/Berlin')).toBe('23:45 – 0:15');
  });

  it('have a zone with a name and an offset', () => {
    expect(writeZone('Europe/Berlin', 'en', new Date('2026-01-05T12:00:00Z'))).toBe('Central European Standard Time, Berlin');
    expect(writeOffset('America/St_Johns', new Date('2026-01-05T12:00:00Z'))).toBe('UTC−3:30');
    expect(writeOffset('UTC')).toBe('UTC');
  });

  it('are told as how far away they are', () => {
    const now = Date.parse('2026-11-23T12:00:00Z');
    expect(writeRelative('2026-11-26T12:00:00Z', 'en', now)).toBe('in 3 days');
    expect(writeRelative('2026-11-23T10:00:00Z', 'en', now)).toBe('2 hours ago');
  });
});

describe('dates', () => {
  it('are the same day everywhere, as exact as they are', () => {
    expect(writeDate('1968-05-14', 'en-GB')).toBe('14 May 1968');
    expect(writeDate('1968-05', 'en-GB')).toBe('May 1968');
    expect(writeDate('1968', 'en-GB')).toBe('1968');
    expect(writeDateTime('2026-03-29', 'dateTime', 'en-GB', 'Pacific/Kiritimati')).toBe('29 Mar 2026');
  });

  it('are counted by the calendar, across the ends of months and of summer time', () => {
    expect(addDays('2026-02-27', 2)).toBe('2026-03-01');
    expect(addDays('2026-10-24', 2)).toBe('2026-10-26');
    expect(daysBetween('2026-03-28', '2026-03-30')).toBe(2);
    expect(daysBetween('2026-03-30', '2026-03-28')).toBe(-2);
  });
});

it('counts down to nothing and no further', () => {
  expect(writeCountdown(245_000)).toBe('4:05');
  expect(writeCountdown(400)).toBe('0:01');
  expect(writeCountdown(-5)).toBe('0:00');
});
