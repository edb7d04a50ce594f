/** When visits can be booked: the week, days that differ, and how long visits are. */
import { useChange, useSearch } from '@medconsult/shared/fhir/hooks';
import type { Stored } from '@medconsult/shared/fhir/client';
import { extensionUrl, relative } from '@medconsult/shared/fhir/values';
import { useFormats } from '@medconsult/shared/format/context';
import { allZones, dayOf, writeDate, writeZone } from '@medconsult/shared/format/time';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { Page, Section } from '@medconsult/shared/ui/page';
import { DataState, FormProblem } from '@medconsult/shared/ui/state';
import { toast } from '@medconsult/shared/ui/toast';
import { When } from '@medconsult/shared/ui/when';
import { ActionIcon, Button, Checkbox, Group, NativeSelect, SegmentedControl, Text, TextInput } from '@mantine/core';
import { CalendarOff, CopyCheck, Plus, Trash2 } from 'lucide-react';
import type { HealthcareService, Schedule } from 'fhir/r4';
import { lazy, Suspense, useState } from 'react';
import { afterwards } from '../data/afterwards';
import { useAbsences, useBlock, useSchedule } from '../data/schedule';
import { useSelf } from '../data/visits';
import {
  type Exception,
  fromWeek,
  type Lengths,
  minutesInWeek,
  problemsOf,
  problemsOfWeek,
  readRules,
  type Rules,
  toWeek,
  type Week,
  type Weekday,
  WEEKDAYS,
  type Window,
  writeRules,
} from '../logic/availability';
import { startOfWeek } from '@medconsult/shared/format/zone';
import { lasting } from '../parts/visit-row';
import classes from './hours.module.css';

const BlockDialog = lazy(() => import('../parts/block-dialog'));

const HOUR = 60;
const DAY = 24 * HOUR;
/** What can be chosen, in minutes; the first is what counts where nothing is chosen. */
const CHOICES: Record<keyof Lengths, number[]> = {
  duration: [30, 10, 15, 20, 40, 45, 60, 90],
  interval: [10, 15, 20, 30, 60],
  bufferBefore: [0, 5, 10, 15, 30],
  bufferAfter: [0, 5, 10, 15, 30],
  minimumNotice: [0, HOUR, 2 * HOUR, 4 * HOUR, 12 * HOUR, DAY, 2 * DAY],
  horizon: [90 * DAY, 14 * DAY, 30 * DAY, 60 * DAY, 180 * DAY, 365 * DAY],
};

export default function Hours() {
  const t = useT();
  const { timeZone } = useFormats();
  const self = useSelf();
  const { asked, schedule } = useSchedule();
  const services = useSearch('HealthcareService', { active: true, _sort: 'name', _count: 100 });
  const fresh: Schedule = {
    resourceType: 'Schedule',
    meta: { profile: [extensionUrl('schedule')] },
    active: true,
    actor: [self],
  };
  return (
    <Page title={t('hours.title')} lead={t('hours.lead')} back={{ to: '/calendar', label: t('nav.calendar') }}>
      <DataState of={asked}>
        {() => (
          <DataState of={services}>
            {({ resources }) => (
              <>
                <Editor
                  key={schedule?.meta?.versionId ?? 'new'}
                  schedule={schedule ?? writeRules(fresh, [{ timezone: timeZone, hours: [], exceptions: [] }])}
                  services={resources}
                />
                {schedule && <Absences schedule={schedule} />}
              </>
            )}
          </DataState>
        )}
      </DataState>
    </Page>
  );
}

