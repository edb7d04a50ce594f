/** One visit: where it stands, what comes next, and everything that belongs to it. */
import { Anchor, Button, NativeSelect, Text, Textarea } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { Ban, CalendarCheck, CalendarClock, CalendarArrowDown, CalendarPlus, CircleX, Clock, CreditCard, DoorOpen, Hourglass, PartyPopper, Video, type LucideIcon } from 'lucide-react';
import type { Appointment, Binary, Task } from 'fhir/r4';
import { useState } from 'react';
import { Link, useLocation, useSearchParams } from 'wouter';
import type { Stored } from '@medconsult/shared/fhir/client';
import { useChange, useRead, useSearch } from '@medconsult/shared/fhir/hooks';
import { nameOf, split, systemUrl } from '@medconsult/shared/fhir/values';
import { useFormats } from '@medconsult/shared/format/context';
import { writeCountdown } from '@medconsult/shared/format/time';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { ConfirmDialog } from '@medconsult/shared/ui/dialog';
import { saveFile } from '@medconsult/shared/ui/file';
import { Page, Section } from '@medconsult/shared/ui/page';
import { PersonFace } from '@medconsult/shared/ui/person';
import { DataState, FormProblem } from '@medconsult/shared/ui/state';
import { Label, labelOf, Note, StatusLabel, type Tone, type VisitLabel } from '@medconsult/shared/ui/status';
import { toast } from '@medconsult/shared/ui/toast';
import { ZoneNote } from '@medconsult/shared/ui/when';
import { useTimeLeft } from '../booking/clock';
import { useService } from '../booking/hooks';
import { linesOf } from '../booking/intake';
import { practitionerOf, serviceIdOf } from '../booking/offers';
import { titleOf } from '../documents/title';
import { usePay } from '../payments/pay';
import { InvoiceLine } from '../payments/InvoiceLine';
import { actionsFor, addressOf, holdEnds, invoiceOf, noticeEnds, refundPercent, timesIn, whatIn, whoIn } from './visits';
import classes from './visits.module.css';

export default function Visit({ id }: { id: string }) {
  const t = useT();
  const visit = useRead<'Appointment'>(`Appointment/${id}`);
  return (
    <Page title={t('visit.title')} back={{ to: '/visits', label: t('visits.title') }}>
      <DataState of={visit}>{(found) => <Shown visit={found} />}</DataState>
    </Page>
  );
}

function Shown({ visit }: { visit: Stored<Appointment> }) {
  const { time, range } = useFormats();
  const practitioner = useRead<'Practitioner'>(practitionerOf(visit) && `Practitioner/${practitionerOf(visit) ?? ''}`);
  const name = nameOf(practitioner.data?.name) || whoIn(visit);
  const label = labelOf(visit);
  return (
    <div className={classes.two}>
      <div>
        <NextStep visit={visit} label={label} />
        <Offers visit={visit} />
        <Section>
          <div className={classes.hero}>
            <div><StatusLabel label={label} /></div>
            {visit.start && (
              <span className={classes.when}>
                <time dateTime={visit.start}>{time(visit.start, 'day')}, {visit.end ? range(visit.start, visit.end) : time(visit.start, 'time')}</time>
              </span>
            )}
            <Text c="dimmed" fz="sm"><ZoneNote /></Text>
          </div>
          <div className={classes.whoRow}>
            <PersonFace name={name} photo={practitioner.data?.photo} size={52} />
            <div>
              <strong>{name}</strong>
              <Text c="dimmed">{whatIn(visit)}</Text>
            </div>
          </div>
          <Actions visit={visit} />
        </Section>
        <Told visit={visit} />
      </div>
      <div>
        <Costs visit={visit} />
        <Rules visit={visit} />
      </div>
    </div>
  );
}

const NEXT: Record<VisitLabel, { icon: LucideIcon; tone: Tone }> = {
  'held': { icon: Hourglass, tone: 'accent' },
  'requested': { icon: Clock, tone: 'wait' },
  'pending-payment': { icon: CreditCard, tone: 'wait' },
  'approved': { icon: CalendarCheck, tone: 'good' },
  'waiting-room': { icon: DoorOpen, tone: 'accent' },
  'completed': { icon: CalendarCheck, tone: 'neutral' },
  'rejected': { icon: Ban, tone: 'bad' },
  'cancelled': { icon: CircleX, tone: 'neutral' },
  'payment-expired': { icon: Clock, tone: 'bad' },
  'hold-expired': { icon: Clock, tone: 'neutral' },
  'rescheduled': { icon: CalendarClock, tone: 'neutral' },
  'no-show': { icon: CircleX, tone: 'bad' },
  'waiting-list': { icon: Clock, tone: 'accent' },
};

