/** The day: who is next, who waits, and what became of the others. */
import { useSearch } from '@medconsult/shared/fhir/hooks';
import { textOfConcept } from '@medconsult/shared/fhir/values';
import { useFormats } from '@medconsult/shared/format/context';
import { addDays, dayOf } from '@medconsult/shared/format/time';
import { useT } from '@medconsult/shared/texts/context';
import { Page } from '@medconsult/shared/ui/page';
import { PersonFace } from '@medconsult/shared/ui/person';
import { DataState, Empty } from '@medconsult/shared/ui/state';
import { Label } from '@medconsult/shared/ui/status';
import { When, ZoneNote } from '@medconsult/shared/ui/when';
import { Button } from '@mantine/core';
import { CalendarCheck, CalendarDays, CheckCheck, FolderOpen, Inbox, TriangleAlert, X } from 'lucide-react';
import type { Patient } from 'fhir/r4';
import { useState } from 'react';
import { Link } from 'wouter';
import { useNow } from '../data/clock';
import { useRequests } from '../data/requests';
import { instant, patientName, reasonOf, serviceOf, useVisits } from '../data/visits';
import { byTab, nextVisit, type Tab, type Visit } from '../logic/visits';
import { instantOf } from '@medconsult/shared/format/zone';
import { usePatientFacts } from '../parts/patient';
import { Tabs } from '../parts/tabs';
import { VisitActions } from '../parts/visit-actions';
import { Minutes, VisitRow } from '../parts/visit-row';
import { StandingLabel } from '../parts/standing';
import classes from '../parts/visits.module.css';

const EMPTY_ICONS = { requests: Inbox, today: CalendarCheck, done: CheckCheck, cancelled: X };

export default function Today() {
  const t = useT();
  const now = useNow();
  const { timeZone } = useFormats();
  const today = dayOf(new Date(now), timeZone);
  const { asked, visits, patientOf } = useVisits(instantOf(today, 0, timeZone), instantOf(addDays(today, 1), 0, timeZone));
  const requests = useRequests();
  const [tab, setTab] = useState<Tab>('today');
  const tabs = byTab(visits);
  // Requests wait for an answer, whatever day they are for.
  const lists: Record<Tab, Visit[]> = { ...tabs, requests: requests.visits };
  const next = nextVisit(visits, now);
  const names: Tab[] = ['requests', 'today', 'done', 'cancelled'];
  return (
    <Page
      title={t('today.title')}
      lead={
        <>
          <When at={instant(now)} style="day" /> · <ZoneNote />
        </>
      }
      actions={
        <Button component={Link} to="/calendar" variant="default" leftSection={<CalendarDays size={18} aria-hidden="true" />}>
          {t('nav.calendar')}
        </Button>
      }
    >
      <DataState of={asked}>
        {() => (
          <>
            {next && <NextCard visit={next} patient={patientOf(next)} />}
            <Tabs
              label={t('today.tabs')}
              chosen={tab}
              onChoose={setTab}
              tabs={names.map((key) => ({ key, label: t(`today.tab.${key}`), count: lists[key].length }))}
            >
              {lists[tab].length === 0 ? (
                <Empty icon={EMPTY_ICONS[tab]} title={t(`today.empty.${tab}.title`)} text={t(`today.empty.${tab}.text`)} />
              ) : (
                <ul className={classes.list}>
                  {lists[tab].map((visit) => {
                    const patient = tab === 'requests' ? requests.patientOf(visit.appointment) : patientOf(visit);
                    return (
                      <VisitRow
                        key={visit.appointment.id}
                        visit={visit}
                        patient={patient}
                        withDay={tab === 'requests'}
                        isNow={visit === next}
                      >
                        <VisitActions visit={visit} patient={patient} />
                      </VisitRow>
                    );
                  })}
                </ul>
              )}
            </Tabs>
          </>
        )}
      </DataState>
    </Page>
  );
}

/** Whom to see now, with what must not be overlooked. */
function NextCard({ visit, patient }: { visit: Visit; patient: Patient | undefined }) {
  const t = useT();
  const facts = usePatientFacts();
  const { appointment } = visit;
  const allergies = useSearch(
    'AllergyIntolerance',
    patient && { 'patient': `Patient/${patient.id}`, 'clinical-status': 'active', '_count': 20 },
  );
  const isSeen = visit.standing === 'in-progress';
  return (
    <section className={classes.next} aria-label={t(isSeen ? 'next.seen' : 'next.title')}>
      <div className={classes.nextHead}>
        <h2 className={classes.nextTitle}>{t(isSeen ? 'next.seen' : 'next.title')}</h2>
        <span>
          <When at={appointment.start ?? ''} end={appointment.end} style="time" /> · {serviceOf(appointment)}
        </span>
      </div>
      <div className={classes.nextBody}>
        <PersonFace name={patientName(appointment, patient)} photo={patient?.photo} size={56} />
        <div className={classes.words}>
          <p className={classes.nextName}>{patientName(appointment, patient)}</p>
          <div className={classes.facts}>{facts(patient)}</div>
          {reasonOf(appointment) && <p className={classes.reason}>{reasonOf(appointment)}</p>}
          <div className={classes.alerts}>
            <StandingLabel standing={visit.standing} />
            {allergies.data?.resources.map((allergy) => (
              <Label key={allergy.id} icon={TriangleAlert} tone="bad">
                {t('chart.allergyTo', { name: textOfConcept(allergy.code) })}
              </Label>
            ))}
            <Minutes visit={visit} />
          </div>
        </div>
      </div>
      <div className={classes.nextActions}>
        <VisitActions visit={visit} patient={patient} prominent />
        {patient && visit.action !== 'open-chart' && (
          <Button
            component={Link}
            to={`/patients/${patient.id}`}
            variant="default"
            leftSection={<FolderOpen size={18} aria-hidden="true" />}
          >
            {t('action.chart')}
          </Button>
        )}
      </div>
    </section>
  );
}
