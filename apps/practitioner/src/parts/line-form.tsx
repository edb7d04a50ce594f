/** One medicine of a prescription: what, how much, when, for how long. */
import { useFormats } from '@medconsult/shared/format/context';
import { useT } from '@medconsult/shared/texts/context';
import { ActionIcon, Checkbox, NativeSelect, NumberInput, TextInput } from '@mantine/core';
import { Trash2 } from 'lucide-react';
import { type ReactNode, useId } from 'react';
import { DAYS, type Intake, MOMENTS, neededOf, type Rhythm, type Route, ROUTES, sentenceOf } from '../logic/dosage';
import { type Line, type LineProblem, problemsOfLine } from '../logic/sheet';
import classes from '../pages/prescribe.module.css';

const UNITS = ['tablet', 'capsule', 'ml', 'drop', 'puff', 'patch', 'suppository', 'application', 'sachet', 'unit', 'mg', 'g'];

const FIRST: { [K in Rhythm['kind']]: Extract<Rhythm, { kind: K }> } = {
  daily: { kind: 'daily', times: 1 },
  moments: { kind: 'moments', moments: ['MORN'] },
  hours: { kind: 'hours', every: 8 },
  weekly: { kind: 'weekly', days: ['mon'] },
  once: { kind: 'once' },
};

export function LineForm({
  line,
  number,
  known,
  tried,
  onChange,
  onRemove,
}: {
  line: Line;
  /** Which of the sheet it is, from 1. */
  number: number;
  /** Medicines that the patient had before, to choose from. */
  known: string[];
  /** Whether it is time to tell what is missing. */
  tried: boolean;
  onChange: (line: Line) => void;
  onRemove?: (() => void) | undefined;
}) {
  const t = useT();
  const { locale } = useFormats();
  const list = useId();
  const units = useId();
  const { intake } = line;
  const problems = new Set(problemsOfLine(line));
  const wrong = (problem: LineProblem) => tried && problems.has(problem) && t(`prescribe.problem.${problem}`);
  const set = (change: Partial<Intake>) => onChange({ ...line, intake: { ...intake, ...change } });
  const numberIn = (value: string | number) => (value === '' ? undefined : Number(value));
  const needed = neededOf(intake);
  return (
    <section className={classes.line} aria-label={line.medicine || t('prescribe.line', { count: number })}>
      <div className={classes.lineHead}>
        <h2>{t('prescribe.line', { count: number })}</h2>
        {onRemove && (
          <ActionIcon aria-label={t('prescribe.remove', { name: line.medicine || String(number) })} onClick={onRemove}>
            <Trash2 size={18} aria-hidden="true" />
          </ActionIcon>
        )}
      </div>
      <div className={classes.fields}>
        <TextInput
          className={classes.wide}
          required
          label={t('prescribe.medicine')}
          description={t('prescribe.medicineHint')}
          list={list}
          autoComplete="off"
          maxLength={200}
          value={line.medicine}
          error={wrong('medicine')}
          onChange={(event) => onChange({ ...line, medicine: event.currentTarget.value })}
        />
        <datalist id={list}>
          {known.map((each) => (
            <option key={each} value={each} />
          ))}
        </datalist>
        <NumberInput
          required
          label={t('prescribe.amount')}
          min={0}
          step={0.5}
          decimalScale={4}
          value={Number.isNaN(intake.amount) ? '' : intake.amount}
          error={wrong('amount')}
          onChange={(value) => set({ amount: numberIn(value) ?? Number.NaN })}
        />
        <TextInput
          required
          label={t('prescribe.unit')}
          list={units}
          value={intake.unit}
          error={wrong('unit')}
          maxLength={40}
          onChange={(event) => set({ unit: event.currentTarget.value })}
        />
        <datalist id={units}>
          {UNITS.map((each) => (
            <option key={each} value={each} />
          ))}
        </datalist>
        <NativeSelect
          label={t('prescribe.route')}
          value={intake.route ?? ''}
          onChange={(event) => set({ route: (event.currentTarget.value || undefined) as Route | undefined })}
          data={[
            { value: '', label: t('prescribe.route.none') },
            ...Object.keys(ROUTES).map((route) => ({ value: route, label: t(`prescribe.route.${route}`) })),
          ]}
        />
        <NativeSelect
          label={t('prescribe.rhythm')}
          value={intake.rhythm.kind}
          onChange={(event) => set({ rhythm: FIRST[event.currentTarget.value as Rhythm['kind']] })}
          data={Object.keys(FIRST).map((kind) => ({ value: kind, label: t(`prescribe.rhythm.${kind}`) }))}
        />
        <RhythmFields rhythm={intake.rhythm} wrong={wrong('rhythm')} onChange={(rhythm) => set({ rhythm })} />
        {intake.rhythm.kind !== 'once' && (
          <NumberInput
            label={t('prescribe.days')}
            placeholder={t('prescribe.days.none')}
            min={1}
            max={730}
            allowDecimal={false}
            value={intake.days ?? ''}
            error={wrong('days')}
            onChange={(value) => set({ days: numberIn(value) })}
          />
        )}
        <NumberInput
          label={t('prescribe.quantity')}
          placeholder={needed === undefined ? '' : String(needed)}
          description={needed === undefined ? undefined : t('prescribe.needed', { amount: new Intl.NumberFormat(locale).format(needed) })}
          min={1}
          value={line.quantity ?? ''}
          error={wrong('quantity')}
          onChange={(value) => {
            const quantity = numberIn(value);
            onChange({ ...line, quantity });
          }}
        />
        <NumberInput
          label={t('prescribe.repeats')}
          min={0}
          max={12}
          allowDecimal={false}
          value={line.repeats}
          error={wrong('repeats')}
          onChange={(value) => onChange({ ...line, repeats: Number(value) })}
        />
        <Checkbox
          className={classes.wide}
          label={t('prescribe.asNeeded')}
          checked={intake.asNeeded}
          onChange={(event) => set({ asNeeded: event.currentTarget.checked })}
        />
        {intake.asNeeded && (
          <>
            <TextInput
              className={classes.half}
              label={t('prescribe.reason')}
              placeholder={t('prescribe.reason.example')}
              maxLength={100}
              value={intake.reason ?? ''}
              onChange={(event) => set({ reason: event.currentTarget.value })}
            />
            <NumberInput
              className={classes.half}
              label={t('prescribe.most', { unit: intake.unit })}
              min={0}
              value={intake.most ?? ''}
              error={wrong('most')}
              onChange={(value) => set({ most: numberIn(value) })}
            />
          </>
        )}
        <TextInput
          className={classes.wide}
          label={t('prescribe.note')}
          maxLength={300}
          value={intake.note ?? ''}
          onChange={(event) => set({ note: event.currentTarget.value })}
        />
        {problems.size === 0 && (
          <p className={classes.sentence} lang="en">
            <span>{t('prescribe.reads')}</span>
            {sentenceOf(intake)}
          </p>
        )}
      </div>
    </section>
  );
}