/** What the status means for the patient, and what happens next. */
function NextStep({ visit, label }: { visit: Stored<Appointment>; label: VisitLabel }) {
  const t = useT();
  const [params] = useSearchParams();
  const isNew = params.has('new') && (label === 'approved' || label === 'requested');
  const until = holdEnds(visit);
  const left = useTimeLeft(label === 'pending-payment' || label === 'held' ? until : undefined);
  const { icon, tone } = NEXT[label];
  return (
    <div role="status">
      <Note tone={tone} icon={isNew ? PartyPopper : icon} title={t(isNew ? `visit.new.${label}` : `visit.is.${label}`)}>
        {t(`visit.next.${label}`)}
        {visit.comment && ['rejected', 'cancelled'].includes(label) && <Text mt={4}>“{visit.comment}”</Text>}
        {until && left > 0 && left < 86_400_000 && (
          <Text mt={4}>
            {t('visit.left')} <b aria-live="off">{writeCountdown(left)}</b>
          </Text>
        )}
      </Note>
    </div>
  );
}

function Actions({ visit }: { visit: Stored<Appointment> }) {
  const t = useT();
  const { fhir } = useSession();
  const [, navigate] = useLocation();
  const [asks, setAsks] = useState(false);
  const pay = usePay();
  const actions = actionsFor(visit, Date.now());
  const calendar = useChange<void, void>({
    run: async () => {
      const file = await fhir.ask<Binary>(`Appointment/${visit.id}/$calendar`);
      const bytes = Uint8Array.from(atob(file.data ?? ''), (letter) => letter.charCodeAt(0));
      saveFile(new Blob([bytes], { type: 'text/calendar' }), t('visit.calendarFile'));
    },
    touches: [],
  });
  const release = useChange<void, unknown>({
    run: () => fhir.operation(`Appointment/${visit.id}/$cancel`),
    touches: ['Appointment', 'Slot'],
  });
  return (
    <>
      <FormProblem error={pay.error ?? calendar.error ?? release.error} />
      <div className={classes.actions} style={{ marginTop: '1.1rem' }}>
        {actions.map((action, at) => {
          const variant = at === 0 && action !== 'calendar' ? 'filled' : 'default';
          switch (action) {
            case 'finish':
              return <Button key={action} component={Link} to={`/visits/${visit.id}/details`} variant={variant}>{t('visit.finish')}</Button>;
            case 'release':
              return <Button key={action} variant={variant} loading={release.isPending} onClick={() => release.mutate(undefined, { onSuccess: () => navigate('/visits') })}>{t('visit.release')}</Button>;
            case 'pay':
              return <Button key={action} variant={variant} leftSection={<CreditCard size={18} aria-hidden="true" />} loading={pay.isPending} onClick={() => pay.mutate(visit.id)}>{t('visit.pay')}</Button>;
            case 'join':
              return <Button key={action} component="a" href={addressOf(visit)} variant={variant} leftSection={<Video size={18} aria-hidden="true" />}>{t('visit.join')}</Button>;
            case 'calendar':
              return <Button key={action} variant={variant} leftSection={<CalendarArrowDown size={18} aria-hidden="true" />} loading={calendar.isPending} onClick={() => calendar.mutate()}>{t('visit.calendar')}</Button>;
            case 'move':
              return <Button key={action} component={Link} to={`/visits/${visit.id}/move`} variant={variant} leftSection={<CalendarClock size={18} aria-hidden="true" />}>{t('visit.move')}</Button>;
            case 'cancel':
              return <Button key={action} variant={variant} onClick={() => setAsks(true)}>{t('visit.cancel')}</Button>;
            case 'again':
              return <Button key={action} component={Link} to={`/book/${practitionerOf(visit) ?? ''}/${serviceIdOf(visit) ?? ''}`} variant={variant} leftSection={<CalendarPlus size={18} aria-hidden="true" />}>{t('visit.again')}</Button>;
          }
        })}
      </div>
      <Cancel visit={visit} opened={asks} onClose={() => setAsks(false)} />
    </>
  );
}