function Editor({ schedule, services }: { schedule: Schedule; services: Stored<HealthcareService>[] }) {
  const t = useT();
  const { fhir } = useSession();
  const { locale, timeZone } = useFormats();
  const [all, setAll] = useState(() => readRules(schedule));
  const [at, setAt] = useState(() =>
    Math.max(
      0,
      all.findIndex(({ service }) => !service),
    ),
  );
  const rules = all[at]!;
  const [weeks, setWeeks] = useState<Week[]>(() => all.map(({ hours }) => toWeek(hours)));
  const week = weeks[at]!;
  const [chosen, setChosen] = useState(() => schedule.actor.map(({ reference }) => relative(reference) ?? ''));
  const [tried, setTried] = useState(false);
  const save = useChange<Schedule, Schedule>({
    run: (changed) => (changed.id ? fhir.update(changed) : fhir.create(changed)),
    touches: ['Schedule', 'Slot'],
  });
  const change = (part: Partial<Rules>) => setAll(all.map((each, index) => (index === at ? { ...each, ...part } : each)));
  const setDay = (day: Weekday, windows: Window[]) =>
    setWeeks(weeks.map((each, index) => (index === at ? { ...each, [day]: windows } : each)));
  const copy = () =>
    setWeeks(weeks.map((each, index) => (index === at ? { ...each, tue: each.mon, wed: each.mon, thu: each.mon, fri: each.mon } : each)));

  const problems = problemsOfWeek(week);
  const others = problemsOf({ ...rules, hours: [] });
  const isWrong =
    weeks.some((each) => problemsOfWeek(each).length > 0) || all.some((each) => problemsOf({ ...each, hours: [] }).length > 0);
  const minutes = minutesInWeek(startOfWeek(dayOf(new Date(), timeZone)), { hours: fromWeek(week), exceptions: [] });
  const submit = () => {
    setTried(true);
    if (isWrong) return;
    const actors = schedule.actor.filter(({ reference }) => !relative(reference)?.startsWith('HealthcareService/'));
    const offered = services
      .filter(({ id }) => chosen.includes(`HealthcareService/${id}`))
      .map(({ id, name }) => ({ reference: `HealthcareService/${id}`, ...(name && { display: name }) }));
    const written = writeRules(
      { ...schedule, actor: [...actors, ...offered] },
      all.map((each, index) => ({ ...each, hours: fromWeek(weeks[index]!) })),
    );
    afterwards(save.mutateAsync(written), () => toast(t('app.saved')));
  };
  return (
    <>
      {all.length > 1 && (
        <NativeSelect
          mb="md"
          label={t('hours.for')}
          value={at}
          onChange={(event) => setAt(Number(event.currentTarget.value))}
          data={all.map(({ service }, index) => ({
            value: String(index),
            label: service ? (services.find(({ id }) => `HealthcareService/${id}` === service)?.name ?? service) : t('hours.forAll'),
          }))}
        />
      )}
      <Section
        title={t('hours.week')}
        actions={
          <Button
            variant="subtle"
            size="sm"
            leftSection={<CopyCheck size={18} aria-hidden="true" />}
            disabled={week.mon.length === 0}
            onClick={copy}
          >
            {t('hours.copy')}
          </Button>
        }
      >
        {WEEKDAYS.map((day) => (
          <Weekdays
            key={day}
            day={day}
            windows={week[day]}
            wrong={(row) =>
              tried || week[day][row]?.start ? problems.find((each) => each.day === day && each.row === row)?.code : undefined
            }
            onChange={(windows) => setDay(day, windows)}
          />
        ))}
      </Section>
      <Section
        title={t('hours.exceptions')}
        actions={
          <Button
            variant="subtle"
            size="sm"
            leftSection={<Plus size={18} aria-hidden="true" />}
            onClick={() => change({ exceptions: [...rules.exceptions, { date: '' }] })}
          >
            {t('hours.addException')}
          </Button>
        }
      >
        {rules.exceptions.length === 0 && <Text c="dimmed">{t('hours.noExceptions')}</Text>}
        {rules.exceptions.map((exception, row) => (
          <ExceptionRow
            key={row}
            exception={exception}
            wrong={tried || exception.date ? others.find((each) => each.list === 'exceptions' && each.row === row)?.code : undefined}
            onChange={(changed) =>
              change({ exceptions: rules.exceptions.flatMap((each, index) => (index === row ? (changed ? [changed] : []) : [each])) })
            }
          />
        ))}
      </Section>
      <Section title={t('hours.visits')}>
        <div className={classes.lengths}>
          {(Object.keys(CHOICES) as (keyof Lengths)[]).map((name) => {
            const value = rules[name];
            const choices = CHOICES[name].includes(value ?? 0) || value === undefined ? CHOICES[name] : [...CHOICES[name], value];
            const sorted = [...choices].sort((one, other) => one - other);
            return (
              <NativeSelect
                key={name}
                label={t(`hours.${name}`)}
                value={value ?? ''}
                onChange={(event) => change({ [name]: event.currentTarget.value === '' ? undefined : Number(event.currentTarget.value) })}
                data={[
                  {
                    value: '',
                    label: t('hours.usual', { time: name === 'interval' ? t('hours.asDuration') : lengthText(CHOICES[name][0]!, locale) }),
                  },
                  ...sorted.map((each) => ({ value: String(each), label: lengthText(each, locale) })),
                ]}
              />
            );
          })}
          {!rules.service && (
            <NativeSelect
              label={t('hours.zone')}
              description={writeZone(rules.timezone ?? timeZone, locale)}
              value={rules.timezone}
              onChange={(event) => change({ timezone: event.currentTarget.value })}
              data={allZones()}
            />
          )}
        </div>
      </Section>
      {!rules.service && (
        <Section title={t('hours.services')}>
          <Checkbox.Group value={chosen} onChange={setChosen} aria-label={t('hours.services')}>
            <Group gap="lg">
              {services.map(({ id, name }) => (
                <Checkbox key={id} value={`HealthcareService/${id}`} label={name} />
              ))}
            </Group>
          </Checkbox.Group>
        </Section>
      )}
      <FormProblem error={save.error} />
      <div className={classes.save}>
        <Text component="span" role="status" c={tried && isWrong ? 'var(--mc-bad)' : undefined}>
          {tried && isWrong ? t('hours.wrong') : t('hours.sum', { time: lasting(minutes, locale) })}
        </Text>
        <Button loading={save.isPending} onClick={submit}>
          {t('app.save')}
        </Button>
      </div>
    </>
  );
}

