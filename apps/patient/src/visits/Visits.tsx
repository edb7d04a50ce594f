/** All visits: those to come, and those that were. */
import { Button, SegmentedControl, Text } from '@mantine/core';
import { CalendarPlus, CalendarX } from 'lucide-react';
import { useMemo } from 'react';
import { Link, useSearchParams } from 'wouter';
import { useSearchPages } from '@medconsult/shared/fhir/hooks';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { Page } from '@medconsult/shared/ui/page';
import { DataState, Empty } from '@medconsult/shared/ui/state';
import { ZoneNote } from '@medconsult/shared/ui/when';
import { isAhead } from './visits';
import { VisitCard } from './VisitCard';
import classes from './visits.module.css';

export default function Visits() {
  const t = useT();
  const { patient } = useSession();
  const [params, setParams] = useSearchParams();
  const shows = params.get('shows') === 'past' ? 'past' : 'ahead';
  const visits = useSearchPages('Appointment', { patient: `Patient/${patient ?? ''}`, _sort: '-date', _count: 50 });
  const all = visits.data?.resources;
  const listed = useMemo(() => {
    const now = Date.now();
    const at = (start: string | undefined) => Date.parse(start ?? '');
    // A hold that nobody used is nobody's visit.
    const ahead = (all ?? []).filter((visit) => isAhead(visit, now)).sort((a, b) => at(a.start) - at(b.start));
    const past = (all ?? []).filter((visit) => !isAhead(visit, now) && !visit.meta?.tag?.some((tag) => tag.code === 'hold-expired'));
    return { ahead, past };
  }, [all]);

  return (
    <Page title={t('visits.title')} lead={<ZoneNote />} actions={<Button component={Link} to="/book" leftSection={<CalendarPlus size={18} aria-hidden="true" />}>{t('home.book')}</Button>}>
      <SegmentedControl
        mb="md"
        size="md"
        value={shows}
        onChange={(value) => setParams(value === 'past' ? { shows: 'past' } : {}, { replace: true })}
        data={[
          { value: 'ahead', label: t('visits.ahead') },
          { value: 'past', label: t('visits.past') },
        ]}
      />
      <DataState
        of={{ data: all && listed[shows], error: visits.error, refetch: visits.refetch }}
        isEmpty={(found) => found.length === 0}
        empty={<Empty icon={CalendarX} title={t(`visits.none.${shows}`)} text={t(`visits.noneText.${shows}`)} action={shows === 'ahead' && <Button component={Link} to="/book">{t('home.book')}</Button>} />}
      >
        {(found) => (
          <ul className={classes.cards}>
            {found.map((visit) => (
              <li key={visit.id}>
                <VisitCard visit={visit} />
              </li>
            ))}
          </ul>
        )}
      </DataState>
      {shows === 'past' && visits.hasNextPage && <Button mt="md" variant="default" loading={visits.isFetchingNextPage} onClick={() => void visits.fetchNextPage()}>{t('app.more')}</Button>}
      {listed[shows].length > 0 && <Text c="dimmed" fz="sm" mt="lg">{t('visits.feedHint')} <Link to="/settings">{t('nav.settings')}</Link></Text>}
    </Page>
  );
}
