/** What waits for an answer: visits that were asked for, and visits that patients want to move. */
import { useT } from '@medconsult/shared/texts/context';
import { Page, Section } from '@medconsult/shared/ui/page';
import { PersonFace } from '@medconsult/shared/ui/person';
import { DataState, Empty, FormProblem } from '@medconsult/shared/ui/state';
import { Label } from '@medconsult/shared/ui/status';
import { toast } from '@medconsult/shared/ui/toast';
import { When, ZoneNote } from '@medconsult/shared/ui/when';
import { nameOf } from '@medconsult/shared/fhir/values';
import { Button } from '@mantine/core';
import { CalendarClock, Check, Hourglass, Inbox, X } from 'lucide-react';
import { afterwards } from '../data/afterwards';
import { type Asked, useAnswers, useRequests } from '../data/requests';
import { instant } from '../data/visits';
import { proposedStarts } from '../logic/moves';
import { VisitActions } from '../parts/visit-actions';
import { VisitRow } from '../parts/visit-row';
import classes from '../parts/visits.module.css';

export default function Requests() {
  const t = useT();
  const { pending, tasks, visits, moves, offered, patientOf } = useRequests();
  const { answer } = useAnswers();
  return (
    <Page title={t('requests.title')} lead={<ZoneNote />}>
      <Section title={t('requests.new')} plain>
        <DataState
          of={pending}
          isEmpty={() => visits.length === 0}
          empty={<Empty icon={Inbox} title={t('today.empty.requests.title')} text={t('today.empty.requests.text')} />}
        >
          {() => (
            <ul className={classes.list}>
              {visits.map((visit) => {
                const patient = patientOf(visit.appointment);
                const offer = offered.get(`Appointment/${visit.appointment.id}`);
                const note = offer && (
                  <p className={classes.change}>
                    <Label icon={Hourglass} tone="accent">
                      {t('requests.offered', { count: proposedStarts(offer).length })}
                    </Label>
                    <Button
                      variant="subtle"
                      size="compact-sm"
                      loading={answer.isPending}
                      onClick={() => answer.mutate({ task: offer, answer: 'cancelled' })}
                    >
                      {t('requests.takeBack')}
                    </Button>
                  </p>
                );
                return (
                  <VisitRow key={visit.appointment.id} visit={visit} patient={patient} withDay note={note}>
                    <VisitActions visit={visit} patient={patient} />
                  </VisitRow>
                );
              })}
            </ul>
          )}
        </DataState>
      </Section>
      <Section title={t('requests.moves')} plain>
        <DataState
          of={tasks}
          isEmpty={() => moves.length === 0}
          empty={<Empty icon={CalendarClock} title={t('requests.noMoves.title')} text={t('requests.noMoves.text')} />}
        >
          {() => (
            <ul className={classes.list}>
              {moves.map((each) => (
                <MoveRow key={each.task.id} {...each} />
              ))}
            </ul>
          )}
        </DataState>
      </Section>
    </Page>
  );
}

/** A visit that its patient wants to have at another time. */
function MoveRow({ task, appointment, patient }: Asked) {
  const t = useT();
  const { answer } = useAnswers();
  const name = nameOf(patient?.name) || (task.for?.display ?? '');
  const starts = proposedStarts(task);
  const give = (given: 'accepted' | 'rejected', start?: number) =>
    afterwards(answer.mutateAsync({ task, answer: given, ...(start !== undefined && { start }) }), () =>
      toast(t(`requests.${given}`, { name })),
    );
  return (
    <li className={classes.row} style={{ display: 'block' }}>
      <div className={classes.who}>
        <PersonFace name={name} photo={patient?.photo} size={40} />
        <div className={classes.words}>
          <span className={classes.name}>{name}</span>
          {appointment?.start && (
            <p className={classes.change}>
              <span className={classes.facts}>{t('requests.from')}</span>{' '}
              <s className={classes.was}>
                <When at={appointment.start} />
              </s>
            </p>
          )}
          {task.note?.map(({ text }) => (
            <p key={text} className={classes.reason}>
              {text}
            </p>
          ))}
        </div>
      </div>
      <FormProblem error={answer.error} />
      <div className={classes.nextActions}>
        {starts.map((start) => (
          <Button
            key={start}
            leftSection={<Check size={18} aria-hidden="true" />}
            loading={answer.isPending && answer.variables.start === start}
            disabled={answer.isPending}
            onClick={() => give('accepted', start)}
          >
            {t('requests.moveTo')}&nbsp;
            <When at={instant(start)} />
          </Button>
        ))}
        <Button
          variant="default"
          leftSection={<X size={18} aria-hidden="true" />}
          disabled={answer.isPending}
          onClick={() => give('rejected')}
        >
          {t('requests.stay')}
        </Button>
      </div>
    </li>
  );
}
