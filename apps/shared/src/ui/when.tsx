/** Times and amounts in the person's own way. */
import type { Money } from 'fhir/r4';
import { useFormats } from '../format/context';
import type { TimeStyle } from '../format/time';
import { useT } from '../texts/context';

/** An instant or FHIR date in the person's zone; with `end`, the time between. */
export function When({ at, end, style = 'dateTime' }: { at: string; end?: string | undefined; style?: TimeStyle }) {
  const formats = useFormats();
  return <time dateTime={at}>{end ? formats.range(at, end, style) : formats.time(at, style)}</time>;
}

/** Which zone times are in. Stands once on every page that shows times of visits. */
export function ZoneNote() {
  const t = useT();
  const { zoneName } = useFormats();
  return <span>{t('time.zone', { zone: zoneName })}</span>;
}

export function MoneyText({ of }: { of: Money | undefined }) {
  return <>{useFormats().money(of)}</>;
}