const REASONS = ['pat', 'pat-fb', 'pat-lt', 'pat-mt', 'pat-cpp'] as const;

function Cancel({ visit, opened, onClose }: { visit: Stored<Appointment>; opened: boolean; onClose: () => void }) {
  const t = useT();
  const { fhir } = useSession();
  const { data: service } = useService(serviceIdOf(visit));
  const invoice = useRead<'Invoice'>(invoiceOf(visit));
  const [reason, setReason] = useState<string>('pat');
  const [comment, setComment] = useState('');
  const cancel = useChange<void, Stored<Appointment>>({
    run: () =>
      fhir.operation(`Appointment/${visit.id}/$cancel`, [
        { name: 'reason', valueCoding: { system: 'http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason', code: reason } },
        ...(comment.trim() ? [{ name: 'comment', valueString: comment.trim() }] : []),
      ]),
    touches: ['Appointment', 'Slot', 'Invoice', 'Task'],
  });
  const isPaid = invoice.data?.status === 'balanced';
  const percent = service ? refundPercent(visit, service.policy, Date.now()) : 100;
  return (
    <ConfirmDialog
      opened={opened}
      onClose={onClose}
      title={t('cancel.title')}
      text={isPaid ? t(percent === 100 ? 'cancel.fullRefund' : percent === 0 ? 'cancel.noRefund' : 'cancel.partRefund', { percent }) : t('cancel.text')}
      action={t('cancel.action')}
      dismiss={t('cancel.keep')}
      danger
      busy={cancel.isPending}
      error={cancel.error}
      onConfirm={() =>
        cancel.mutate(undefined, {
          onSuccess: () => {
            onClose();
            toast(t('cancel.done'));
          },
        })
      }
    >
      <NativeSelect label={t('cancel.reason')} value={reason} onChange={(event) => setReason(event.currentTarget.value)} data={REASONS.map((code) => ({ value: code, label: t(`cancel.${code}`) }))} />
      <Textarea mt="sm" label={t('cancel.comment')} value={comment} maxLength={500} autosize minRows={2} onChange={(event) => setComment(event.currentTarget.value)} />
    </ConfirmDialog>
  );
}

/** Other times: those that the practice offers, and one that the patient has asked for. */
function Offers({ visit }: { visit: Stored<Appointment> }) {
  const t = useT();
  const { fhir } = useSession();
  const { time } = useFormats();
  const cache = useQueryClient();
  const tasks = useSearch('Task', { focus: `Appointment/${visit.id}`, _sort: '-authored-on', _count: 20 });
  const answer = useChange<{ task: Stored<Task>; start?: string }, unknown>({
    run: ({ task, start }) =>
      fhir.update<Stored<Task>>({
        ...task,
        status: start ? 'accepted' : 'rejected',
        ...(start && {
          output: [...(task.output ?? []), { type: { coding: [{ system: systemUrl('task-parameter'), code: 'chosen-start' }] }, valueInstant: start }],
        }),
      }),
    touches: ['Task', 'Appointment', 'Slot'],
  });
  const withdraw = useChange<Stored<Task>, unknown>({ run: (task) => fhir.update<Stored<Task>>({ ...task, status: 'cancelled' }), touches: ['Task'] });
  const open = (code: string) => (tasks.data?.resources ?? []).filter((task) => task.status === 'requested' && task.code?.coding?.some((coding) => coding.code === code));
  const offers = open('reschedule-offer');
  const asked = open('reschedule-request');
  return (
    <>
      {offers.map((task) => (
        <Section key={task.id} title={t('offer.title')}>
          <Text>{t('offer.text', { who: task.requester?.display ?? whoIn(visit) })}</Text>
          {task.description && <Text mt={4}>“{task.description}”</Text>}
          <ul className={classes.offers}>
            {timesIn(task).map((start) => (
              <li key={start} className={classes.offer}>
                <time dateTime={start}>{time(start, 'long')}</time>
                <Button size="sm" loading={answer.isPending && answer.variables.start === start} onClick={() => answer.mutate({ task, start }, { onSuccess: () => toast(t('offer.taken')) })}>{t('offer.take')}</Button>
              </li>
            ))}
          </ul>
          <FormProblem error={answer.error} onReload={() => void cache.invalidateQueries({ queryKey: ['Task'] })} />
          <Button mt="sm" variant="subtle" loading={answer.isPending && !answer.variables.start} onClick={() => answer.mutate({ task })}>{t('offer.refuse')}</Button>
        </Section>
      ))}
      {asked.map((task) => (
        <Section key={task.id} title={t('asked.title')}>
          <Text>{t('asked.text', { who: whoIn(visit) })}</Text>
          <ul className={classes.offers}>
            {timesIn(task).map((start) => <li key={start} className={classes.offer}><time dateTime={start}>{time(start, 'long')}</time></li>)}
          </ul>
          <FormProblem error={withdraw.error} />
          <Button mt="sm" variant="subtle" loading={withdraw.isPending} onClick={() => withdraw.mutate(task)}>{t('asked.withdraw')}</Button>
        </Section>
      ))}
    </>
  );
}

