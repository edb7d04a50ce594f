/** The third screen: what it is about, and what the patient agrees to. Booking leads on to paying where something is to be paid. */
import { Button, Checkbox, Text } from '@mantine/core';
import { Hourglass, TimerOff } from 'lucide-react';
import type { Appointment, Consent, QuestionnaireResponse } from 'fhir/r4';
import { useState, type FormEvent } from 'react';
import { Link, useLocation } from 'wouter';
import type { Stored } from '@medconsult/shared/fhir/client';
import { useChange, useRead, useSearch } from '@medconsult/shared/fhir/hooks';
import { extension, nameOf } from '@medconsult/shared/fhir/values';
import { useFormats } from '@medconsult/shared/format/context';
import { writeCountdown } from '@medconsult/shared/format/time';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { Page, Section } from '@medconsult/shared/ui/page';
import { DataState, Empty, FormProblem } from '@medconsult/shared/ui/state';
import { labelOf } from '@medconsult/shared/ui/status';
import { ZoneNote } from '@medconsult/shared/ui/when';
import { AttachDocuments } from '../documents/Attach';
import { usePay } from '../payments/pay';
import { useBook, useService } from './hooks';
import { useTimeLeft } from './clock';
import { answersOf, missingIn, type Answers } from './intake';
import { IntakeForm } from './IntakeForm';
import { practitionerOf, serviceIdOf } from './offers';
import { Steps } from './Steps';
import { CONSENT_SYSTEM, isTelehealthConsent, telehealthConsent } from './consent';
import classes from './booking.module.css';

export default function Details({ id }: { id: string }) {
  const t = useT();
  const visit = useRead<'Appointment'>(`Appointment/${id}`);
  return (
    <Page title={t('details.title')} back={{ to: '/book', label: t('find.title') }}>
      <Steps at={3} />
      <DataState of={visit}>{(held) => <Held visit={held} />}</DataState>
    </Page>
  );
}