/** `45 min`, `2 days` */
function lengthText(minutes: number, locale: string): string {
  if (minutes === 0 || minutes % DAY !== 0) return lasting(minutes, locale);
  return new Intl.NumberFormat(locale, { style: 'unit', unit: 'day', unitDisplay: 'long' }).format(minutes / DAY);
}

function Weekdays({
  day,
  windows,
  wrong,
  onChange,
}: {
  day: Weekday;
  windows: Window[];
  wrong: (row: number) => string | undefined;
  onChange: (windows: Window[]) => void;
}) {
  const t = useT();
  const { locale } = useFormats();
  // 5 January 1970 was a Monday.
  const name = new Intl.DateTimeFormat(locale, { weekday: 'long', timeZone: 'UTC' }).format(Date.UTC(1970, 0, 5 + WEEKDAYS.indexOf(day)));
  const set = (row: number, change: Partial<Window>) =>
    onChange(windows.map((each, index) => (index === row ? { ...each, ...change } : each)));
  const last = windows.at(-1);
  const add = () => onChange([...windows, last ? { start: last.end, end: '' } : { start: '09:00', end: '17:00' }]);
  return (
    <fieldset className={classes.day} style={{ border: 0, margin: 0, paddingInline: 0 }}>
      <legend style={{ position: 'absolute', clip: 'rect(0 0 0 0)' }}>{name}</legend>
      <div className={classes.name} aria-hidden="true">
        {name}
      </div>
      <div className={classes.windows}>
        {windows.length === 0 && <span className={classes.none}>{t('hours.closed')}</span>}
        {windows.map((window, row) => (
          <div key={row} className={classes.window}>
            <TextInput
              type="time"
              aria-label={t('hours.start', { day: name })}
              value={window.start}
              error={Boolean(wrong(row))}
              onChange={(event) => set(row, { start: event.currentTarget.value })}
            />
            <span aria-hidden="true">–</span>
            <TextInput
              type="time"
              aria-label={t('hours.end', { day: name })}
              value={window.end}
              error={Boolean(wrong(row))}
              onChange={(event) => set(row, { end: event.currentTarget.value })}
            />
            <ActionIcon aria-label={t('hours.remove', { day: name })} onClick={() => onChange(windows.filter((_, index) => index !== row))}>
              <Trash2 size={18} aria-hidden="true" />
            </ActionIcon>
            {(window.from || window.until) && (
              <span className={classes.bounded}>
                {[
                  window.from && t('hours.fromDay', { day: writeDate(window.from, locale) }),
                  window.until && t('hours.untilDay', { day: writeDate(window.until, locale) }),
                ]
                  .filter(Boolean)
                  .join(' ')}
              </span>
            )}
            {wrong(row) && <p className={classes.wrong}>{t(`hours.problem.${wrong(row)}`)}</p>}
          </div>
        ))}
      </div>
      <div>
        <Button
          variant="subtle"
          size="sm"
          leftSection={<Plus size={18} aria-hidden="true" />}
          onClick={add}
          aria-label={t('hours.addTo', { day: name })}
        >
          {t('hours.add')}
        </Button>
      </div>
    </fieldset>
  );
}

