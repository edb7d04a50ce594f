/** Who opened the record. */
import { Switch } from '@mantine/core';
import { Eye, FilePlus2, Pencil, ShieldAlert, Trash2, Zap, type LucideIcon } from 'lucide-react';
import { useCallback, useMemo, useState } from 'react';
import { useSearchPages } from '@medconsult/shared/fhir/hooks';
import { useFormats } from '@medconsult/shared/format/context';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { VirtualList } from '@medconsult/shared/ui/list';
import { Page } from '@medconsult/shared/ui/page';
import { DataState, Empty } from '@medconsult/shared/ui/state';
import { Label } from '@medconsult/shared/ui/status';
import { openedOf, type Opened } from './access';
import classes from './record.module.css';

const ICONS: Record<Opened['action'], LucideIcon> = { C: FilePlus2, R: Eye, U: Pencil, D: Trash2, E: Zap };

export default function Access() {
  const t = useT();
  const { patient, user } = useSession();
  const [withOwn, setWithOwn] = useState(false);
  const events = useSearchPages('AuditEvent', { patient: `Patient/${patient ?? ''}`, _sort: '-date', _count: 100 });
  const all = useMemo(() => (events.data?.resources ?? []).map((event) => ({ key: event.id, ...openedOf(event) })), [events.data]);
  const listed = useMemo(() => (withOwn ? all : all.filter((each) => each.reference !== user.reference)), [all, withOwn, user.reference]);
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = events;
  const onEnd = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage]);
  return (
    <Page title={t('access.title')} lead={t('access.lead')}>
      <Switch mb="md" label={t('access.own')} checked={withOwn} onChange={(event) => setWithOwn(event.currentTarget.checked)} />
      <DataState of={{ data: events.data && listed, error: events.error, refetch: events.refetch }} isEmpty={(found) => found.length === 0 && !hasNextPage} empty={<Empty icon={Eye} title={t('access.none')} text={t('access.noneText')} />}>
        {(found) => (
          <VirtualList rows={found} estimate={72} keyOf={(each) => each.key} label={t('access.title')} onEnd={onEnd}>
            {(each) => <Row opened={each} isOwn={each.reference === user.reference} />}
          </VirtualList>
        )}
      </DataState>
    </Page>
  );
}

function Row({ opened, isOwn }: { opened: Opened; isOwn: boolean }) {
  const t = useT();
  const { time } = useFormats();
  const Icon = opened.isEmergency ? ShieldAlert : ICONS[opened.action];
  const types = opened.types.map((type) => t(`type.${type}`)).map((text) => text.replace(/^type\./, ''));
  return (
    <div className={classes.event}>
      <span className={classes.eventIcon} data-type={opened.isEmergency ? 'AllergyIntolerance' : undefined}><Icon size={19} aria-hidden="true" /></span>
      <div className={classes.eventText}>
        <span className={classes.eventTitle}>{isOwn ? t('access.you') : opened.who || t('access.practice')}</span>
        <span className={classes.quiet}>
          {[t(`access.${opened.action}`, { what: types.length > 0 ? new Intl.ListFormat(document.documentElement.lang).format(types) : t('access.record') }), opened.app && t('access.with', { app: opened.app })].filter(Boolean).join(' · ')}
        </span>
        {opened.isEmergency && <span><Label tone="bad">{t('access.emergency')}</Label></span>}
      </div>
      <time className={classes.eventTime} dateTime={opened.at}>{time(opened.at, 'dateTime')}</time>
    </div>
  );
}