function Held({ visit }: { visit: Stored<Appointment> }) {
  const t = useT();
  const [, navigate] = useLocation();
  const { fhir, patient } = useSession();
  const { money, time, range } = useFormats();
  const practitioner = useRead<'Practitioner'>(`Practitioner/${practitionerOf(visit) ?? ''}`);
  const { data: service } = useService(serviceIdOf(visit));
  const url = service?.policy.intake;
  const questionnaires = useSearch('Questionnaire', url ? { url: url.split('|')[0], _count: 1 } : undefined);
  const questionnaire = questionnaires.data?.resources[0];
  const consents = useSearch('Consent', { 'category': CONSENT_SYSTEM, 'status': 'active', '_count': 20 });
  const hasAgreed = consents.data?.resources.some(isTelehealthConsent) ?? false;
  const [answers, setAnswers] = useState<Answers>({});
  const [documents, setDocuments] = useState<string[]>([]);
  const [agrees, setAgrees] = useState(false);
  const [tried, setTried] = useState(false);
  const book = useBook();
  const pay = usePay();
  const left = useTimeLeft(extension(visit, 'hold-expires')?.valueInstant);
  const label = labelOf(visit);

  const submit = useChange<void, void>({
    run: async () => {
      const about: string[] = [...documents];
      if (questionnaire) {
        const answered: QuestionnaireResponse = {
          resourceType: 'QuestionnaireResponse',
          status: 'completed',
          questionnaire: questionnaire.url ?? '',
          subject: { reference: `Patient/${patient ?? ''}` },
          author: { reference: `Patient/${patient ?? ''}` },
          authored: new Date().toISOString(),
          item: answersOf(questionnaire, answers),
        };
        about.push(`QuestionnaireResponse/${(await fhir.create(answered)).id}`);
      }
      if (!hasAgreed) await fhir.create<Consent>(telehealthConsent(patient ?? '', new Date()));
      const reason = answers.reason;
      const booked = await book.mutateAsync({
        resourceType: 'Appointment',
        id: visit.id,
        status: 'pending',
        participant: visit.participant,
        ...(typeof reason === 'string' && reason && { description: reason.slice(0, 120) }),
        ...(about.length > 0 && { supportingInformation: about.map((reference) => ({ reference })) }),
      });
      if (labelOf(booked) === 'pending-payment') await pay.mutateAsync(booked.id);
      else navigate(`/visits/${booked.id}?new`);
    },
    touches: ['Consent'],
  });

  // While it goes on to the payment, the visit is not held any more, and that is no news.
  if (label !== 'held' && !submit.isPending && !submit.isSuccess) {
    const lapsed = label === 'hold-expired' || visit.status === 'cancelled';
    return (
      <Empty
        icon={TimerOff}
        title={t(lapsed ? 'details.lapsed' : 'details.done')}
        text={t(lapsed ? 'details.lapsedText' : 'details.doneText')}
        action={
          lapsed ? (
            <Button component={Link} to={`/book/${practitionerOf(visit) ?? ''}/${serviceIdOf(visit) ?? ''}`}>{t('details.again')}</Button>
          ) : (
            <Button component={Link} to={`/visits/${visit.id}`}>{t('details.see')}</Button>
          )
        }
      />
    );
  }

  const missing = questionnaire ? missingIn(questionnaire, answers) : [];
  const needsConsent = !hasAgreed && !agrees;
  const paysNow = service?.policy.payment === 'before-approval';
  const action = paysNow && service.price ? t('details.pay', { price: money(service.price) }) : service?.policy.approval === 'auto' ? t('details.book') : t('details.ask');
  const send = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (missing.length > 0 || needsConsent) {
      // The first thing that is missing is where one goes on.
      requestAnimationFrame(() => document.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus());
      return;
    }
    submit.mutate();
  };

  return (
    <form onSubmit={send} noValidate className={classes.two}>
      <div>
        <Countdown left={left} />
        <Section title={t('details.about')}>
          <div className={classes.fields}>
            {questionnaire && <IntakeForm questionnaire={questionnaire} answers={answers} onChange={setAnswers} missing={tried ? missing : []} />}
            {!questionnaire && <Text c="dimmed">{t('details.noQuestions')}</Text>}
          </div>
        </Section>
        <Section title={t('details.documents')}>
          <AttachDocuments chosen={documents} onChange={setDocuments} />
        </Section>
        {!hasAgreed && consents.data && (
          <Section title={t('details.consent')}>
            <Text mb="sm">{t('details.consentText')}</Text>
            <Checkbox
              label={t('details.consentAgree')}
              checked={agrees}
              onChange={(event) => setAgrees(event.currentTarget.checked)}
              aria-invalid={tried && needsConsent}
              error={tried && needsConsent ? t('details.consentMissing') : undefined}
            />
          </Section>
        )}
      </div>
      <div className={classes.side}>
        <Section title={t('details.summary')}>
          <dl className={classes.facts2}>
            <dt>{t('details.with')}</dt>
            <dd>{nameOf(practitioner.data?.name)}</dd>
            <dt>{t('details.what')}</dt>
            <dd>{service?.name}</dd>
            <dt>{t('details.when')}</dt>
            <dd>
              {time(visit.start ?? '', 'day')}, {range(visit.start ?? '', visit.end ?? '')}
              <Text c="dimmed" fz="sm"><ZoneNote /></Text>
            </dd>
            <dt>{t('details.price')}</dt>
            <dd>{service?.price && service.policy.payment !== 'none' ? money(service.price) : t('find.free')}</dd>
          </dl>
          {service && <PolicyText service={service} />}
          <FormProblem error={submit.error} onReload={() => navigate(`/book/${practitionerOf(visit) ?? ''}/${serviceIdOf(visit) ?? ''}`)} />
          {tried && missing.length > 0 && <Text role="status" c="var(--mc-bad)" mb="sm">{t('details.missing', { count: missing.length })}</Text>}
          <Button type="submit" fullWidth mt="md" size="lg" loading={submit.isPending} disabled={left <= 0 || !service}>{action}</Button>
        </Section>
      </div>
    </form>
  );
}

/** What comes next, and what cancelling costs: before it counts, not after. */
export function PolicyText({ service }: { service: NonNullable<ReturnType<typeof useService>['data']> }) {
  const t = useT();
  const { policy } = service;
  const sentences = [
    t(policy.approval === 'auto' ? 'policy.auto' : 'policy.manual'),
    policy.payment === 'after-approval' ? t('policy.payLater') : undefined,
    policy.approval === 'manual' && policy.payment === 'before-approval' ? t('policy.refund') : undefined,
    policy.payment !== 'none' && policy.cancelNotice !== undefined
      ? t('policy.cancel', { count: policy.cancelNotice, percent: policy.lateRefundPercent })
      : undefined,
  ];
  return <Text c="dimmed" fz="sm" mt="md">{sentences.filter(Boolean).join(' ')}</Text>;
}

function Countdown({ left }: { left: number }) {
  const t = useT();
  const minutes = Math.ceil(left / 60_000);
  return (
    <div className={classes.countdown} data-late={left < 120_000 || undefined}>
      <Hourglass size={20} aria-hidden="true" />
      <span>
        {left > 0 ? t('details.held') : t('details.heldNoMore')} <strong aria-hidden="true">{left > 0 ? writeCountdown(left) : ''}</strong>
      </span>
      {/* Those who hear the page hear of each of the last minutes, not of each second. */}
      <span role="timer" aria-live={minutes <= 5 ? 'polite' : 'off'} className={classes.unseen}>{t('details.minutesLeft', { count: minutes })}</span>
    </div>
  );
}
