/** The trail: who did what, when, with whose record. Looking at it is recorded as well. */
import { useSearch, useSearchPages } from '@medconsult/shared/fhir/hooks';
import { nameOf } from '@medconsult/shared/fhir/values';
import { useFormats } from '@medconsult/shared/format/context';
import { addDays, dayOf, writeTime } from '@medconsult/shared/format/time';
import { useT } from '@medconsult/shared/texts/context';
import { VirtualList } from '@medconsult/shared/ui/list';
import { Page } from '@medconsult/shared/ui/page';
import { DataState, Empty } from '@medconsult/shared/ui/state';
import { Label } from '@medconsult/shared/ui/status';
import { ZoneNote } from '@medconsult/shared/ui/when';
import { Checkbox, NativeSelect, TextInput } from '@mantine/core';
import { Ban, ScrollText, Siren } from 'lucide-react';
import { useMemo, useState } from 'react';
import { entryOf, type Deed, type Entry, peopleIn, QUERIES } from '../logic/trail';
import { instantOf } from '@medconsult/shared/format/zone';
import { type Person, PersonChoice } from '../parts/person-choice';
import classes from './trail.module.css';

interface Filter {
  from: string;
  until: string;
  deed: Deed | '';
  by: Person | undefined;
  about: Person | undefined;
  refused: boolean;
}

export default function Trail() {
  const t = useT();
  const { timeZone } = useFormats();
  const today = dayOf(new Date(), timeZone);
  const [filter, setFilter] = useState<Filter>({
    from: addDays(today, -6),
    until: '',
    deed: '',
    by: undefined,
    about: undefined,
    refused: false,
  });
  const set = (change: Partial<Filter>) => setFilter({ ...filter, ...change });
  const dates = [
    filter.from && `ge${new Date(instantOf(filter.from, 0, timeZone)).toISOString()}`,
    filter.until && `lt${new Date(instantOf(addDays(filter.until, 1), 0, timeZone)).toISOString()}`,
  ].filter(Boolean) as string[];
  const asked = useSearchPages('AuditEvent', {
    ...(filter.deed && QUERIES[filter.deed]),
    ...(dates.length > 0 && { date: dates }),
    agent: filter.by?.reference,
    patient: filter.about?.reference,
    outcome: filter.refused ? '4,8,12' : undefined,
    _sort: '-date',
    _count: 100,
  });
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = asked;
  const entries = useMemo(() => (asked.data?.resources ?? []).map(entryOf), [asked.data]);
  const nameFor = useNames(entries);
  return (
    <Page
      title={t('trail.title')}
      lead={
        <>
          {t('trail.lead')} <ZoneNote />.
        </>
      }
    >
      <div className={classes.filters}>
        <TextInput type="date" label={t('trail.from')} value={filter.from} onChange={(event) => set({ from: event.currentTarget.value })} />
        <TextInput
          type="date"
          label={t('trail.until')}
          value={filter.until}
          onChange={(event) => set({ until: event.currentTarget.value })}
        />
        <div className={classes.wide}>
          <PersonChoice label={t('trail.by')} types={['Practitioner', 'Patient']} chosen={filter.by} onChoose={(by) => set({ by })} />
        </div>
        <div className={classes.wide}>
          <PersonChoice label={t('trail.about')} types={['Patient']} chosen={filter.about} onChoose={(about) => set({ about })} />
        </div>
        <NativeSelect
          label={t('trail.deed')}
          value={filter.deed}
          onChange={(event) => set({ deed: event.currentTarget.value as Deed | '' })}
          data={[
            { value: '', label: t('trail.deed.all') },
            ...Object.keys(QUERIES).map((deed) => ({ value: deed, label: t(`trail.deed.${deed}`) })),
          ]}
        />
        <Checkbox
          pb={10}
          label={t('trail.refused')}
          checked={filter.refused}
          onChange={(event) => set({ refused: event.currentTarget.checked })}
        />
      </div>
      <DataState
        of={asked}
        isEmpty={() => entries.length === 0}
        empty={<Empty icon={ScrollText} title={t('trail.none.title')} text={t('trail.none.text')} />}
      >
        {() => (
          <VirtualList
            rows={entries}
            estimate={70}
            keyOf={({ id }) => id}
            label={t('trail.title')}
            onEnd={() => {
              if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
            }}
          >
            {(entry) => <EntryRow entry={entry} nameFor={nameFor} />}
          </VirtualList>
        )}
      </DataState>
    </Page>
  );
}

/** At most so many people are looked up at once: an address has its length. */
const AT_ONCE = 200;

/** What people are called; their reference until that is known. */
function useNames(entries: Entry[]): (reference: string) => string {
  const people = useMemo(() => peopleIn(entries), [entries]);
  const query = (ids: string[]) =>
    ids.length > 0 ? { _id: ids.slice(0, AT_ONCE).join(','), _elements: 'name', _count: AT_ONCE } : undefined;
  const practitioners = useSearch('Practitioner', query(people.Practitioner));
  const patients = useSearch('Patient', query(people.Patient));
  const names = new Map(
    [...(practitioners.data?.resources ?? []), ...(patients.data?.resources ?? [])].map((each) => [
      `${each.resourceType}/${each.id}`,
      nameOf(each.name),
    ]),
  );
  return (reference) => names.get(reference) || reference;
}

function EntryRow({ entry, nameFor }: { entry: Entry; nameFor: (reference: string) => string }) {
  const t = useT();
  const { locale, timeZone } = useFormats();
  const person = entry.person
    ? nameFor(entry.person)
    : t(entry.deed === 'stranger' ? 'trail.somebody' : entry.application ? 'trail.program' : 'trail.server');
  const about = entry.about.map((reference) =>
    reference.startsWith('Patient/') || reference.startsWith('Practitioner/') ? nameFor(reference) : reference,
  );
  const facts: [string, string | undefined][] = [
    ['application', entry.application],
    ['address', entry.address],
    ['query', entry.query],
    ['words', entry.words],
    ['about', entry.about.join(', ')],
    ['request', entry.request],
    ['event', `AuditEvent/${entry.id}`],
  ];
  return (
    <details className={classes.entry}>
      <summary>
        <span className={classes.what}>
          <strong>{person}</strong> {t(`trail.did.${entry.deed}`)}{' '}
          {entry.wasRefused && (
            <Label icon={Ban} tone="bad">
              {t('trail.wasRefused')}
            </Label>
          )}{' '}
          {(entry.deed === 'emergency' || entry.deed === 'alarm') && (
            <Label icon={Siren} tone="wait">
              {t(`trail.deed.${entry.deed}`)}
            </Label>
          )}
        </span>
        <time className={classes.when} dateTime={entry.at}>
          {writeTime(entry.at, 'dateTime', locale, timeZone)}
        </time>
        <span className={classes.about}>{about.join(' · ') || entry.query?.split('?')[0] || ' '}</span>
      </summary>
      <dl className={classes.facts}>
        {facts
          .filter(([, value]) => value)
          .map(([name, value]) => (
            <Fact key={name} name={t(`trail.fact.${name}`)} value={value ?? ''} />
          ))}
      </dl>
    </details>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>
        <code>{value}</code>
      </dd>
    </>
  );
}
