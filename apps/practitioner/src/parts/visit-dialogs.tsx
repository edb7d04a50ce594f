/** What is asked before a visit is declined, cancelled, moved, or other times are proposed. */
import { useChange } from '@medconsult/shared/fhir/hooks';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { ConfirmDialog } from '@medconsult/shared/ui/dialog';
import { toast } from '@medconsult/shared/ui/toast';
import { When } from '@medconsult/shared/ui/when';
import { Textarea } from '@mantine/core';
import type { Appointment, Bundle, Patient } from 'fhir/r4';
import { useState } from 'react';
import { afterwards } from '../data/afterwards';
import { useAnswers } from '../data/requests';
import { instant, patientName, useVisitMoves } from '../data/visits';
import type { Visit } from '../logic/visits';
import type { Opening } from '../logic/week';
import { useNow } from '../data/clock';
import { OpeningChoice } from './openings';

export type VisitDialog = 'reject' | 'propose' | 'cancel' | 'move' | 'miss';

interface Props {
  appointment: Appointment;
  patient: Patient | undefined;
  onClose: () => void;
}

const TOUCHES = ['Appointment', 'Slot', 'Task', 'Invoice', 'Provenance'] as const;

/** `to`: where a visit that is moved was dropped. */
export default function Dialog({
  ask,
  visit,
  patient,
  to,
  onClose,
}: {
  ask: VisitDialog;
  visit: Visit;
  patient: Patient | undefined;
  to?: Opening;
  onClose: () => void;
}) {
  const props = { appointment: visit.appointment, patient, onClose };
  switch (ask) {
    case 'reject':
      return <RejectDialog {...props} />;
    case 'propose':
      return <ProposeDialog {...props} />;
    case 'cancel':
      return <CancelDialog {...props} />;
    case 'move':
      return <MoveDialog {...props} {...(to && { to })} />;
    case 'miss':
      return <MissDialog visit={visit} patient={patient} onClose={onClose} />;
  }
}

/** Closes a visit to which nobody came. */
function MissDialog({ visit, patient, onClose }: { visit: Visit; patient: Patient | undefined; onClose: () => void }) {
  const t = useT();
  const { miss } = useVisitMoves();
  const name = patientName(visit.appointment, patient);
  const confirm = () =>
    afterwards(miss.mutateAsync(visit), () => {
      toast(t('miss.done', { name }));
      onClose();
    });
  return (
    <ConfirmDialog
      opened
      title={t('miss.title')}
      text={t('miss.text', { name })}
      action={t('miss.action')}
      busy={miss.isPending}
      error={miss.error}
      onConfirm={confirm}
      onClose={onClose}
    />
  );
}

/** Declines a request. What was paid is given back: the server sees to that. */
function RejectDialog({ appointment, patient, onClose }: Props) {
  const t = useT();
  const { reject } = useAnswers();
  const [comment, setComment] = useState('');
  const name = patientName(appointment, patient);
  const confirm = () =>
    afterwards(reject.mutateAsync({ appointment, comment }), () => {
      toast(t('reject.done', { name }));
      onClose();
    });
  return (
    <ConfirmDialog
      opened
      danger
      title={t('reject.title')}
      text={t('reject.text', { name })}
      action={t('reject.action')}
      busy={reject.isPending}
      error={reject.error}
      onConfirm={confirm}
      onClose={onClose}
    >
      <Textarea
        label={t('dialog.told', { name })}
        description={t('dialog.toldHint')}
        autosize
        minRows={2}
        maxLength={1000}
        value={comment}
        onChange={(event) => setComment(event.currentTarget.value)}
      />
    </ConfirmDialog>
  );
}