function ExceptionRow({
  exception,
  wrong,
  onChange,
}: {
  exception: Exception;
  wrong: string | undefined;
  onChange: (exception: Exception | undefined) => void;
}) {
  const t = useT();
  const { timeZone } = useFormats();
  const isClosed = exception.start === undefined;
  return (
    <div className={classes.exception}>
      <TextInput
        type="date"
        label={t('hours.date')}
        min={dayOf(new Date(), timeZone)}
        value={exception.date}
        error={Boolean(wrong)}
        onChange={(event) => onChange({ ...exception, date: event.currentTarget.value })}
      />
      <SegmentedControl
        aria-label={t('hours.kind')}
        value={isClosed ? 'closed' : 'open'}
        onChange={(value) =>
          onChange(value === 'closed' ? { date: exception.date } : { date: exception.date, start: '09:00', end: '12:00' })
        }
        data={[
          { value: 'closed', label: t('hours.closed') },
          { value: 'open', label: t('hours.other') },
        ]}
      />
      {!isClosed && (
        <>
          <TextInput
            type="time"
            w={130}
            label={t('hours.from')}
            value={exception.start}
            onChange={(event) => onChange({ ...exception, start: event.currentTarget.value })}
          />
          <TextInput
            type="time"
            w={130}
            label={t('hours.until')}
            value={exception.end}
            onChange={(event) => onChange({ ...exception, end: event.currentTarget.value })}
          />
        </>
      )}
      <ActionIcon aria-label={t('hours.removeException')} onClick={() => onChange(undefined)}>
        <Trash2 size={18} aria-hidden="true" />
      </ActionIcon>
      {wrong && <p className={classes.wrong}>{t(`hours.problem.${wrong}`)}</p>}
    </div>
  );
}

/** Time off that lies ahead. */
function Absences({ schedule }: { schedule: Schedule }) {
  const t = useT();
  const [blocking, setBlocking] = useState(false);
  const [now] = useState(() => Date.now());
  const { asked, absences } = useAbsences(schedule, now, now + 730 * DAY * 60_000);
  const { lift } = useBlock(schedule);
  return (
    <div style={{ marginTop: '1rem' }}>
      <Section
        title={t('hours.absences')}
        actions={
          <Button variant="subtle" size="sm" leftSection={<CalendarOff size={18} aria-hidden="true" />} onClick={() => setBlocking(true)}>
            {t('block.open')}
          </Button>
        }
      >
        <DataState of={asked} isEmpty={() => absences.length === 0} empty={<Text c="dimmed">{t('hours.noAbsences')}</Text>}>
          {() =>
            absences.map((slot) => (
              <div key={slot.id} className={classes.exception} style={{ alignItems: 'center', justifyContent: 'space-between' }}>
                <span>
                  <When at={slot.start} /> – <When at={slot.end} />
                  {slot.comment && (
                    <Text component="span" c="dimmed">
                      {' '}
                      · {slot.comment}
                    </Text>
                  )}
                </span>
                <Button
                  variant="default"
                  size="sm"
                  loading={lift.isPending && lift.variables.id === slot.id}
                  onClick={() => afterwards(lift.mutateAsync(slot), () => toast(t('block.lifted')))}
                >
                  {t('block.lift')}
                </Button>
              </div>
            ))
          }
        </DataState>
        <FormProblem error={lift.error} />
      </Section>
      {blocking && (
        <Suspense>
          <BlockDialog schedule={schedule} onClose={() => setBlocking(false)} />
        </Suspense>
      )}
    </div>
  );
}
