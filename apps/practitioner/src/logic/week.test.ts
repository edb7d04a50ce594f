import { describe, expect, it } from 'vitest';
import { hoursToDraw, nearestOpening, placeItems, stepOpening } from './week';

const ZONE = 'Europe/Vienna';
const at = (text: string) => Date.parse(text);
const item = (id: string, start: string, minutes = 30) => ({ id, start: at(start), end: at(start) + minutes * 60_000 });

/** id, from, to, lane of lanes. */
function drawn(items: ReturnType<typeof item>[], day: string) {
  return placeItems(items, [day], ZONE)
    .get(day)!
    .map(({ item: { id }, from, to, lane, lanes }) => `${id} ${from}-${to} ${lane}/${lanes}`);
}

describe('a day of the calendar', () => {
  it('has visits at the time of its clock', () => {
    expect(drawn([item('a', '2026-11-23T08:00:00Z'), item('b', '2026-11-22T23:30:00Z')], '2026-11-23')).toEqual([
      'b 30-60 0/1',
      'a 540-570 0/1',
    ]);
  });

  it('puts side by side what overlaps, and nothing else', () => {
    const items = [
      item('a', '2026-11-23T08:00:00Z', 60),
      item('b', '2026-11-23T08:30:00Z', 60),
      item('c', '2026-11-23T09:00:00Z'),
      item('d', '2026-11-23T09:30:00Z'),
    ];
    expect(drawn(items, '2026-11-23')).toEqual(['a 540-600 0/2', 'b 570-630 1/2', 'c 600-630 0/2', 'd 630-660 0/1']);
  });

  it('shows the part of a night that is its own', () => {
    const night = item('n', '2026-11-23T22:30:00Z', 60);
    expect(drawn([night], '2026-11-23')).toEqual(['n 1410-1440 0/1']);
    expect(drawn([night], '2026-11-24')).toEqual(['n 0-30 0/1']);
    expect(placeItems([night], ['2026-11-24'], ZONE).get('2026-11-24')![0]!.continued).toBe(true);
  });

  it('shows a visit as long as it takes where the clock is set ahead', () => {
    // 01:45 to 03:15 on the wall, half an hour for those who sit in it.
    expect(drawn([item('a', '2026-03-29T00:45:00Z')], '2026-03-29')).toEqual(['a 105-135 0/1']);
    expect(drawn([item('b', '2026-03-29T01:00:00Z')], '2026-03-29')).toEqual(['b 180-210 0/1']);
  });

  it('shows both of the hours that are called two o’clock', () => {
    expect(drawn([item('second', '2026-10-25T01:00:00Z'), item('first', '2026-10-25T00:00:00Z')], '2026-10-25')).toEqual([
      'first 120-150 0/2',
      'second 120-150 1/2',
    ]);
  });

  it('leaves room for visits of a few minutes', () => {
    expect(drawn([item('a', '2026-11-23T08:00:00Z', 5), item('b', '2026-11-23T08:05:00Z', 5)], '2026-11-23')).toEqual([
      'a 540-545 0/2',
      'b 545-550 1/2',
    ]);
  });
});

describe('the hours', () => {
  it('are those of a working day and what lies beyond', () => {
    expect(hoursToDraw([])).toEqual([8, 18]);
    expect(
      hoursToDraw([
        { from: 450, to: 480 },
        { from: 1080, to: 1110 },
      ]),
    ).toEqual([7, 19]);
    expect(hoursToDraw([{ from: 1400, to: 1500 }])).toEqual([8, 24]);
  });
});

describe('moving', () => {
  const openings = ['2026-11-23T08:00:00Z', '2026-11-23T09:00:00Z', '2026-11-25T08:30:00Z', '2026-11-25T15:00:00Z'].map((start, index) => ({
    id: `p-${index}`,
    start: at(start),
  }));

  it('goes to an opening near by', () => {
    expect(nearestOpening(openings, '2026-11-23', 580, ZONE)?.id).toBe('p-1');
    expect(nearestOpening(openings, '2026-11-23', 500, ZONE)).toBeUndefined();
    expect(nearestOpening(openings, '2026-11-24', 540, ZONE)).toBeUndefined();
  });

  it('goes by arrows', () => {
    const step = (from: string, key: Parameters<typeof stepOpening>[2]) => stepOpening(openings, at(from), key, ZONE)?.id;
    expect(step('2026-11-23T08:00:00Z', 'ArrowDown')).toBe('p-1');
    expect(step('2026-11-23T08:00:00Z', 'ArrowUp')).toBeUndefined();
    expect(step('2026-11-23T09:00:00Z', 'ArrowRight')).toBe('p-2');
    expect(step('2026-11-25T15:00:00Z', 'ArrowLeft')).toBe('p-1');
    expect(step('2026-11-25T15:00:00Z', 'ArrowRight')).toBeUndefined();
  });
});
