/** Where a visit stands: by colour, sign and word, never by colour alone. */
import { Ban, Check, CheckCheck, Clock, CreditCard, DoorOpen, Hourglass, List, MoveRight, TimerOff, UserX, X, type LucideIcon } from 'lucide-react';
import type { Appointment } from 'fhir/r4';
import type { ReactNode } from 'react';
import { systemUrl, tagOf } from '../fhir/values';
import { useT } from '../texts/context';
import classes from './frame.module.css';

export type Tone = 'good' | 'wait' | 'bad' | 'neutral' | 'accent';

const LABELS = {
  'held': [Hourglass, 'accent'],
  'requested': [Clock, 'wait'],
  'pending-payment': [CreditCard, 'wait'],
  'approved': [Check, 'good'],
  'waiting-room': [DoorOpen, 'accent'],
  'completed': [CheckCheck, 'neutral'],
  'rejected': [Ban, 'bad'],
  'cancelled': [X, 'neutral'],
  'payment-expired': [TimerOff, 'bad'],
  'hold-expired': [TimerOff, 'neutral'],
  'rescheduled': [MoveRight, 'neutral'],
  'no-show': [UserX, 'bad'],
  'waiting-list': [List, 'accent'],
} as const satisfies Record<string, readonly [LucideIcon, Tone]>;

export type VisitLabel = keyof typeof LABELS;

/** The server's label, or what the standard elements come to on a server that writes none. */
export function labelOf(visit: Appointment): VisitLabel {
  const tag = tagOf(visit.meta, systemUrl('appointment-label'));
  if (tag && tag in LABELS) return tag as VisitLabel;
  const stands = (type: string) => visit.participant.find((each) => each.actor?.reference?.includes(`${type}/`))?.status;
  switch (visit.status) {
    case 'booked':
      return 'approved';
    case 'arrived':
    case 'checked-in':
      return 'waiting-room';
    case 'fulfilled':
      return 'completed';
    case 'noshow':
      return 'no-show';
    case 'waitlist':
      return 'waiting-list';
    case 'cancelled':
      return stands('Practitioner') === 'declined' ? 'rejected' : 'cancelled';
    default:
      return stands('Patient') === 'tentative' ? 'pending-payment' : stands('Patient') === 'needs-action' ? 'held' : 'requested';
  }
}

export function StatusLabel({ label, text }: { label: VisitLabel; text?: string }) {
  const t = useT();
  const [icon, tone] = LABELS[label];
  return <Label icon={icon} tone={tone}>{text ?? t(`status.${label}`)}</Label>;
}

/** A label of any kind. */
export function Label({ icon: Icon, tone, children }: { icon?: LucideIcon; tone: Tone; children: ReactNode }) {
  return (
    <span className={classes.status} data-tone={tone}>
      {Icon && <Icon size={14} strokeWidth={2.5} aria-hidden="true" />}
      {children}
    </span>
  );
}

/** A word beside what it is about, louder than text and quieter than a dialog. */
export function Note({ tone, icon: Icon, title, children }: { tone: Tone; icon?: LucideIcon; title?: string; children: ReactNode }) {
  return (
    <div className={classes.note} data-tone={tone}>
      {Icon && <Icon size={22} aria-hidden="true" />}
      <div>
        {title && <strong>{title}</strong>}
        <div>{children}</div>
      </div>
    </div>
  );
}