/** Offers other times for a request; it keeps its time until the patient has chosen. */
function ProposeDialog({ appointment, patient, onClose }: Props) {
  const t = useT();
  const now = useNow();
  const { propose } = useAnswers();
  const [from] = useState(now);
  const [chosen, setChosen] = useState<Opening[]>([]);
  const [comment, setComment] = useState('');
  const [hint, setHint] = useState(false);
  const name = patientName(appointment, patient);
  const confirm = () => {
    if (chosen.length === 0) return setHint(true);
    afterwards(propose.mutateAsync({ appointment, comment, starts: chosen.map(({ start }) => start) }), () => {
      toast(t('propose.done', { name }));
      onClose();
    });
  };
  return (
    <ConfirmDialog
      opened
      title={t('propose.title')}
      text={t('propose.text', { name })}
      action={chosen.length > 0 ? t('propose.action', { count: chosen.length }) : t('propose.title')}
      busy={propose.isPending}
      error={propose.error}
      onConfirm={confirm}
      onClose={onClose}
    >
      <OpeningChoice
        appointment={appointment}
        from={from}
        chosen={chosen}
        most={3}
        onChange={(next) => {
          setHint(false);
          setChosen(next);
        }}
      />
      <p role="alert" style={{ color: 'var(--mc-bad)', margin: '0.5rem 0 0' }}>
        {hint && t('propose.choose')}
      </p>
      <Textarea
        mt="sm"
        label={t('dialog.told', { name })}
        autosize
        minRows={2}
        maxLength={1000}
        value={comment}
        onChange={(event) => setComment(event.currentTarget.value)}
      />
    </ConfirmDialog>
  );
}

/** Calls a visit off, on the practice's side. */
function CancelDialog({ appointment, patient, onClose }: Props) {
  const t = useT();
  const { fhir } = useSession();
  const [comment, setComment] = useState('');
  const name = patientName(appointment, patient);
  const cancel = useChange<void, Appointment>({
    run: () =>
      fhir.operation(`Appointment/${appointment.id}/$cancel`, [
        { name: 'reason', valueCoding: { system: 'http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason', code: 'prov' } },
        ...(comment.trim() ? [{ name: 'comment', valueString: comment.trim() }] : []),
      ]),
    touches: TOUCHES,
  });
  const confirm = () =>
    afterwards(cancel.mutateAsync(), () => {
      toast(t('cancel.done', { name }));
      onClose();
    });
  return (
    <ConfirmDialog
      opened
      danger
      title={t('cancel.title')}
      text={t('cancel.text', { name })}
      action={t('cancel.action')}
      busy={cancel.isPending}
      error={cancel.error}
      onConfirm={confirm}
      onClose={onClose}
    >
      <Textarea
        label={t('dialog.told', { name })}
        autosize
        minRows={2}
        maxLength={1000}
        value={comment}
        onChange={(event) => setComment(event.currentTarget.value)}
      />
    </ConfirmDialog>
  );
}

/** Moves a visit to a proposal of `$find`. */
function useMove(appointment: Appointment) {
  const { fhir } = useSession();
  return useChange<{ proposal: string; comment: string }, Bundle>({
    run: ({ proposal, comment }) =>
      fhir.operation(`Appointment/${appointment.id}/$reschedule`, [
        { name: 'appointment-reference', valueReference: { reference: `Appointment/${proposal}` } },
        ...(comment.trim() ? [{ name: 'comment', valueString: comment.trim() }] : []),
      ]),
    touches: TOUCHES,
  });
}

/** Moves a visit: to the time where it was dropped, or to one that is chosen here. */
function MoveDialog({ appointment, patient, to, onClose }: Props & { to?: Opening }) {
  const t = useT();
  const now = useNow();
  const [from] = useState(now);
  const [chosen, setChosen] = useState<Opening[]>(to ? [to] : []);
  const [comment, setComment] = useState('');
  const move = useMove(appointment);
  const name = patientName(appointment, patient);
  const [opening] = chosen;
  const confirm = () =>
    opening &&
    afterwards(move.mutateAsync({ proposal: opening.id, comment }), () => {
      toast(t('move.done', { name }));
      onClose();
    });
  return (
    <ConfirmDialog
      opened
      title={t('move.title')}
      text={t('move.text', { name })}
      action={t('move.action')}
      busy={move.isPending}
      error={move.error}
      onConfirm={confirm}
      onClose={onClose}
    >
      <p>
        <s style={{ color: 'var(--mc-quiet)' }}>
          <When at={appointment.start ?? ''} style="dateTime" />
        </s>
        {opening && (
          <>
            <br />
            <strong>
              <When at={instant(opening.start)} style="dateTime" />
            </strong>
          </>
        )}
      </p>
      {!to && <OpeningChoice appointment={appointment} from={from} chosen={chosen} onChange={setChosen} />}
      <Textarea
        mt="sm"
        label={t('dialog.told', { name })}
        autosize
        minRows={2}
        maxLength={1000}
        value={comment}
        onChange={(event) => setComment(event.currentTarget.value)}
      />
    </ConfirmDialog>
  );
}
