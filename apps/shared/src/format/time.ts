/** Instants as people read them, in the zone that they chose. */

export type TimeStyle = 'time' | 'date' | 'dateTime' | 'day' | 'dayShort' | 'month' | 'long';

const STYLES: Record<TimeStyle, Intl.DateTimeFormatOptions> = {
  time: { hour: 'numeric', minute: '2-digit' },
  date: { day: 'numeric', month: 'short', year: 'numeric' },
  dateTime: { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric', hour: 'numeric', minute: '2-digit' },
  day: { weekday: 'long', day: 'numeric', month: 'long' },
  dayShort: { weekday: 'short', day: 'numeric', month: 'short' },
  month: { month: 'long', year: 'numeric' },
  long: { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric', hour: 'numeric', minute: '2-digit' },
};

const formats = new Map<string, Intl.DateTimeFormat>();

/** Making one takes a hundred times as long as using it. */
function formatOf(locale: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = locale + JSON.stringify(options);
  let format = formats.get(key);
  if (!format) formats.set(key, (format = new Intl.DateTimeFormat(locale, options)));
  return format;
}

export function writeTime(instant: Date | string, style: TimeStyle, locale: string, timeZone: string): string {
  return formatOf(locale, { ...STYLES[style], timeZone }).format(new Date(instant));
}

/** `9:00 – 9:30 AM`; with the day where `style` has one. */
export function writeRange(start: Date | string, end: Date | string, style: TimeStyle, locale: string, timeZone: string): string {
  // Over midnight, a range of times alone would name both days.
  if (style === 'time' && dayOf(start, timeZone) !== dayOf(end, timeZone)) return `${writeTime(start, style, locale, timeZone)} – ${writeTime(end, style, locale, timeZone)}`;
  return formatOf(locale, { ...STYLES[style], timeZone }).formatRange(new Date(start), new Date(end));
}

/** A FHIR date, which has no zone: it is the same day everywhere. `2026`, `2026-03` and `2026-03-29` are all dates. */
export function writeDate(date: string, locale: string): string {
  const [year, month, day] = date.slice(0, 10).split('-');
  const at = new Date(Date.UTC(Number(year), Number(month ?? 1) - 1, Number(day ?? 1)));
  const options: Intl.DateTimeFormatOptions = { year: 'numeric', ...(month && { month: 'short' }), ...(day && { day: 'numeric' }) };
  return formatOf(locale, { ...options, timeZone: 'UTC' }).format(at);
}

/** A date or an instant, whichever a FHIR dateTime is. */
export function writeDateTime(value: string, style: TimeStyle, locale: string, timeZone: string): string {
  return value.includes('T') ? writeTime(value, style, locale, timeZone) : writeDate(value, locale);
}

/** The day on which an instant lies there, as `2026-03-29`. */
export function dayOf(instant: Date | string, timeZone: string): string {
  return formatOf('en-CA', { year: 'numeric', month: '2-digit', day: '2-digit', timeZone }).format(new Date(instant));
}

/** That many days later, by the calendar: `2026-03-29` and the next day, however long either is. */
export function addDays(day: string, days: number): string {
  const at = new Date(`${day}T00:00:00Z`);
  at.setUTCDate(at.getUTCDate() + days);
  return at.toISOString().slice(0, 10);
}

/** Whole days from one day to another. */
export function daysBetween(from: string, to: string): number {
  return Math.round((Date.parse(`${to}T00:00:00Z`) - Date.parse(`${from}T00:00:00Z`)) / 86_400_000);
}

/** What a zone is called: `Central European Time, Berlin`. */
export function writeZone(timeZone: string, locale: string, at: Date = new Date()): string {
  const city = timeZone.split('/').at(-1)?.replaceAll('_', ' ') ?? timeZone;
  const parts = formatOf(locale, { timeZone, timeZoneName: 'long', year: 'numeric' }).formatToParts(at);
  const name = parts.find((part) => part.type === 'timeZoneName')?.value;
  return name && name !== city ? `${name}, ${city}` : city;
}

/** How far a zone is from UTC then, as `UTC+2` or `UTC−3:30`. */
export function writeOffset(timeZone: string, at: Date = new Date()): string {
  const parts = formatOf('en', { timeZone, timeZoneName: 'shortOffset', year: 'numeric' }).formatToParts(at);
  const name = parts.find((part) => part.type === 'timeZoneName')?.value ?? 'GMT';
  return name.replace(/^GMT(\+0$)?/, 'UTC').replace('-', '−');
}

/** The zone of this browser. */
export const browserZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Every zone that the browser knows. */
export function allZones(): string[] {
  const zones = Intl.supportedValuesOf('timeZone');
  return zones.includes('UTC') ? zones : [...zones, 'UTC'];
}

/** `in 3 days`, `2 hours ago`. */
export function writeRelative(instant: Date | string, locale: string, now: number = Date.now()): string {
  const seconds = (new Date(instant).getTime() - now) / 1000;
  const format = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' });
  const units: [Intl.RelativeTimeFormatUnit, number][] = [['day', 86_400], ['hour', 3600], ['minute', 60]];
  for (const [unit, size] of units) if (Math.abs(seconds) >= size) return format.format(Math.round(seconds / size), unit);
  return format.format(0, 'minute');
}

/** Minutes and seconds that are left, as `4:05`. */
export function writeCountdown(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
