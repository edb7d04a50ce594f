/** A curve of what was measured, and the same as a table for those who do not see it. */
import { useFormats } from '@medconsult/shared/format/context';
import { useT } from '@medconsult/shared/texts/context';
import { When } from '@medconsult/shared/ui/when';
import { instant } from '../data/visits';
import { draw, latestOf, type Plot, type Point, type Trend } from '../logic/trends';
import classes from './trend.module.css';

const PLOT: Plot = { width: 360, height: 150, left: 38, right: 10, top: 10, bottom: 22 };

/** `level`: of its heading. */
export function TrendCard({ trend, level }: { trend: Trend; level: 2 | 3 }) {
  const Name = `h${level}` as const;
  const t = useT();
  const { locale, time } = useFormats();
  const { lines, ticks, band, first, last } = draw(trend, PLOT);
  const write = (value: number) => new Intl.NumberFormat(locale, { maximumFractionDigits: 4 }).format(value);
  const latest = trend.series.map((series) => latestOf(series));
  const isFlagged = latest.some(({ point }) => point.flag);
  const change = latest.length === 1 ? latest[0]!.change : undefined;
  const date = (at: number) => time(instant(at), 'date');
  return (
    <article className={classes.trend}>
      <div className={classes.head}>
        <Name className={classes.name}>{trend.label}</Name>
        <span className={classes.value}>
          <span className={isFlagged ? classes.flag : undefined}>{latest.map(({ point }) => write(point.value)).join(' / ')}</span>{' '}
          <span className={classes.unit}>{trend.unit}</span>
        </span>
      </div>
      <div className={classes.facts}>
        <When at={instant(trend.latest)} style="date" />
        {change !== undefined && (
          <span>{t('trend.change', { value: `${change > 0 ? '+' : change < 0 ? '−' : '±'}${write(Math.abs(change))}` })}</span>
        )}
      </div>
      {trend.series.some(({ points }) => points.length > 1) && (
        <svg
          className={classes.plot}
          viewBox={`0 0 ${PLOT.width} ${PLOT.height}`}
          role="img"
          aria-label={t('trend.label', { name: trend.label, from: date(first), until: date(last) })}
        >
          {band && <rect className={classes.band} x={PLOT.left} width={PLOT.width - PLOT.left - PLOT.right} {...band} />}
          {ticks.map(({ y, value }) => (
            <g key={value}>
              <line className={classes.grid} x1={PLOT.left} x2={PLOT.width - PLOT.right} y1={y} y2={y} />
              <text className={classes.tick} x={PLOT.left - 6} y={y + 4} textAnchor="end">
                {write(value)}
              </text>
            </g>
          ))}
          <text className={classes.tick} x={PLOT.left} y={PLOT.height - 5}>
            {date(first)}
          </text>
          <text className={classes.tick} x={PLOT.width - PLOT.right} y={PLOT.height - 5} textAnchor="end">
            {date(last)}
          </text>
          {lines.map(({ series, path, dots }, index) => (
            <g key={series.key}>
              <path className={classes.line} data-series={index} d={path} />
              {dots.map(({ x, y, point }) => (
                <circle
                  key={`${point.id} ${point.at}`}
                  className={classes.dot}
                  data-series={index}
                  data-flag={point.flag}
                  cx={x}
                  cy={y}
                  r={3.5}
                >
                  <title>{`${date(point.at)}: ${write(point.value)} ${trend.unit}`}</title>
                </circle>
              ))}
            </g>
          ))}
        </svg>
      )}
      {trend.series.length > 1 && (
        <div className={classes.legend}>
          {trend.series.map(({ key, label }) => (
            <span key={key}>{label}</span>
          ))}
        </div>
      )}
      <Values trend={trend} write={write} />
    </article>
  );
}

function Values({ trend, write }: { trend: Trend; write: (value: number) => string }) {
  const t = useT();
  const times = [...new Set(trend.series.flatMap(({ points }) => points.map(({ at }) => at)))].sort((one, other) => other - one);
  const at = (points: Point[], time: number) => points.find((point) => point.at === time);
  return (
    <details className={classes.values}>
      <summary>{t('trend.values', { count: times.length })}</summary>
      <table>
        <thead>
          <tr>
            <th scope="col">{t('trend.date')}</th>
            {trend.series.map(({ key, label }) => (
              <th key={key} scope="col">
                {label} ({trend.unit})
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {times.map((time) => (
            <tr key={time}>
              <td>
                <When at={instant(time)} style="date" />
              </td>
              {trend.series.map(({ key, points }) => {
                const point = at(points, time);
                return (
                  <td key={key} className={point?.flag && classes.flag}>
                    {point ? write(point.value) : '–'}
                    {point?.flag && ` (${t(`trend.${point.flag}`)})`}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}