function RhythmFields({ rhythm, wrong, onChange }: { rhythm: Rhythm; wrong: ReactNode; onChange: (rhythm: Rhythm) => void }) {
  const t = useT();
  const { locale } = useFormats();
  switch (rhythm.kind) {
    case 'daily':
      return (
        <NumberInput
          required
          label={t('prescribe.times')}
          min={1}
          max={24}
          allowDecimal={false}
          value={rhythm.times || ''}
          error={wrong}
          onChange={(value) => onChange({ ...rhythm, times: Number(value) })}
        />
      );
    case 'hours':
      return (
        <NumberInput
          required
          label={t('prescribe.every')}
          min={1}
          max={72}
          allowDecimal={false}
          value={rhythm.every || ''}
          error={wrong}
          onChange={(value) => onChange({ ...rhythm, every: Number(value) })}
        />
      );
    case 'moments':
      return (
        <Chips
          label={t('prescribe.moments')}
          wrong={wrong}
          all={MOMENTS}
          chosen={rhythm.moments}
          text={(moment) => t(`prescribe.moment.${moment}`)}
          onChange={(moments) => onChange({ ...rhythm, moments })}
        />
      );
    case 'weekly':
      return (
        <Chips
          label={t('prescribe.weekdays')}
          wrong={wrong}
          all={DAYS}
          chosen={rhythm.days}
          onChange={(days) => onChange({ ...rhythm, days })}
          text={(day) =>
            new Intl.DateTimeFormat(locale, { weekday: 'short', timeZone: 'UTC' }).format(Date.UTC(1970, 0, 5 + DAYS.indexOf(day)))
          }
        />
      );
    case 'once':
      return null;
  }
}

function Chips<T extends string>({
  label,
  all,
  chosen,
  text,
  wrong,
  onChange,
}: {
  label: string;
  all: readonly T[];
  chosen: readonly T[];
  text: (one: T) => string;
  wrong: ReactNode;
  onChange: (chosen: T[]) => void;
}) {
  const id = useId();
  return (
    <div className={classes.wide} role="group" aria-labelledby={id}>
      <span id={id} className={classes.label}>
        {label}
      </span>
      <div className={classes.chips}>
        {all.map((one) => (
          <button
            key={one}
            type="button"
            className={classes.chip}
            aria-pressed={chosen.includes(one)}
            onClick={() => onChange(all.filter((each) => (each === one ? !chosen.includes(one) : chosen.includes(each))))}
          >
            {text(one)}
          </button>
        ))}
      </div>
      {wrong && <p className={classes.wrong}>{wrong}</p>}
    </div>
  );
}
