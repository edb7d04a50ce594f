/** A week at a time: the days, and the free times of one of them in blocks, on the viewer's own clock. */
import { ActionIcon, Button, Skeleton, VisuallyHidden } from '@mantine/core';
import { CalendarX, ChevronLeft, ChevronRight } from 'lucide-react';
import type { Appointment } from 'fhir/r4';
import { useEffect, useState } from 'react';
import { useFormats } from '@medconsult/shared/format/context';
import { addDays, daysBetween } from '@medconsult/shared/format/time';
import { useT } from '@medconsult/shared/texts/context';
import { Empty, Problem } from '@medconsult/shared/ui/state';
import { ZoneNote } from '@medconsult/shared/ui/when';
import { useTimes, useToday } from './hooks';
import { blocksOf, daysOf } from './times';
import classes from './booking.module.css';

const WEEK = 7;

/**
 * `ignored`: a visit whose own time counts as free. `taken`: what is being held just now. `onPick` gets the proposal.
 */
export function TimePicker({ practitioner, service, ignored, startAt, busy, onPick }: {
  practitioner: string;
  service: string;
  ignored?: string;
  /** The day to show first. */
  startAt?: string | undefined;
  /** The id of the proposal that was picked and is on its way. */
  busy: string | undefined;
  onPick: (proposal: Appointment) => void;
}) {
  const t = useT();
  const { timeZone, locale, time } = useFormats();
  const today = useToday();
  const [first, setFirst] = useState(() => (startAt && startAt > today ? startAt : today));
  const [chosen, setChosen] = useState<string | undefined>(startAt);
  const last = addDays(first, WEEK - 1);
  const times = useTimes(practitioner, service, first, last, ignored);
  const days = daysOf(times.proposals, first, WEEK, timeZone);
  const firstFree = days.find((day) => day.times.length > 0);
  const shown = days.find((day) => day.day === chosen && day.times.length > 0) ?? firstFree;
  const isOfThisWeek = times.data !== undefined && !times.isPlaceholderData;
  // A service of its own has its own times.
  useEffect(() => setChosen(startAt), [service, startAt]);

  const noon = (day: string) => `${day}T12:00:00Z`;
  const dayFormat = (options: Intl.DateTimeFormatOptions, day: string) => new Intl.DateTimeFormat(locale, { ...options, timeZone: 'UTC' }).format(new Date(noon(day)));
  const turn = (days: number) => {
    setFirst((before) => {
      const next = addDays(before, days);
      return daysBetween(today, next) < 0 ? today : next;
    });
    setChosen(undefined);
  };

  return (
    <div>
      <div className={classes.weekBar}>
        <ActionIcon aria-label={t('times.earlier')} disabled={first === today} onClick={() => turn(-WEEK)}>
          <ChevronLeft aria-hidden="true" />
        </ActionIcon>
        <span className={classes.weekName}>{new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'long', timeZone: 'UTC' }).formatRange(new Date(noon(first)), new Date(noon(last)))}</span>
        <ActionIcon aria-label={t('times.later')} onClick={() => turn(WEEK)}>
          <ChevronRight aria-hidden="true" />
        </ActionIcon>
      </div>
      <div className={classes.strip} role="group" aria-label={t('times.days')}>
        {days.map(({ day, times: free }) => (
          <button
            key={day}
            type="button"
            className={classes.day}
            aria-pressed={day === shown?.day}
            disabled={free.length === 0}
            onClick={() => setChosen(day)}
          >
            <span className={classes.weekday}>{dayFormat({ weekday: 'short' }, day)}</span>
            <span className={classes.date}>{dayFormat({ day: 'numeric' }, day)}</span>
            <VisuallyHidden>{dayFormat({ month: 'long' }, day)}</VisuallyHidden>
            <span className={classes.free}>{!isOfThisWeek ? '\u00a0' : free.length > 0 ? t('times.free', { count: free.length }) : <span aria-label={t('times.noneHere')} role="img">–</span>}</span>
          </button>
        ))}
      </div>
      {times.error && !times.data ? (
        <Problem error={times.error} retry={() => void times.refetch()} />
      ) : !isOfThisWeek ? (
        <div role="status" aria-label={t('app.loading')} className={classes.times}>
          {Array.from({ length: 10 }, (_, index) => <Skeleton key={index} height={46} radius="md" />)}
        </div>
      ) : !shown ? (
        <Empty icon={CalendarX} title={t('times.none')} text={t('times.noneText')} action={<Button variant="default" onClick={() => turn(WEEK)}>{t('times.next')}</Button>} />
      ) : (
        <>
          <p className={classes.zone}><ZoneNote /></p>
          {blocksOf(shown).map(({ part, times: free }) => (
            <fieldset key={`${part}-${free[0]?.id ?? ''}`} className={classes.block}>
              <legend className={classes.blockName}>{t(`times.${part}`)}</legend>
              <ul className={classes.times}>
                {free.map((proposal) => (
                  <li key={proposal.id}>
                    <button
                      type="button"
                      className={classes.time}
                      data-busy={busy === proposal.id || undefined}
                      disabled={busy !== undefined}
                      onClick={() => onPick(proposal)}
                    >
                      {time(proposal.start ?? '', 'time')}
                      <VisuallyHidden>, {dayFormat({ weekday: 'long', day: 'numeric', month: 'long' }, shown.day)}</VisuallyHidden>
                    </button>
                  </li>
                ))}
              </ul>
            </fieldset>
          ))}
        </>
      )}
    </div>
  );
}
