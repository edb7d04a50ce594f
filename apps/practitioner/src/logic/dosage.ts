// How a medicine is taken, as the form asks it and as FHIR says it (<https://hl7.org/fhir/R4/dosage.html>). The sentence that
// a patient reads is made of the same values, so the two cannot differ.

import type { Dosage, Timing } from 'fhir/r4';

const UCUM = 'http://unitsofmeasure.org';
const SNOMED = 'http://snomed.info/sct';

/** When in the day, in the order of the day; codes of <https://hl7.org/fhir/R4/valueset-event-timing.html>. */
export const MOMENTS = ['MORN', 'NOON', 'EVE', 'HS', 'AC', 'PC', 'C'] as const;
export type Moment = (typeof MOMENTS)[number];

export const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;
export type DayOfWeek = (typeof DAYS)[number];

/** Routes with the codes of SNOMED CT that R4's own value set has. */
export const ROUTES = {
  oral: '26643006',
  sublingual: '37839007',
  inhalation: '447694001',
  nasal: '46713006',
  ocular: '54485002',
  otic: '10547007',
  topical: '6064005',
  subcutaneous: '34206005',
  intramuscular: '78421000',
  intravenous: '47625008',
  rectal: '37161004',
  vaginal: '16857009',
} as const;
export type Route = keyof typeof ROUTES;

/** What is done with it, and where it goes. */
const ROUTE_WORDS: Record<Route, [string, string]> = {
  oral: ['Take', 'by mouth'],
  sublingual: ['Put', 'under the tongue'],
  inhalation: ['Inhale', ''],
  nasal: ['Use', 'in the nose'],
  ocular: ['Put', 'into the eye'],
  otic: ['Put', 'into the ear'],
  topical: ['Apply', 'to the skin'],
  subcutaneous: ['Inject', 'under the skin'],
  intramuscular: ['Inject', 'into a muscle'],
  intravenous: ['Give', 'into a vein'],
  rectal: ['Insert', 'into the rectum'],
  vaginal: ['Insert', 'into the vagina'],
};

export type Rhythm =
  | { kind: 'daily'; times: number }
  | { kind: 'moments'; moments: Moment[] }
  | { kind: 'hours'; every: number }
  | { kind: 'weekly'; days: DayOfWeek[] }
  | { kind: 'once' };

/** One line of a prescription's instructions. */
export interface Intake {
  /** How much at a time, as `1`, `0.5`. */
  amount: number;
  /** `tablet`, `ml`; as it is written on the sheet. */
  unit: string;
  route?: Route;
  rhythm: Rhythm;
  /** For how many days; none: until further notice. */
  days?: number;
  /** Only when needed. */
  asNeeded: boolean;
  /** For what it is needed: `pain`. */
  reason?: string;
  /** At most so many a day, where it is taken when needed. */
  most?: number;
  /** Whatever else the patient should know. */
  note?: string;
}

export const NEW_INTAKE: Intake = { amount: 1, unit: 'tablet', route: 'oral', rhythm: { kind: 'daily', times: 1 }, asNeeded: false };

/** Units that are an abbreviation or are not counted, and so have no plural. */
const NO_PLURAL = new Set(['ml', 'mg', 'g', 'mcg', 'µg', 'l', 'IU', '%']);

/** `2 tablets`, `0.5 tablet`, `400 mg`. */
export function counted(amount: number, unit: string): string {
  const isOne = amount <= 1;
  const plural = isOne || NO_PLURAL.has(unit) || unit.endsWith('s') ? unit : `${unit}s`;
  return `${amount.toLocaleString('en', { maximumFractionDigits: 4 })} ${plural}`;
}

const TIMES = ['', 'once', 'twice'];
const MOMENT_WORDS: Record<Moment, string> = {
  MORN: 'in the morning',
  NOON: 'at noon',
  EVE: 'in the evening',
  HS: 'at bedtime',
  AC: 'before meals',
  PC: 'after meals',
  C: 'with meals',
};
const DAY_WORDS: Record<DayOfWeek, string> = {
  mon: 'Monday',
  tue: 'Tuesday',
  wed: 'Wednesday',
  thu: 'Thursday',
  fri: 'Friday',
  sat: 'Saturday',
  sun: 'Sunday',
};

