// Observations as curves: which belong together, what their scale is, and where each point lies. Pure geometry; the drawing
// is in components/Trend.

import type { Observation, Quantity } from 'fhir/r4';

export interface Point {
  /** Milliseconds since 1970. */
  at: number;
  value: number;
  /** Outside of what is usual, as the Observation says, or its reference range. */
  flag?: 'low' | 'high' | 'abnormal';
  /** Id of the Observation. */
  id: string;
}

/** One line of a plot: what was measured by one code, in one unit. */
export interface Series {
  key: string;
  label: string;
  points: Point[];
  /** What is usual, by the latest Observation that says so. */
  usual?: { low?: number; high?: number };
}

/** What is measured together is drawn together, as both pressures of the blood are. */
export interface Trend {
  key: string;
  label: string;
  unit: string;
  series: Series[];
  /** When it was measured last. */
  latest: number;
}

interface Measured {
  code: string;
  label: string;
  quantity: Quantity;
  source: Pick<Observation, 'interpretation' | 'referenceRange'>;
}

function coded(of: { code: Observation['code'] }): { code: string; label: string } {
  const coding = of.code.coding?.find(({ system }) => system === 'http://loinc.org') ?? of.code.coding?.[0];
  const label = of.code.text ?? coding?.display ?? coding?.code ?? '';
  return { code: coding ? `${coding.system ?? ''}|${coding.code ?? ''}` : label, label };
}

function measuredIn(observation: Observation): Measured[] {
  const own: Measured[] = observation.valueQuantity
    ? [{ ...coded(observation), quantity: observation.valueQuantity, source: observation }]
    : [];
  const parts = (observation.component ?? []).flatMap((component) =>
    component.valueQuantity ? [{ ...coded(component), quantity: component.valueQuantity, source: component }] : [],
  );
  return [...own, ...parts].filter(({ quantity }) => quantity.value !== undefined && !quantity.comparator);
}

export function timeOf(observation: Observation): number | undefined {
  const text =
    observation.effectiveDateTime ??
    observation.effectiveInstant ??
    observation.effectivePeriod?.end ??
    observation.effectivePeriod?.start ??
    observation.issued;
  const at = Date.parse(text ?? '');
  return Number.isNaN(at) ? undefined : at;
}

function usualOf(source: Measured['source']): Series['usual'] {
  const isUsual = (range: NonNullable<Observation['referenceRange']>[number]) =>
    !range.type || range.type.coding?.some(({ code }) => code === 'normal');
  const range = source.referenceRange?.find(isUsual);
  const [low, high] = [range?.low?.value, range?.high?.value];
  return low === undefined && high === undefined ? undefined : { low, high };
}

function flagOf(value: number, source: Measured['source']): Point['flag'] {
  const codes = (source.interpretation ?? []).flatMap(({ coding }) => (coding ?? []).map(({ code }) => code ?? ''));
  if (codes.some((code) => /^(L|LL|LU|<)$/.test(code))) return 'low';
  if (codes.some((code) => /^(H|HH|HU|>)$/.test(code))) return 'high';
  if (codes.some((code) => /^(A|AA)$/.test(code))) return 'abnormal';
  if (codes.includes('N')) return undefined;
  const usual = usualOf(source);
  if (usual?.low !== undefined && value < usual.low) return 'low';
  return usual?.high !== undefined && value > usual.high ? 'high' : undefined;
}

/** Statuses whose values hold. */
const VALID = new Set<Observation['status']>(['final', 'amended', 'corrected', 'preliminary', 'registered']);