/** What the patient has told and brought along. */
function Told({ visit }: { visit: Stored<Appointment> }) {
  const t = useT();
  const references = (visit.supportingInformation ?? []).map((each) => split(each.reference)).filter((each) => each !== undefined);
  const response = references.find((each) => each.type === 'QuestionnaireResponse');
  const answers = useRead<'QuestionnaireResponse'>(response && `QuestionnaireResponse/${response.id}`);
  const documents = references.filter((each) => each.type === 'DocumentReference').map((each) => each.id);
  const files = useSearch('DocumentReference', documents.length > 0 ? { _id: documents.join(','), _count: documents.length } : undefined);
  const lines = linesOf(answers.data?.item, t('intake.yes'), t('intake.no'));
  if (lines.length === 0 && documents.length === 0 && !visit.description) return null;
  return (
    <Section title={t('visit.told')}>
      {lines.length > 0 ? (
        <dl className={classes.pairs}>
          {lines.map((line) => (
            <div key={line.text} style={{ display: 'contents' }}>
              <dt>{line.text}</dt>
              <dd>{line.answer}</dd>
            </div>
          ))}
        </dl>
      ) : (
        <Text>{visit.description}</Text>
      )}
      {(files.data?.resources ?? []).map((file) => (
        <p key={file.id}><Link to={`/documents?open=${file.id}`}>{titleOf(file)}</Link></p>
      ))}
    </Section>
  );
}

function Costs({ visit }: { visit: Stored<Appointment> }) {
  const t = useT();
  const { money } = useFormats();
  const invoice = invoiceOf(visit);
  const { data: service } = useService(serviceIdOf(visit));
  if (!invoice && (!service?.price || service.policy.payment === 'none')) return null;
  return (
    <Section title={t('visit.costs')}>
      {invoice ? <InvoiceLine reference={invoice} /> : <Text>{money(service?.price)} <Label tone="neutral">{t('visit.notPaidYet')}</Label></Text>}
    </Section>
  );
}

/** Until when what can be done. */
function Rules({ visit }: { visit: Stored<Appointment> }) {
  const t = useT();
  const { time } = useFormats();
  const { data: service } = useService(serviceIdOf(visit));
  const actions = actionsFor(visit, Date.now());
  if (!service || !visit.start || !actions.includes('move')) return null;
  const { policy } = service;
  const moveBy = noticeEnds(visit, policy.rescheduleNotice);
  const cancelBy = noticeEnds(visit, policy.cancelNotice);
  return (
    <Section title={t('rules.title')}>
      <Text fz="sm">{moveBy > Date.now() ? t('rules.move', { time: time(new Date(moveBy)) }) : t('rules.moveLate')}</Text>
      {policy.payment !== 'none' && (
        <Text fz="sm" mt="xs">
          {cancelBy > Date.now() ? t('rules.cancel', { time: time(new Date(cancelBy)), percent: policy.lateRefundPercent }) : t('rules.cancelLate', { percent: policy.lateRefundPercent })}
        </Text>
      )}
      <Text fz="sm" mt="xs"><Anchor component={Link} to="/settings#calendar">{t('rules.feed')}</Anchor></Text>
    </Section>
  );
}
