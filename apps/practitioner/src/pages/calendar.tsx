/** The calendar: a week or a day, visits that can be moved, and time off. */
import { useFormats } from '@medconsult/shared/format/context';
import { addDays, dayOf } from '@medconsult/shared/format/time';
import { useT } from '@medconsult/shared/texts/context';
import { Page } from '@medconsult/shared/ui/page';
import { DataState } from '@medconsult/shared/ui/state';
import { toast } from '@medconsult/shared/ui/toast';
import { When, ZoneNote } from '@medconsult/shared/ui/when';
import { ActionIcon, Button, SegmentedControl, Skeleton } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import { CalendarClock, CalendarOff, ChevronLeft, ChevronRight } from 'lucide-react';
import { lazy, Suspense, useEffect, useState } from 'react';
import { Link, useSearchParams } from 'wouter';
import { openHours, useAbsences, useSchedule } from '../data/schedule';
import { instant, patientName, serviceOf, useVisits } from '../data/visits';
import { type Opening, stepOpening } from '../logic/week';
import { type Day, instantOf, startOfWeek } from '@medconsult/shared/format/zone';
import { useOpenings } from '../parts/openings';
import { rangeOf, type VisitItem, WeekGrid } from '../parts/week-grid';
import classes from '../parts/week-grid.module.css';

const BlockDialog = lazy(() => import('../parts/block-dialog'));
const VisitModal = lazy(() => import('../parts/visit-modal'));
const VisitDialog = lazy(() => import('../parts/visit-dialogs'));

type View = 'week' | 'day';

/** Visits that take place or will: those that do not leave the time to others. */
const SHOWN = 'pending,booked,arrived,checked-in,fulfilled,noshow';