/** The trends in these Observations, the ones that were measured last first. */
export function trendsOf(observations: Observation[]): Trend[] {
  const trends = new Map<string, Trend & { byKey: Map<string, Series> }>();
  const dated = observations
    .flatMap((observation) => {
      const at = timeOf(observation);
      return at === undefined || !VALID.has(observation.status) ? [] : [{ observation, at }];
    })
    .sort((one, other) => one.at - other.at);
  for (const { observation, at } of dated) {
    for (const { code, label, quantity, source } of measuredIn(observation)) {
      const group = coded(observation);
      const unit = quantity.unit ?? quantity.code ?? '';
      // Values of another unit are another curve: nothing is converted here.
      const trendKey = `${group.code} ${quantity.code ?? unit}`;
      const trend = trends.get(trendKey) ?? {
        key: trendKey,
        label: group.label,
        unit,
        series: [],
        latest: at,
        byKey: new Map<string, Series>(),
      };
      trends.set(trendKey, trend);
      const series = trend.byKey.get(code) ?? { key: code, label, points: [] };
      if (!trend.byKey.has(code)) {
        trend.byKey.set(code, series);
        trend.series.push(series);
      }
      const value = quantity.value!;
      series.points.push({ at, value, flag: flagOf(value, source), id: observation.id ?? '' });
      series.usual = usualOf(source) ?? series.usual;
      trend.latest = at;
    }
  }
  return [...trends.values()]
    .map(({ byKey, ...trend }) => trend)
    .sort((one, other) => other.latest - one.latest || one.label.localeCompare(other.label));
}

/** Round numbers from below the least to above the greatest, some `count` of them. */
export function niceTicks(least: number, greatest: number, count = 4): number[] {
  if (!(greatest > least)) {
    const around = Math.abs(least) || 1;
    return niceTicks(least - around / 2, least + around / 2, count);
  }
  const raw = (greatest - least) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw)! * power;
  const digits = Math.max(0, -Math.floor(Math.log10(step)) + 1);
  const first = Math.floor(least / step + 1e-9);
  const last = Math.ceil(greatest / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) => Number(((first + index) * step).toFixed(digits)));
}

/** Where a plot is, in its own units. */
export interface Plot {
  width: number;
  height: number;
  left: number;
  right: number;
  top: number;
  bottom: number;
}

export interface Drawing {
  lines: { series: Series; path: string; dots: { x: number; y: number; point: Point }[] }[];
  /** Grid lines with their values. */
  ticks: { y: number; value: number }[];
  /** The band of what is usual, where one line alone has one. */
  band?: { y: number; height: number };
  first: number;
  last: number;
}

/** Lays a trend out. One point alone stands in the middle. */
export function draw(trend: Trend, plot: Plot): Drawing {
  const points = trend.series.flatMap((series) => series.points);
  const [first, last] = [Math.min(...points.map(({ at }) => at)), Math.max(...points.map(({ at }) => at))];
  const usual = trend.series.length === 1 ? trend.series[0]!.usual : undefined;
  const values = [...points.map(({ value }) => value), ...[usual?.low, usual?.high].filter((limit) => limit !== undefined)];
  const ticks = niceTicks(Math.min(...values), Math.max(...values));
  const [low, high] = [ticks[0]!, ticks.at(-1)!];
  const inner = { width: plot.width - plot.left - plot.right, height: plot.height - plot.top - plot.bottom };
  const x = (at: number) => plot.left + (last === first ? inner.width / 2 : ((at - first) / (last - first)) * inner.width);
  const y = (value: number) => plot.top + (1 - (value - low) / (high - low)) * inner.height;
  const short = (length: number) => Number(length.toFixed(1));
  const lines = trend.series.map((series) => {
    const dots = series.points.map((point) => ({ x: short(x(point.at)), y: short(y(point.value)), point }));
    return { series, dots, path: dots.map((dot, index) => `${index === 0 ? 'M' : 'L'}${dot.x} ${dot.y}`).join('') };
  });
  const band = usual && {
    y: short(y(usual.high ?? high)),
    height: short(y(usual.low ?? low) - y(usual.high ?? high)),
  };
  return { lines, ticks: ticks.map((value) => ({ value, y: short(y(value)) })), band, first, last };
}

/** The last value of a series and how far it is from the one before. */
export function latestOf(series: Series): { point: Point; change?: number } {
  const [before, point] = [series.points.at(-2), series.points.at(-1)!];
  return { point, change: before && Number((point.value - before.value).toPrecision(12)) };
}
