/** Who opened the record. */
import { Switch } from '@mantine/core';
import { Eye, FilePlus2, KeyRound, Pencil, Search, ShieldAlert, ShieldCheck, Trash2, Zap, type LucideIcon } from 'lucide-react';
import { useCallback, useEffect, useMemo, useState } from 'react';
import { useSearch, useSearchPages } from '@medconsult/shared/fhir/hooks';
import { nameOf } from '@medconsult/shared/fhir/values';
import { useFormats } from '@medconsult/shared/format/context';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { VirtualList } from '@medconsult/shared/ui/list';
import { Page } from '@medconsult/shared/ui/page';
import { DataState, Empty } from '@medconsult/shared/ui/state';
import { Label } from '@medconsult/shared/ui/status';
import { openedOf, type Opened } from './access';
import classes from './record.module.css';

const ICONS: Record<Opened['did'], LucideIcon> = {
  added: FilePlus2,
  read: Eye,
  changed: Pencil,
  removed: Trash2,
  searched: Search,
  used: Zap,
  signedIn: KeyRound,
  allowed: ShieldCheck,
  emergency: ShieldAlert,
};
/** The apps that come with the server, by the ids under which it registers them. */
const APPS = ['medconsult-patient', 'medconsult-practitioner', 'medconsult-admin'];

/** Rows that fill a window. */
const ENOUGH = 20;

export default function Access() {
  const t = useT();
  const { patient, user } = useSession();
  const [withOwn, setWithOwn] = useState(false);
  const events = useSearchPages('AuditEvent', { patient: `Patient/${patient ?? ''}`, _sort: '-date', _count: 100 });
  const all = useMemo(() => (events.data?.resources ?? []).map((event) => ({ key: event.id, ...openedOf(event) })), [events.data]);
  const isOwn = useCallback((each: Opened) => each.person === user.reference || each.byAccount, [user.reference]);
  const listed = useMemo(() => (withOwn ? all : all.filter((each) => !isOwn(each))), [all, withOwn, isOwn]);
  const ids = useMemo(() => [...new Set(all.flatMap((each) => /^Practitioner\/(.+)/.exec(each.person ?? '')?.[1] ?? []))].sort().slice(0, 100), [all]);
  const people = useSearch('Practitioner', ids.length > 0 ? { _id: ids.join(','), _count: 100 } : undefined);
  const names = useMemo(() => new Map((people.data?.resources ?? []).map((each) => [`Practitioner/${each.id}`, nameOf(each.name)])), [people.data]);
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = events;
  const onEnd = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);
  // Where the newest are all the patient's own, those of others are further down.
  useEffect(() => {
    if (events.data && listed.length < ENOUGH) onEnd();
  }, [events.data, listed.length, onEnd]);
  return (
    <Page title={t('access.title')} lead={t('access.lead')}>
      <Switch mb="md" label={t('access.own')} checked={withOwn} onChange={(event) => setWithOwn(event.currentTarget.checked)} />
      <DataState of={{ data: events.data && (listed.length > 0 || !hasNextPage) ? listed : undefined, error: events.error, refetch: events.refetch }} isEmpty={(found) => found.length === 0 && !hasNextPage} empty={<Empty icon={Eye} title={t('access.none')} text={t('access.noneText')} />}>
        {(found) => (
          <VirtualList rows={found} estimate={72} keyOf={(each) => each.key} label={t('access.title')} onEnd={onEnd}>
            {(each) => <Row opened={each} who={isOwn(each) ? t('access.you') : (names.get(each.person ?? '') ?? t(each.person ? 'access.somebody' : 'access.practice'))} />}
          </VirtualList>
        )}
      </DataState>
    </Page>
  );
}

function Row({ opened, who }: { opened: Opened; who: string }) {
  const t = useT();
  const { time, locale } = useFormats();
  const Icon = ICONS[opened.did];
  // A type that has no name here is no news to a patient.
  const types = opened.types.map((type) => ({ type, name: t(`type.${type}`) })).filter(({ type, name }) => name !== `type.${type}`);
  const what = types.length > 0 ? new Intl.ListFormat(locale).format(types.map(({ name }) => name)) : t('access.record');
  const app = opened.app && (APPS.includes(opened.app) ? t(`access.app.${opened.app}`) : opened.app);
  return (
    <div className={classes.event}>
      <span className={classes.eventIcon} data-type={opened.did === 'emergency' ? 'AllergyIntolerance' : undefined}><Icon size={19} aria-hidden="true" /></span>
      <div className={classes.eventText}>
        <span className={classes.eventTitle}>{who}</span>
        <span className={classes.quiet}>{[t(`access.${opened.did}`, { what }), app && t('access.with', { app })].filter(Boolean).join(' · ')}</span>
        {(opened.did === 'emergency' || opened.wasRefused) && <span><Label tone="bad">{t(opened.wasRefused ? 'access.refused' : 'access.emergencyLabel')}</Label></span>}
      </div>
      <time className={classes.eventTime} dateTime={opened.at}>{time(opened.at, 'dateTime')}</time>
    </div>
  );
}
