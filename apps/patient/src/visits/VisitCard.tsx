/** A visit in a list: when, with whom, where it stands, and the one thing to do. */
import type { Appointment } from 'fhir/r4';
import { Link } from 'wouter';
import type { Stored } from '@medconsult/shared/fhir/client';
import { useFormats } from '@medconsult/shared/format/context';
import { useT } from '@medconsult/shared/texts/context';
import { labelOf, StatusLabel } from '@medconsult/shared/ui/status';
import { actionsFor, whatIn, whoIn } from './visits';
import classes from './visits.module.css';

export function VisitCard({ visit }: { visit: Stored<Appointment> }) {
  const t = useT();
  const { time, range, timeZone, locale } = useFormats();
  const label = labelOf(visit);
  const start = visit.start ?? '';
  const first = actionsFor(visit, Date.now())[0];
  const hint = first === 'pay' || first === 'finish' || first === 'join' ? t(`visit.hint.${first}`) : undefined;
  return (
    <Link to={first === 'finish' ? `/visits/${visit.id}/details` : `/visits/${visit.id}`} className={classes.card}>
      <span className={classes.date} aria-hidden="true">
        {start && (
          <>
            <span>{time(start, 'dayShort').split(/[,\s]/)[0]}</span>
            <strong>{new Intl.DateTimeFormat('en', { day: 'numeric', timeZone }).format(new Date(start))}</strong>
            <span>{new Intl.DateTimeFormat(locale, { month: 'short', timeZone }).format(new Date(start))}</span>
          </>
        )}
      </span>
      <span className={classes.cardText}>
        <strong>{whoIn(visit) || t('visit.somebody')}</strong>
        <span className={classes.quiet}>{whatIn(visit)}</span>
        {start && (
          <time dateTime={start}>
            <span className={classes.unseen}>{time(start, 'day')}, </span>
            {visit.end ? range(start, visit.end) : time(start, 'time')}
          </time>
        )}
      </span>
      <span className={classes.cardState}>
        <StatusLabel label={label} />
        {hint && <span className={classes.hint}>{hint}</span>}
      </span>
    </Link>
  );
}
