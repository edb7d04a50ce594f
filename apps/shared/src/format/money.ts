/** Amounts. They are decimals and are written with the digits of their currency; nothing is ever calculated here. */
import type { Money } from 'fhir/r4';

export function writeMoney(money: Money | undefined, locale: string): string {
  if (money?.value === undefined) return '';
  if (!money.currency) return new Intl.NumberFormat(locale).format(money.value);
  return new Intl.NumberFormat(locale, { style: 'currency', currency: money.currency }).format(money.value);
}

/** `1.4 MB` */
export function writeBytes(bytes: number, locale: string): string {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte'] as const;
  const step = Math.min(units.length - 1, bytes < 1 ? 0 : Math.floor(Math.log10(bytes) / 3));
  const format = new Intl.NumberFormat(locale, { style: 'unit', unit: units[step] ?? 'byte', unitDisplay: 'short', maximumFractionDigits: step === 0 ? 0 : 1 });
  return format.format(bytes / 1000 ** step);
}
