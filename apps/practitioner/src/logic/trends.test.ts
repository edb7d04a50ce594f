import type { Observation } from 'fhir/r4';
import { describe, expect, it } from 'vitest';
import { draw, latestOf, niceTicks, trendsOf } from './trends';

const loinc = (code: string, display: string) => ({ coding: [{ system: 'http://loinc.org', code, display }] });

function measured(id: string, at: string, value: number, more: Partial<Observation> = {}): Observation {
  return {
    resourceType: 'Observation',
    id,
    status: 'final',
    code: loinc('29463-7', 'Body weight'),
    effectiveDateTime: at,
    valueQuantity: { value, unit: 'kg', system: 'http://unitsofmeasure.org', code: 'kg' },
    ...more,
  };
}

const pressure: Observation = {
  resourceType: 'Observation',
  id: 'bp',
  status: 'final',
  code: loinc('85354-9', 'Blood pressure'),
  effectiveDateTime: '2026-11-20',
  component: [
    {
      code: loinc('8480-6', 'Systolic'),
      valueQuantity: { value: 142, unit: 'mmHg', code: 'mm[Hg]' },
      referenceRange: [{ high: { value: 140 } }],
    },
    { code: loinc('8462-4', 'Diastolic'), valueQuantity: { value: 81, unit: 'mmHg', code: 'mm[Hg]' } },
  ],
};

describe('trends', () => {
  it('are by what was measured, in the order of time', () => {
    const trends = trendsOf([measured('b', '2026-11-02', 71), pressure, measured('a', '2026-10-01', 70)]);
    expect(
      trends.map(({ label, unit, series }) => [label, unit, series.map((one) => [one.label, one.points.map(({ value }) => value)])]),
    ).toEqual([
      [
        'Blood pressure',
        'mmHg',
        [
          ['Systolic', [142]],
          ['Diastolic', [81]],
        ],
      ],
      ['Body weight', 'kg', [['Body weight', [70, 71]]]],
    ]);
  });

  it('leave out what does not hold or is no number', () => {
    expect(
      trendsOf([
        measured('wrong', '2026-11-02', 7100, { status: 'entered-in-error' }),
        measured('bound', '2026-11-02', 0, { valueQuantity: { value: 5, comparator: '<', unit: 'kg' } }),
        measured('words', '2026-11-02', 0, { valueQuantity: undefined, valueString: 'heavy' }),
        measured('undated', '', 70, { effectiveDateTime: undefined }),
      ]),
    ).toEqual([]);
  });

  it('do not mix units', () => {
    const pounds = measured('lb', '2026-11-02', 156, { valueQuantity: { value: 156, unit: 'lb', code: '[lb_av]' } });
    expect(trendsOf([measured('kg', '2026-11-01', 71), pounds]).map(({ unit }) => unit)).toEqual(['lb', 'kg']);
  });

  it('flag what is said to be unusual, else what is outside of its range', () => {
    const range = [{ low: { value: 60 }, high: { value: 80 } }];
    const flags = trendsOf([
      measured('1', '2026-11-01', 59, { referenceRange: range }),
      measured('2', '2026-11-02', 81, { referenceRange: range, interpretation: [{ coding: [{ code: 'N' }] }] }),
      measured('3', '2026-11-03', 70, { interpretation: [{ coding: [{ code: 'HH' }] }] }),
      measured('4', '2026-11-04', 80, { referenceRange: range }),
    ])[0]!.series[0]!;
    expect(flags.points.map(({ flag }) => flag)).toEqual(['low', undefined, 'high', undefined]);
    expect(flags.usual).toEqual({ low: 60, high: 80 });
    expect(latestOf(flags)).toMatchObject({ point: { value: 80 }, change: 10 });
    expect(trendsOf([pressure])[0]!.series.map(({ points }) => points[0]!.flag)).toEqual(['high', undefined]);
  });
});

describe('a plot', () => {
  const plot = { width: 300, height: 120, left: 40, right: 10, top: 10, bottom: 20 };

  it('has round numbers at its side', () => {
    expect(niceTicks(70, 71)).toEqual([70, 70.25, 70.5, 70.75, 71]);
    expect(niceTicks(81, 142)).toEqual([80, 100, 120, 140, 160]);
    expect(niceTicks(0.11, 0.14)).toEqual([0.11, 0.12, 0.13, 0.14]);
    expect(niceTicks(5, 5)).toEqual([2, 4, 6, 8]);
    expect(niceTicks(0, 0)).toEqual([-0.5, -0.25, 0, 0.25, 0.5]);
  });

  it('reaches from the first to the last', () => {
    const trend = trendsOf([measured('a', '2026-10-01', 70), measured('b', '2026-10-02', 72), measured('c', '2026-10-03', 71)])[0]!;
    const { lines, ticks, first, last } = draw(trend, plot);
    expect(lines[0]!.path).toBe('M40 100L165 10L290 55');
    expect([ticks[0], ticks.at(-1)]).toEqual([
      { value: 70, y: 100 },
      { value: 72, y: 10 },
    ]);
    expect(last - first).toBe(2 * 24 * 3_600_000);
  });

  it('has one point in its middle, and a band of what is usual', () => {
    const trend = trendsOf([measured('a', '2026-10-01', 70, { referenceRange: [{ low: { value: 60 }, high: { value: 80 } }] })])[0]!;
    const { lines, band } = draw(trend, plot);
    expect(lines[0]!.dots.map(({ x, y }) => [x, y])).toEqual([[165, 55]]);
    expect(band).toEqual({ y: 10, height: 90 });
  });
});