function list(words: string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

function rhythmWords(rhythm: Rhythm): string {
  switch (rhythm.kind) {
    case 'daily':
      return `${TIMES[rhythm.times] ?? `${rhythm.times} times`} a day`;
    case 'moments':
      return list(MOMENTS.filter((moment) => rhythm.moments.includes(moment)).map((moment) => MOMENT_WORDS[moment]));
    case 'hours':
      return rhythm.every === 1 ? 'every hour' : `every ${rhythm.every} hours`;
    case 'weekly':
      return `every ${list(DAYS.filter((day) => rhythm.days.includes(day)).map((day) => DAY_WORDS[day]))}`;
    case 'once':
      return 'once';
  }
}

/** The instruction as a sentence, in the language of the sheet: English. The server writes its own, which is the one that counts. */
export function sentenceOf(intake: Intake): string {
  const [verb, way] = intake.route ? ROUTE_WORDS[intake.route] : ['Take', ''];
  const words = [verb, counted(intake.amount, intake.unit)];
  if (way) words.push(way);
  words.push(rhythmWords(intake.rhythm));
  if (intake.asNeeded) words.push(intake.reason?.trim() ? `when needed for ${intake.reason.trim()}` : 'when needed');
  if (intake.days && intake.rhythm.kind !== 'once') words.push(intake.days === 1 ? 'for 1 day' : `for ${intake.days} days`);
  let sentence = words.join(' ');
  if (intake.asNeeded && intake.most) sentence += `, at most ${counted(intake.most, intake.unit)} a day`;
  const note = intake.note?.trim();
  return note ? `${sentence}. ${note.replace(/\.?$/, '.')}` : `${sentence}.`;
}

function timingOf({ rhythm, days }: Intake): Timing {
  const repeat: Timing['repeat'] = {};
  if (days && rhythm.kind !== 'once') repeat.boundsDuration = { value: days, unit: days === 1 ? 'day' : 'days', system: UCUM, code: 'd' };
  switch (rhythm.kind) {
    case 'daily':
      return { repeat: { ...repeat, frequency: rhythm.times, period: 1, periodUnit: 'd' } };
    case 'moments': {
      const moments = MOMENTS.filter((moment) => rhythm.moments.includes(moment));
      return { repeat: { ...repeat, frequency: timesADay(rhythm), period: 1, periodUnit: 'd', when: moments } };
    }
    case 'hours':
      return { repeat: { ...repeat, frequency: 1, period: rhythm.every, periodUnit: 'h' } };
    case 'weekly':
      return {
        repeat: {
          ...repeat,
          frequency: rhythm.days.length,
          period: 1,
          periodUnit: 'wk',
          dayOfWeek: DAYS.filter((day) => rhythm.days.includes(day)),
        },
      };
    case 'once':
      return { repeat: { count: 1 } };
  }
}

/** The instruction as FHIR says it, with its sentence. */
export function toDosage(intake: Intake): Dosage {
  const reason = intake.reason?.trim();
  return {
    text: sentenceOf(intake),
    ...(intake.note?.trim() ? { patientInstruction: intake.note.trim() } : {}),
    timing: timingOf(intake),
    ...(intake.asNeeded ? (reason ? { asNeededCodeableConcept: { text: reason } } : { asNeededBoolean: true }) : {}),
    ...(intake.route ? { route: { coding: [{ system: SNOMED, code: ROUTES[intake.route] }] } } : {}),
    doseAndRate: [{ doseQuantity: { value: intake.amount, unit: intake.unit } }],
    ...(intake.asNeeded && intake.most
      ? {
          maxDosePerPeriod: {
            numerator: { value: intake.most, unit: intake.unit },
            denominator: { value: 1, unit: 'day', system: UCUM, code: 'd' },
          },
        }
      : {}),
  };
}

/** The form's values of a Dosage; undefined for one that says what the form cannot. */
export function fromDosage(dosage: Dosage): Intake | undefined {
  const dose = dosage.doseAndRate?.[0]?.doseQuantity;
  const rhythm = rhythmOf(dosage.timing?.repeat);
  if (!rhythm || dose?.value === undefined) return undefined;
  const route = (Object.keys(ROUTES) as Route[]).find((name) => dosage.route?.coding?.some(({ code }) => code === ROUTES[name]));
  const bounds = dosage.timing?.repeat?.boundsDuration;
  const intake: Intake = {
    amount: dose.value,
    unit: dose.unit ?? dose.code ?? '',
    route,
    rhythm,
    days: bounds?.value === undefined ? undefined : bounds.value * ({ d: 1, wk: 7 }[bounds.code ?? ''] ?? NaN),
    asNeeded: Boolean(dosage.asNeededBoolean || dosage.asNeededCodeableConcept),
    reason: dosage.asNeededCodeableConcept?.text,
    most: dosage.maxDosePerPeriod?.numerator?.value,
    note: dosage.patientInstruction,
  };
  return Number.isNaN(intake.days) ? undefined : intake;
}

function rhythmOf(repeat: Timing['repeat']): Rhythm | undefined {
  if (!repeat) return undefined;
  const { frequency = 1, period = 1, periodUnit } = repeat;
  if (repeat.count === 1 && !periodUnit) return { kind: 'once' };
  const when = (repeat.when ?? []) as string[];
  if (when.length > 0) {
    const moments = MOMENTS.filter((moment) => when.includes(moment));
    return moments.length === when.length && periodUnit === 'd' ? { kind: 'moments', moments } : undefined;
  }
  if (repeat.dayOfWeek?.length && periodUnit === 'wk') return { kind: 'weekly', days: repeat.dayOfWeek as DayOfWeek[] };
  if (periodUnit === 'd' && period === 1) return { kind: 'daily', times: frequency };
  if (periodUnit === 'h' && frequency === 1) return { kind: 'hours', every: period };
  return undefined;
}

/** How often a day it is taken, at most. */
function timesADay(rhythm: Rhythm): number {
  switch (rhythm.kind) {
    case 'daily':
      return rhythm.times;
    case 'moments': {
      // There are three meals.
      const meals = rhythm.moments.some((moment) => moment === 'AC' || moment === 'PC' || moment === 'C');
      return rhythm.moments.filter((moment) => !['AC', 'PC', 'C'].includes(moment)).length + (meals ? 3 : 0);
    }
    case 'hours':
      return 24 / rhythm.every;
    case 'weekly':
      return rhythm.days.length / 7;
    case 'once':
      return 1;
  }
}

/** How much is needed for `days` days, or for all of them; whole units. Undefined where nobody can tell. */
export function neededOf(intake: Intake, days = intake.days): number | undefined {
  if (intake.rhythm.kind === 'once') return Math.ceil(intake.amount);
  if (!days) return undefined;
  const perDay = intake.asNeeded && intake.most ? intake.most : intake.amount * timesADay(intake.rhythm);
  const needed = perDay * days;
  // What floating point makes of 0.1 * 3 is no further tablet.
  return Math.ceil(Number(needed.toFixed(6)));
}

export type IntakeProblem = 'amount' | 'unit' | 'rhythm' | 'days' | 'most';

export function problemsOfIntake(intake: Intake): IntakeProblem[] {
  const problems: IntakeProblem[] = [];
  if (!(intake.amount > 0)) problems.push('amount');
  if (!intake.unit.trim()) problems.push('unit');
  const { rhythm } = intake;
  const isWhole = (value: number, most: number) => Number.isInteger(value) && value >= 1 && value <= most;
  const fine = {
    daily: () => rhythm.kind === 'daily' && isWhole(rhythm.times, 24),
    moments: () => rhythm.kind === 'moments' && rhythm.moments.length > 0,
    hours: () => rhythm.kind === 'hours' && isWhole(rhythm.every, 72),
    weekly: () => rhythm.kind === 'weekly' && rhythm.days.length > 0,
    once: () => true,
  }[rhythm.kind]();
  if (!fine) problems.push('rhythm');
  if (intake.days !== undefined && !isWhole(intake.days, 730)) problems.push('days');
  if (intake.asNeeded && intake.most !== undefined && !(intake.most >= intake.amount)) problems.push('most');
  return problems;
}
