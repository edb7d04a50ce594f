/** Everything in a record, by visits and by when it was. */
import { useSearch } from '@medconsult/shared/fhir/hooks';
import { useFormats } from '@medconsult/shared/format/context';
import { useT } from '@medconsult/shared/texts/context';
import { VirtualList } from '@medconsult/shared/ui/list';
import { Empty, Problem } from '@medconsult/shared/ui/state';
import { Lines } from '@medconsult/shared/ui/splash';
import { When } from '@medconsult/shared/ui/when';
import { TextInput } from '@mantine/core';
import {
  Activity,
  ClipboardList,
  FileText,
  FlaskConical,
  History,
  type LucideIcon,
  NotebookPen,
  Pill,
  Scissors,
  Stethoscope,
  Syringe,
  TriangleAlert,
} from 'lucide-react';
import type { Resource } from 'fhir/r4';
import { useMemo, useState } from 'react';
import { instant } from '../data/visits';
import { entriesOf, type Entry, type Filter, filtered, grouped, type Kind, KINDS } from '../logic/timeline';
import classes from './chart.module.css';

const ICONS: Record<Kind, LucideIcon> = {
  visit: Stethoscope,
  note: NotebookPen,
  problem: ClipboardList,
  medication: Pill,
  allergy: TriangleAlert,
  observation: Activity,
  report: FlaskConical,
  document: FileText,
  immunization: Syringe,
  procedure: Scissors,
};

/** Everything of these types. */
function useRecord(patient: string) {
  const query = { patient, _count: 1000 };
  const asked = [
    useSearch('Encounter', query),
    useSearch('Composition', query),
    useSearch('Condition', query),
    useSearch('MedicationRequest', query),
    useSearch('AllergyIntolerance', query),
    useSearch('Observation', query),
    useSearch('DiagnosticReport', query),
    useSearch('DocumentReference', query),
    useSearch('Immunization', query),
    useSearch('Procedure', query),
  ];
  const failed = asked.find(({ error, data }) => error && !data);
  const found = asked.map(({ data }) => data?.resources as Resource[] | undefined);
  const entries = useMemo(() => (found.every((each) => each) ? entriesOf(found.flatMap((each) => each ?? [])) : undefined), found);
  return { entries, failed };
}

export default function Timeline({ patient }: { patient: string }) {
  const t = useT();
  const { timeZone } = useFormats();
  const { entries, failed } = useRecord(patient);
  const [filter, setFilter] = useState<Filter>({});
  const groups = useMemo(() => grouped(filtered(entries ?? [], filter, timeZone)), [entries, filter, timeZone]);
  const has = new Set(entries?.map(({ kind }) => kind));
  const toggle = (kind: Kind) => {
    const kinds = filter.kinds ?? [];
    setFilter({ ...filter, kinds: kinds.includes(kind) ? kinds.filter((each) => each !== kind) : [...kinds, kind] });
  };
  if (failed) return <Problem error={failed.error} retry={() => void failed.refetch()} />;
  if (!entries) return <Lines count={5} />;
  return (
    <>
      <div className={classes.filters}>
        <TextInput
          type="search"
          label={t('timeline.text')}
          value={filter.text ?? ''}
          onChange={(event) => setFilter({ ...filter, text: event.currentTarget.value })}
        />
        <TextInput
          type="date"
          label={t('timeline.from')}
          value={filter.from ?? ''}
          onChange={(event) => setFilter({ ...filter, from: event.currentTarget.value || undefined })}
        />
        <TextInput
          type="date"
          label={t('timeline.until')}
          value={filter.until ?? ''}
          onChange={(event) => setFilter({ ...filter, until: event.currentTarget.value || undefined })}
        />
        <div className={classes.kinds} role="group" aria-label={t('timeline.kinds')}>
          {KINDS.filter((kind) => has.has(kind)).map((kind) => (
            <button
              key={kind}
              type="button"
              className={classes.kind}
              aria-pressed={filter.kinds?.includes(kind) ?? false}
              onClick={() => toggle(kind)}
            >
              {t(`timeline.kind.${kind}`)}
            </button>
          ))}
        </div>
      </div>
      {groups.length === 0 ? (
        <Empty
          icon={History}
          title={t(entries.length === 0 ? 'timeline.none.title' : 'timeline.notFound.title')}
          text={t(entries.length === 0 ? 'timeline.none.text' : 'timeline.notFound.text')}
        />
      ) : (
        <VirtualList rows={groups} estimate={84} keyOf={({ head }) => head.reference} label={t('chart.tab.timeline')}>
          {({ head, within }) => (
            <div className={classes.group}>
              <EntryLine entry={head} />
              {within.length > 0 && (
                <div className={classes.within}>
                  {within.map((entry) => (
                    <EntryLine key={entry.reference} entry={entry} />
                  ))}
                </div>
              )}
            </div>
          )}
        </VirtualList>
      )}
    </>
  );
}

function EntryLine({ entry }: { entry: Entry }) {
  const t = useT();
  const Icon = ICONS[entry.kind];
  return (
    <div className={classes.entry}>
      <Icon size={18} aria-label={t(`timeline.kind.${entry.kind}`)} role="img" />
      <span className={classes.item}>{entry.title}</span>
      <span className={classes.when}>{entry.at === undefined ? t('timeline.undated') : <When at={instant(entry.at)} style="date" />}</span>
      {entry.detail && <span className={classes.detail}>{entry.detail}</span>}
    </div>
  );
}
