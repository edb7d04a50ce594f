/** One line of time with everything on it. */
import { Button, TextInput } from '@mantine/core';
import { useQueries } from '@tanstack/react-query';
import { Activity, CalendarDays, ClipboardList, FileText, FlaskConical, Pill, Scissors, Search, SearchX, ShieldAlert, Stethoscope, Syringe, X, type LucideIcon } from 'lucide-react';
import { useDeferredValue, useMemo } from 'react';
import { Link, useSearchParams } from 'wouter';
import type { FhirResource } from 'fhir/r4';
import type { Found, ResourceType, Stored } from '@medconsult/shared/fhir/client';
import type { FhirFailure } from '@medconsult/shared/fhir/failure';
import { searchKey } from '@medconsult/shared/fhir/hooks';
import { useFormats } from '@medconsult/shared/format/context';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { VirtualList } from '@medconsult/shared/ui/list';
import { Page } from '@medconsult/shared/ui/page';
import { Lines } from '@medconsult/shared/ui/splash';
import { Empty, Problem } from '@medconsult/shared/ui/state';
import documents from '../documents/documents.module.css';
import { eventOf, shown, TYPES, type Event, type Filter, type TimelineType } from './timeline';
import classes from './record.module.css';

const ICONS: Record<TimelineType, LucideIcon> = {
  Appointment: CalendarDays,
  Encounter: Stethoscope,
  DocumentReference: FileText,
  MedicationRequest: Pill,
  Condition: ClipboardList,
  AllergyIntolerance: ShieldAlert,
  Observation: Activity,
  DiagnosticReport: FlaskConical,
  Immunization: Syringe,
  Procedure: Scissors,
  Composition: FileText,
};

/** Pages of one type that are read; beyond, the dates narrow it down. */
const MOST_PAGES = 20;

/** Every resource of these types, page after page. */
function useRecord(types: readonly TimelineType[]) {
  const { fhir, patient } = useSession();
  return useQueries({
    queries: types.map((type) => {
      const query = { patient: `Patient/${patient ?? ''}`, _sort: TYPES[type], _count: 250 };
      return {
        queryKey: [...searchKey(type as ResourceType, query), 'all'],
        queryFn: async ({ signal }: { signal: AbortSignal }) => {
          let page: Found<FhirResource> = await fhir.search(type as ResourceType, query, signal);
          const all = [...page.resources];
          for (let pages = 1; page.next && pages < MOST_PAGES; pages += 1) {
            page = await fhir.next<FhirResource>(page.next, signal);
            all.push(...page.resources);
          }
          return all;
        },
      };
    }),
    combine: (results) => ({
      resources: results.flatMap((result) => (result.data as Stored<FhirResource>[] | undefined) ?? []),
      isPending: results.some((result) => result.isPending),
      error: results.find((result) => result.error)?.error as FhirFailure | undefined,
      refetch: () => Promise.all(results.map((result) => result.refetch())),
    }),
  });
}

export default function Timeline() {
  const t = useT();
  const { time } = useFormats();
  const [params, setParams] = useSearchParams();
  const filter: Filter = {
    types: (params.get('types')?.split(',').filter((type) => type in TYPES) ?? []) as TimelineType[],
    from: params.get('from') ?? '',
    to: params.get('to') ?? '',
    text: params.get('text') ?? '',
  };
  const record = useRecord(Object.keys(TYPES) as TimelineType[]);
  const events = useMemo(() => record.resources.flatMap((resource) => eventOf(resource) ?? []), [record.resources]);
  const present = useMemo(() => (Object.keys(TYPES) as TimelineType[]).filter((type) => events.some((event) => event.type === type)), [events]);
  const deferred = useDeferredValue(JSON.stringify(filter));
  const listed = useMemo(() => shown(events, JSON.parse(deferred) as Filter), [events, deferred]);
  const set = (name: string, value: string) =>
    setParams(
      (before) => {
        const next = new URLSearchParams(before);
        if (value) next.set(name, value);
        else next.delete(name);
        return next;
      },
      { replace: true },
    );
  const toggle = (type: TimelineType) => set('types', (filter.types.includes(type) ? filter.types.filter((each) => each !== type) : [...filter.types, type]).join(','));
  const isFiltered = [...params].length > 0;
  // The heading of a month stands above its first event.
  const monthOf = (event: Event) => event.at && time(event.at.length > 7 ? event.at : `${event.at}-01`.slice(0, 10), 'month');

  return (
    <Page title={t('timeline.title')} lead={t('timeline.lead')}>
      <search>
        <div className={classes.filters}>
          <TextInput label={t('timeline.text')} leftSection={<Search size={18} aria-hidden="true" />} value={filter.text} onChange={(event) => set('text', event.currentTarget.value)} />
          <TextInput type="date" label={t('timeline.from')} value={filter.from} onChange={(event) => set('from', event.currentTarget.value)} />
          <TextInput type="date" label={t('timeline.to')} value={filter.to} onChange={(event) => set('to', event.currentTarget.value)} />
        </div>
        <fieldset className={documents.chips} aria-label={t('timeline.types')}>
          {present.map((type) => (
            <button key={type} type="button" className={documents.chip} aria-pressed={filter.types.includes(type)} onClick={() => toggle(type)}>{t(`type.${type}`)}</button>
          ))}
        </fieldset>
      </search>
      <p className={classes.count} role="status">
        {record.isPending ? '' : t('timeline.count', { count: listed.length })}
        {isFiltered && <Button variant="subtle" size="compact-md" leftSection={<X size={16} aria-hidden="true" />} onClick={() => setParams({}, { replace: true })}>{t('find.clear')}</Button>}
      </p>
      {record.error && events.length === 0 ? (
        <Problem error={record.error} retry={() => void record.refetch()} />
      ) : record.isPending && events.length === 0 ? (
        <div role="status" aria-label={t('app.loading')}><Lines count={5} height={64} /></div>
      ) : listed.length === 0 ? (
        <Empty icon={SearchX} title={t(isFiltered ? 'timeline.nothing' : 'timeline.none')} text={t(isFiltered ? 'timeline.nothingText' : 'timeline.noneText')} />
      ) : (
        <VirtualList rows={listed} estimate={76} keyOf={(event) => event.key} label={t('timeline.title')}>
          {(event, index) => {
            const before = listed[index - 1];
            const month = monthOf(event);
            return (
              <>
                {(!before || monthOf(before) !== month) && <h2 className={classes.month}>{month}</h2>}
                <Row event={event} />
              </>
            );
          }}
        </VirtualList>
      )}
    </Page>
  );
}

function Row({ event }: { event: Event }) {
  const t = useT();
  const { time } = useFormats();
  const Icon = ICONS[event.type];
  return (
    <div className={classes.event}>
      <span className={classes.eventIcon} data-type={event.type}><Icon size={19} aria-hidden="true" /></span>
      <div className={classes.eventText}>
        <span className={classes.eventTitle}>{event.to ? <Link to={event.to}>{event.title || t(`type.${event.type}`)}</Link> : event.title || t(`type.${event.type}`)}</span>
        <span className={classes.quiet}>{[t(`type.${event.type}`), event.detail].filter(Boolean).join(' · ')}</span>
      </div>
      {event.at && <time className={classes.eventTime} dateTime={event.at}>{time(event.at, 'date')}</time>}
    </div>
  );
}
