/** One visit: whom it is with, what they said before, the note, and what comes of it. */
import { useSearch } from '@medconsult/shared/fhir/hooks';
import { split } from '@medconsult/shared/fhir/values';
import { useT } from '@medconsult/shared/texts/context';
import { Page, Section } from '@medconsult/shared/ui/page';
import { DataState, Empty, FormProblem } from '@medconsult/shared/ui/state';
import { toast } from '@medconsult/shared/ui/toast';
import { When, ZoneNote } from '@medconsult/shared/ui/when';
import { Button } from '@mantine/core';
import { CheckCheck, FolderOpen, NotebookPen, Pill } from 'lucide-react';
import type { Encounter, QuestionnaireResponseItem, QuestionnaireResponseItemAnswer } from 'fhir/r4';
import { Link, useParams } from 'wouter';
import { afterwards } from '../data/afterwards';
import { reasonOf, serviceOf, useVisit, useVisitMoves } from '../data/visits';
import { actorOf, type Visit } from '../logic/visits';
import { PatientBanner } from '../parts/banner';
import { Launcher } from '../parts/launcher';
import { VisitNote } from '../parts/note';
import { Medications, Problems } from '../parts/record';
import { VisitActions } from '../parts/visit-actions';
import { Minutes } from '../parts/visit-row';
import { DocumentRow } from './chart-documents';
import { StandingLabel } from '../parts/standing';
import classes from './visit.module.css';

export default function VisitPage() {
  const t = useT();
  const { id } = useParams<{ id: string }>();
  const { appointment, encounters, patient, visit } = useVisit(id);
  const patientId = appointment.data && split(actorOf(appointment.data, 'Patient')?.actor?.reference)?.id;
  return (
    <Page title={t('visit.title')} lead={<ZoneNote />} back={{ to: '/', label: t('nav.today') }}>
      <DataState of={appointment}>
        {() => (
          <DataState of={encounters}>
            {() =>
              visit && (
                <>
                  {patientId && (
                    <PatientBanner id={patientId} level={2}>
                      <Button
                        component={Link}
                        to={`/patients/${patientId}`}
                        variant="default"
                        leftSection={<FolderOpen size={18} aria-hidden="true" />}
                      >
                        {t('action.chart')}
                      </Button>
                      <Launcher patient={patientId} encounter={visit.encounter?.id} />
                    </PatientBanner>
                  )}
                  <div className={classes.facts}>
                    <strong>
                      <When at={visit.appointment.start ?? ''} style="day" />,{' '}
                      <When at={visit.appointment.start ?? ''} end={visit.appointment.end} style="time" />
                    </strong>
                    <span>{serviceOf(visit.appointment)}</span>
                    <StandingLabel standing={visit.standing} />
                    <Minutes visit={visit} />
                  </div>
                  <div className={classes.columns}>
                    <div>
                      {visit.encounter && visit.encounter.status !== 'arrived' && visit.encounter.status !== 'planned' ? (
                        <>
                          <VisitNote encounter={visit.encounter} />
                          <Finish visit={visit} patient={patientId} />
                        </>
                      ) : (
                        <Section>
                          <Empty
                            icon={NotebookPen}
                            title={t('note.none.title')}
                            text={t(visit.action === 'start' ? 'note.none.text' : 'note.none.later')}
                            action={
                              <div style={{ display: 'flex', gap: '0.5rem', justifyContent: 'center' }}>
                                <VisitActions visit={visit} patient={patient.data} prominent />
                              </div>
                            }
                          />
                        </Section>
                      )}
                    </div>
                    <div>
                      <Said visit={visit} />
                      {patientId && <Problems patient={`Patient/${patientId}`} />}
                      {patientId && <Medications patient={`Patient/${patientId}`} />}
                      {patientId && <Documents patient={`Patient/${patientId}`} />}
                    </div>
                  </div>
                </>
              )
            }
          </DataState>
        )}
      </DataState>
    </Page>
  );
}

/** What is done at the end: prescribe, and close the visit. */
function Finish({ visit, patient }: { visit: Visit; patient: string | undefined }) {
  const t = useT();
  const { finish } = useVisitMoves();
  const encounter = visit.encounter as Encounter;
  const isOver = encounter.status === 'finished';
  return (
    <>
      <FormProblem error={finish.error} />
      <div className={classes.foot}>
        {patient && (
          <Button
            component={Link}
            to={`/patients/${patient}/prescribe?encounter=${encounter.id}`}
            variant="default"
            leftSection={<Pill size={18} aria-hidden="true" />}
          >
            {t('chart.prescribe')}
          </Button>
        )}
        {!isOver && (
          <Button
            variant="default"
            leftSection={<CheckCheck size={18} aria-hidden="true" />}
            loading={finish.isPending}
            onClick={() => afterwards(finish.mutateAsync({ appointment: visit.appointment, encounter }), () => toast(t('visit.finished')))}
          >
            {t('visit.finish')}
          </Button>
        )}
      </div>
    </>
  );
}

/** What the patient said when they booked. */
function Said({ visit }: { visit: Visit }) {
  const t = useT();
  const patient = actorOf(visit.appointment, 'Patient')?.actor?.reference;
  const reason = reasonOf(visit.appointment);
  const intake = useSearch(
    'QuestionnaireResponse',
    patient
      ? {
          patient,
          authored: visit.appointment.created ? `ge${visit.appointment.created.slice(0, 10)}` : undefined,
          _sort: '-authored',
          _count: 5,
        }
      : undefined,
  );
  const given = visit.appointment.supportingInformation?.map(({ reference }) => reference) ?? [];
  const answers = (intake.data?.resources ?? []).find((each) => given.includes(`QuestionnaireResponse/${each.id}`));
  const items = answers?.item?.filter(({ answer }) => answer?.length) ?? [];
  if (!reason && items.length === 0) return null;
  return (
    <Section title={t('visit.said')}>
      {reason && <p className={classes.text}>{reason}</p>}
      {items.length > 0 && (
        <dl className={classes.answers}>
          {items.map((item) => (
            <div key={item.linkId}>
              <dt>{item.text ?? item.linkId}</dt>
              <dd>
                <Answers item={item} />
              </dd>
            </div>
          ))}
        </dl>
      )}
    </Section>
  );
}

function Answers({ item }: { item: QuestionnaireResponseItem }) {
  const t = useT();
  const one = (answer: QuestionnaireResponseItemAnswer) => {
    if (answer.valueBoolean !== undefined) return t(answer.valueBoolean ? 'answer.yes' : 'answer.no');
    const date = answer.valueDate ?? answer.valueDateTime;
    if (date) return <When at={date} style="date" />;
    return answer.valueString ?? answer.valueCoding?.display ?? answer.valueInteger ?? answer.valueDecimal ?? '';
  };
  return (
    <>
      {item.answer?.map((answer, index) => (
        <span key={index}>
          {index > 0 && ', '}
          {one(answer)}
        </span>
      ))}
    </>
  );
}

/** The documents that came last. */
function Documents({ patient }: { patient: string }) {
  const t = useT();
  const asked = useSearch('DocumentReference', { patient, status: 'current', _sort: '-date', _count: 5 });
  if (!asked.data?.resources.length) return null;
  return (
    <Section title={t('chart.tab.documents')}>
      <div>
        {asked.data.resources.map((each) => (
          <DocumentRow key={each.id} document={each} />
        ))}
      </div>
    </Section>
  );
}
