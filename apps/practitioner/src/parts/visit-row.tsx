/** A visit in a list: when, who, why, where it stands, and the one thing to do about it. */
import { useFormats } from '@medconsult/shared/format/context';
import { useT } from '@medconsult/shared/texts/context';
import { PersonFace } from '@medconsult/shared/ui/person';
import { Label } from '@medconsult/shared/ui/status';
import { When } from '@medconsult/shared/ui/when';
import { CreditCard } from 'lucide-react';
import type { Patient } from 'fhir/r4';
import type { ReactNode } from 'react';
import { Link } from 'wouter';
import { patientName, reasonOf, serviceOf } from '../data/visits';
import type { Visit } from '../logic/visits';
import { usePatientFacts } from './patient';
import { StandingLabel } from './standing';
import classes from './visits.module.css';

export function VisitRow({
  visit,
  patient,
  withDay = false,
  isNow = false,
  note,
  children,
}: {
  visit: Visit;
  patient: Patient | undefined;
  /** The list is not of one day. */
  withDay?: boolean;
  isNow?: boolean;
  /** What else there is to say about it. */
  note?: ReactNode;
  /** What can be done: the main thing first. */
  children?: ReactNode;
}) {
  const facts = usePatientFacts();
  const { appointment } = visit;
  const name = patientName(appointment, patient);
  return (
    <li className={classes.row} data-tone={isNow ? 'now' : undefined}>
      <div className={classes.time}>
        <When at={appointment.start ?? ''} end={appointment.end} style="time" />
        {withDay && (
          <span className={classes.day}>
            <When at={appointment.start ?? ''} style="dayShort" />
          </span>
        )}
      </div>
      <div className={classes.who}>
        <PersonFace name={name} photo={patient?.photo} size={40} />
        <div className={classes.words}>
          {patient ? (
            <Link to={`/patients/${patient.id}`} className={classes.name}>
              {name}
            </Link>
          ) : (
            <span className={classes.name}>{name}</span>
          )}
          <div className={classes.facts}>{[facts(patient), serviceOf(appointment)].filter(Boolean).join(' · ')}</div>
          {reasonOf(appointment) && <p className={classes.reason}>{reasonOf(appointment)}</p>}
          {note}
        </div>
      </div>
      <div className={classes.state}>
        <StandingLabel standing={visit.standing} />
        {visit.unpaid && visit.tab === 'requests' && <UnpaidLabel />}
        <Minutes visit={visit} />
      </div>
      <div className={classes.actions}>{children}</div>
    </li>
  );
}

function UnpaidLabel() {
  return (
    <Label icon={CreditCard} tone="wait">
      {useT()('visit.unpaid')}
    </Label>
  );
}

/** How long somebody waits, or how late it is. */
export function Minutes({ visit }: { visit: Visit }) {
  const t = useT();
  const { locale } = useFormats();
  if (visit.waitingMinutes !== undefined) {
    const isLong = visit.waitingMinutes >= 15;
    return (
      <span className={classes.minutes} data-tone={isLong ? 'late' : undefined}>
        {t('visit.waiting', { time: lasting(visit.waitingMinutes, locale) })}
      </span>
    );
  }
  if (visit.lateMinutes > 0)
    return (
      <span className={classes.minutes} data-tone="late">
        {t('visit.late', { time: lasting(visit.lateMinutes, locale) })}
      </span>
    );
  return null;
}

/** `12 min`, `1 hr, 5 min` */
export function lasting(minutes: number, locale: string): string {
  const unit = (value: number, of: 'hour' | 'minute') =>
    new Intl.NumberFormat(locale, { style: 'unit', unit: of, unitDisplay: 'short' }).format(value);
  const hours = Math.floor(minutes / 60);
  return [...(hours > 0 ? [unit(hours, 'hour')] : []), ...(hours === 0 || minutes % 60 > 0 ? [unit(minutes % 60, 'minute')] : [])].join(
    ' ',
  );
}
