/** A patient's record. */
import { useRead, useSearch } from '@medconsult/shared/fhir/hooks';
import { nameOf } from '@medconsult/shared/fhir/values';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { Page, Section } from '@medconsult/shared/ui/page';
import { DataState, Empty } from '@medconsult/shared/ui/state';
import { When } from '@medconsult/shared/ui/when';
import { Button, Text } from '@mantine/core';
import { Activity, Pill } from 'lucide-react';
import { lazy, Suspense } from 'react';
import { Link, useLocation, useParams } from 'wouter';
import { Lines } from '@medconsult/shared/ui/splash';
import { serviceOf } from '../data/visits';
import { standingOf } from '../logic/visits';
import { trendsOf } from '../logic/trends';
import { PatientBanner } from '../parts/banner';
import { Launcher } from '../parts/launcher';
import { Allergies, Medications, Problems } from '../parts/record';
import { Tabs } from '../parts/tabs';
import { TrendCard } from '../parts/trend';
import { StandingLabel } from '../parts/standing';
import classes from './chart.module.css';

const Timeline = lazy(() => import('./chart-timeline'));
const Documents = lazy(() => import('./chart-documents'));

const TABS = ['summary', 'timeline', 'observations', 'medications', 'documents'] as const;
type Tab = (typeof TABS)[number];

export default function Chart() {
  const t = useT();
  const { id, tab } = useParams<{ id: string; tab?: string }>();
  const [, navigate] = useLocation();
  const { patient: launched, needsPatientBanner } = useSession();
  const asked = useRead<'Patient'>(`Patient/${id}`);
  const chosen: Tab = TABS.find((each) => each === tab) ?? 'summary';
  const patient = `Patient/${id}`;
  const name = nameOf(asked.data?.name) || t('chart.title');
  // Whoever launched the app may show already whom it is about.
  const hasBanner = launched !== id || needsPatientBanner;
  const prescribe = (
    <Button component={Link} to={`/patients/${id}/prescribe`} leftSection={<Pill size={18} aria-hidden="true" />}>
      {t('chart.prescribe')}
    </Button>
  );
  return (
    <Page title={name} bare={hasBanner} back={{ to: '/patients', label: t('nav.patients') }} actions={!hasBanner && prescribe}>
      <DataState of={asked}>
        {() => (
          <>
            {hasBanner && (
              <PatientBanner id={id}>
                {prescribe}
                <Launcher patient={id} />
              </PatientBanner>
            )}
            <Tabs
              label={t('chart.title')}
              chosen={chosen}
              onChoose={(to) => navigate(to === 'summary' ? `/patients/${id}` : `/patients/${id}/${to}`, { replace: true })}
              tabs={TABS.map((key) => ({ key, label: t(`chart.tab.${key}`) }))}
            >
              <Suspense fallback={<Lines />}>
                {chosen === 'summary' && <Summary patient={patient} />}
                {chosen === 'timeline' && <Timeline patient={patient} />}
                {chosen === 'observations' && <Observations patient={patient} />}
                {chosen === 'medications' && (
                  <Medications patient={patient} all actions={prescribe}>
                    {(each) =>
                      each.status === 'draft' &&
                      each.groupIdentifier?.value && (
                        <Link to={`/patients/${id}/prescribe/${each.groupIdentifier.value}`}>{t('prescribe.continue')}</Link>
                      )
                    }
                  </Medications>
                )}
                {chosen === 'documents' && <Documents patient={patient} />}
              </Suspense>
            </Tabs>
          </>
        )}
      </DataState>
    </Page>
  );
}

function Summary({ patient }: { patient: string }) {
  const t = useT();
  return (
    <div className={classes.columns}>
      <div>
        <Problems patient={patient} all />
        <Medications patient={patient} />
        <Allergies patient={patient} />
        <Visits patient={patient} title={t('chart.visits')} />
      </div>
      <div>
        <Recent patient={patient} />
      </div>
    </div>
  );
}

/** The values that were measured last. */
function Recent({ patient }: { patient: string }) {
  const t = useT();
  const asked = useObservations(patient);
  const trends = trendsOf(asked.data?.resources ?? []).slice(0, 3);
  if (asked.data && trends.length === 0) return null;
  return (
    <Section
      title={t('chart.recent')}
      plain
      actions={<Link to={`/patients/${patient.split('/')[1]}/observations`}>{t('chart.allObservations')}</Link>}
    >
      <DataState of={asked}>
        {() => (
          <div className={classes.trends}>
            {trends.map((trend) => (
              <TrendCard key={trend.key} trend={trend} level={3} />
            ))}
          </div>
        )}
      </DataState>
    </Section>
  );
}

function useObservations(patient: string) {
  return useSearch('Observation', { patient, _sort: '-date', _count: 1000 });
}

function Observations({ patient }: { patient: string }) {
  const t = useT();
  const asked = useObservations(patient);
  const trends = trendsOf(asked.data?.resources ?? []);
  return (
    <DataState
      of={asked}
      isEmpty={() => trends.length === 0}
      empty={<Empty icon={Activity} title={t('trend.none.title')} text={t('trend.none.text')} />}
    >
      {() => (
        <div className={classes.trends}>
          {trends.map((trend) => (
            <TrendCard key={trend.key} trend={trend} level={2} />
          ))}
        </div>
      )}
    </DataState>
  );
}

function Visits({ patient, title }: { patient: string; title: string }) {
  const t = useT();
  const asked = useSearch('Appointment', { patient, _sort: '-date', _count: 10 });
  return (
    <Section title={title}>
      <DataState of={asked} isEmpty={({ resources }) => resources.length === 0} empty={<Text c="dimmed">{t('chart.noVisits')}</Text>}>
        {({ resources }) => (
          <ul className={classes.items}>
            {resources.map((each) => (
              <li key={each.id}>
                <Link to={`/visits/${each.id}`} className={classes.item}>
                  <When at={each.start ?? ''} />
                </Link>
                <StandingLabel standing={standingOf(each)} />
                <span className={classes.detail}>{serviceOf(each)}</span>
              </li>
            ))}
          </ul>
        )}
      </DataState>
    </Section>
  );
}