export default function Calendar() {
  const t = useT();
  const { timeZone } = useFormats();
  const isWide = useMediaQuery('(min-width: 48em)', true, { getInitialValueInEffect: false });
  const [search, setSearch] = useSearchParams();
  const view: View = (search.get('view') as View | null) ?? (isWide ? 'week' : 'day');
  const today = dayOf(new Date(), timeZone);
  const anchor = /^\d{4}-\d\d-\d\d$/.test(search.get('day') ?? '') ? search.get('day')! : today;
  const first = view === 'week' ? startOfWeek(anchor) : anchor;
  const days: Day[] = view === 'week' ? Array.from({ length: 7 }, (_, index) => addDays(first, index)) : [first];
  const [from, until] = rangeOf(days, timeZone);

  const { asked, visits, patientOf } = useVisits(from, until, { status: SHOWN });
  const { schedule } = useSchedule();
  const { absences } = useAbsences(schedule, from, until);
  const [opened, setOpened] = useState<VisitItem>();
  const [moving, setMoving] = useState<{ item: VisitItem; dragged: boolean }>();
  const [target, setTarget] = useState<{ item: VisitItem; to: Opening }>();
  const [blocking, setBlocking] = useState(false);
  const { asked: askedOpenings, openings } = useOpenings(moving?.item.visit.appointment, Math.max(from, Date.now()), until, 1000);
  const others = openings.filter(({ start }) => start !== moving?.item.start);

  const items: VisitItem[] = visits
    .filter(({ standing }) => standing !== 'held')
    .map((visit) => ({
      id: visit.appointment.id ?? '',
      start: visit.start,
      end: visit.end,
      visit,
      name: patientName(visit.appointment, patientOf(visit)),
      service: serviceOf(visit.appointment),
    }));
  const go = (change: { day?: Day; view?: View }) =>
    setSearch(
      (before) => {
        const next = new URLSearchParams(before);
        for (const [name, value] of Object.entries(change)) next.set(name, value);
        return next;
      },
      { replace: true },
    );
  const step = view === 'week' ? 7 : 1;
  const drop = (item: VisitItem, to: Opening | undefined) => {
    setMoving(undefined);
    if (to) setTarget({ item, to });
    else toast(t('calendar.notFree'));
  };

  // Who chooses by keyboard begins at the free time nearest to the visit.
  const isChoosing = moving !== undefined && !moving.dragged && askedOpenings.data !== undefined;
  const start = moving?.item.start ?? 0;
  const nearest = isChoosing ? (stepOpening(others, start, 'ArrowDown', timeZone) ?? others.at(-1))?.id : undefined;
  useEffect(() => {
    if (nearest) document.getElementById(`to-${nearest}`)?.focus();
  }, [nearest]);

  return (
    <Page
      title={t('calendar.title')}
      lead={<ZoneNote />}
      actions={
        <>
          <Button
            variant="default"
            leftSection={<CalendarOff size={18} aria-hidden="true" />}
            disabled={!schedule}
            onClick={() => setBlocking(true)}
          >
            {t('block.open')}
          </Button>
          <Button component={Link} to="/hours" variant="default" leftSection={<CalendarClock size={18} aria-hidden="true" />}>
            {t('nav.hours')}
          </Button>
        </>
      }
    >
      <div className={classes.bar}>
        <ActionIcon variant="default" aria-label={t(`calendar.previous.${view}`)} onClick={() => go({ day: addDays(anchor, -step) })}>
          <ChevronLeft size={20} aria-hidden="true" />
        </ActionIcon>
        <ActionIcon variant="default" aria-label={t(`calendar.next.${view}`)} onClick={() => go({ day: addDays(anchor, step) })}>
          <ChevronRight size={20} aria-hidden="true" />
        </ActionIcon>
        <Button variant="default" onClick={() => go({ day: today })}>
          {t('time.today')}
        </Button>
        <span className={classes.range} aria-live="polite">
          {view === 'day' ? (
            <When at={instant(instantOf(first, 720, timeZone))} style="day" />
          ) : (
            <When at={instant(instantOf(first, 720, timeZone))} end={instant(instantOf(addDays(first, 6), 720, timeZone))} style="date" />
          )}
        </span>
        <span className={classes.fill} />
        <SegmentedControl
          aria-label={t('calendar.view')}
          value={view}
          onChange={(value) => go({ view: value as View })}
          data={[
            { value: 'day', label: t('calendar.day') },
            { value: 'week', label: t('calendar.week') },
          ]}
        />
      </div>
      <DataState of={asked} skeleton={<Skeleton height={640} radius="lg" />}>
        {() => (
          <WeekGrid
            days={days}
            items={items}
            open={openHours(schedule, from, until)}
            absences={absences}
            moving={moving && { ...moving, openings: others }}
            onOpen={setOpened}
            onDrag={(item) => setMoving({ item, dragged: true })}
            onDrop={drop}
            onStop={() => setMoving(undefined)}
          />
        )}
      </DataState>
      <div role="status">
        {moving && !moving.dragged && (
          <div className={classes.notice}>
            <span>
              {askedOpenings.data === undefined
                ? t('app.loading')
                : others.length > 0
                  ? t('calendar.choose', { name: moving.item.name })
                  : t('calendar.noOpenings')}
            </span>
            <Button variant="default" onClick={() => setMoving(undefined)}>
              {t('app.cancel')}
            </Button>
          </div>
        )}
      </div>
      <Suspense>
        {opened && (
          <VisitModal
            item={opened}
            patient={patientOf(opened.visit)}
            onClose={() => setOpened(undefined)}
            onMove={() => {
              setMoving({ item: opened, dragged: false });
              setOpened(undefined);
            }}
          />
        )}
        {target && (
          <VisitDialog
            ask="move"
            visit={target.item.visit}
            patient={patientOf(target.item.visit)}
            to={target.to}
            onClose={() => setTarget(undefined)}
          />
        )}
        {blocking && schedule && <BlockDialog schedule={schedule} onClose={() => setBlocking(false)} />}
      </Suspense>
    </Page>
  );
}
