import type { Schedule } from 'fhir/r4';
import { describe, expect, it } from 'vitest';
import {
  fromWeek,
  hoursOn,
  minutesInWeek,
  PARAMETERS,
  problemsOf,
  problemsOfWeek,
  readRules,
  type Rules,
  toWeek,
  writeRules,
} from './availability';

const minutes = (value: number, code: string) => ({ value, system: 'http://unitsofmeasure.org', code });

const schedule: Schedule = {
  resourceType: 'Schedule',
  id: 's',
  active: true,
  actor: [{ reference: 'Practitioner/d' }, { reference: 'HealthcareService/v' }],
  extension: [
    { url: 'https://elsewhere.example/colour', valueString: 'blue' },
    {
      url: PARAMETERS,
      extension: [
        { url: 'timezone', valueCode: 'Europe/Vienna' },
        { url: 'duration', valueDuration: minutes(30, 'min') },
        { url: 'minimumNotice', valueDuration: minutes(2, 'h') },
        { url: 'horizon', valueDuration: minutes(60, 'd') },
        {
          url: 'availability',
          extension: [
            { url: 'daysOfWeek', valueCode: 'mon' },
            { url: 'daysOfWeek', valueCode: 'thu' },
            { url: 'start', valueTime: '09:00:00' },
            { url: 'end', valueTime: '12:30:00' },
          ],
        },
        { url: 'exception', extension: [{ url: 'date', valueDate: '2026-12-24' }] },
        { url: 'colour', valueString: 'red' },
      ],
    },
  ],
};

const open = (hours: Rules['hours'], exceptions: Rules['exceptions'] = []): Rules => ({ hours, exceptions });

describe('rules', () => {
  it('are read from a Schedule', () => {
    expect(readRules(schedule)).toEqual([
      {
        timezone: 'Europe/Vienna',
        duration: 30,
        minimumNotice: 120,
        horizon: 60 * 24 * 60,
        hours: [{ days: ['mon', 'thu'], start: '09:00', end: '12:30' }],
        exceptions: [{ date: '2026-12-24' }],
      },
    ]);
  });

  it('are written as they were read, with what the editor does not know', () => {
    const written = writeRules(schedule, readRules(schedule));
    expect(written.extension?.[0]).toEqual(schedule.extension?.[0]);
    const sorted = (one: Schedule) => one.extension?.[1]?.extension?.map((each) => JSON.stringify(each)).sort();
    expect(sorted(written)).toEqual(sorted(schedule));
  });

  it('keep what is for one service apart', () => {
    const rules = [...readRules(schedule), { service: 'HealthcareService/v', duration: 90, ...open([]) }];
    const back = readRules(writeRules(schedule, rules));
    expect(back.map(({ service, duration }) => [service, duration])).toEqual([
      [undefined, 30],
      ['HealthcareService/v', 90],
    ]);
    const written = writeRules(schedule, rules).extension?.[2]?.extension;
    expect(written?.find(({ url }) => url === 'duration')?.valueDuration).toEqual(minutes(90, 'min'));
  });

  it('have lengths in their largest whole unit', () => {
    const duration = (value: number) =>
      writeRules(schedule, [{ bufferAfter: value, ...open([]) }]).extension?.[1]?.extension?.[0]?.valueDuration;
    expect([0, 45, 120, 90, 2880].map(duration)).toEqual([
      minutes(0, 'min'),
      minutes(45, 'min'),
      minutes(2, 'h'),
      minutes(90, 'min'),
      minutes(2, 'd'),
    ]);
  });

  it('are told what is wrong with them', () => {
    const codes = (rules: Rules) => problemsOf(rules).map(({ list, row, code }) => `${list} ${row} ${code}`);
    expect(codes(open([{ days: [], start: '', end: '10:00' }]))).toEqual(['hours 0 no-days', 'hours 0 no-time']);
    expect(
      codes(
        open([
          { days: ['mon'], start: '09:00', end: '12:00' },
          { days: ['mon', 'tue'], start: '11:59', end: '13:00' },
        ]),
      ),
    ).toEqual(['hours 1 overlap']);
    expect(
      codes(
        open([
          { days: ['mon'], start: '09:00', end: '12:00' },
          { days: ['mon'], start: '12:00', end: '13:00' },
        ]),
      ),
    ).toEqual([]);
    // Sunday's night meets Monday's morning.
    expect(
      codes(
        open([
          { days: ['mon'], start: '01:00', end: '03:00' },
          { days: ['sun'], start: '22:00', end: '02:00' },
        ]),
      ),
    ).toEqual(['hours 1 overlap']);
    expect(
      codes(
        open([
          { days: ['mon'], start: '09:00', end: '12:00', until: '2026-05-31' },
          { days: ['mon'], start: '09:00', end: '12:00', from: '2026-06-01' },
        ]),
      ),
    ).toEqual([]);
    expect(
      codes(open([], [{ date: '2026-12-24' }, { date: '2026-12-24', start: '09:00', end: '10:00' }, { date: '', start: '09:00' }])),
    ).toEqual(['exceptions 1 twice', 'exceptions 2 no-date', 'exceptions 2 half']);
    expect(codes({ ...open([]), duration: 0, bufferAfter: 0 })).toEqual(['lengths 0 too-short']);
  });
});

describe('the hours of a day', () => {
  const rules: Rules = open(
    [
      { days: ['mon', 'fri'], start: '13:00', end: '17:00' },
      { days: ['mon'], start: '09:00', end: '12:00', from: '2026-12-01' },
      { days: ['sat'], start: '22:00', end: '02:00' },
    ],
    [{ date: '2026-12-07' }, { date: '2026-12-08', start: '10:00', end: '11:00' }],
  );

  it('are those of its weekday, unless it is an exception', () => {
    expect(hoursOn('2026-11-23', rules)).toEqual([[780, 1020]]);
    expect(hoursOn('2026-12-14', rules)).toEqual([
      [540, 720],
      [780, 1020],
    ]);
    expect(hoursOn('2026-12-07', rules)).toEqual([]);
    expect(hoursOn('2026-12-08', rules)).toEqual([[600, 660]]);
    expect(hoursOn('2026-12-12', rules)).toEqual([[1320, 1560]]);
  });

  it('add up', () => {
    expect(minutesInWeek('2026-12-14', rules)).toBe(180 + 240 + 240 + 240);
    expect(minutesInWeek('2026-12-07', rules)).toBe(60 + 240 + 240);
  });
});

describe('a week', () => {
  const hours: Rules['hours'] = [
    { days: ['mon', 'tue'], start: '13:00', end: '17:00' },
    { days: ['mon'], start: '09:00', end: '12:00', until: '2026-12-31' },
  ];

  it('has the windows of each day in their order, and goes back to hours', () => {
    const week = toWeek(hours);
    expect(week.mon).toEqual([
      { start: '09:00', end: '12:00', until: '2026-12-31' },
      { start: '13:00', end: '17:00' },
    ]);
    expect([week.tue.length, week.sun]).toEqual([1, []]);
    expect(fromWeek(week)).toEqual([hours[1], hours[0]]);
  });

  it('tells where its problems are', () => {
    const week = {
      ...toWeek([]),
      tue: [
        { start: '09:00', end: '12:00' },
        { start: '09:00', end: '12:00' },
      ],
      wed: [{ start: '', end: '10:00' }],
    };
    expect(problemsOfWeek(week)).toEqual([
      { day: 'tue', row: 1, code: 'overlap' },
      { day: 'wed', row: 0, code: 'no-time' },
    ]);
    expect(fromWeek(week)).toHaveLength(3);
  });
});
