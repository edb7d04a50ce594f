/** Who somebody is, in a line. */
import type { Patient } from 'fhir/r4';
import { dayOf } from '@medconsult/shared/format/time';
import { useFormats } from '@medconsult/shared/format/context';
import { useT } from '@medconsult/shared/texts/context';

/** Whole years at a day. Of a birth date without day, those at the end of what is known. */
export function ageOn(birthDate: string, day: string): number {
  const [year = 0, month = 12, date = 31] = birthDate.split('-').map(Number);
  const [thisYear = 0, thisMonth = 1, thisDate = 1] = day.split('-').map(Number);
  const isBefore = thisMonth < month || (thisMonth === month && thisDate < date);
  return thisYear - year - (isBefore ? 1 : 0);
}

/** `42 years · female` */
export function usePatientFacts(): (patient: Patient | undefined) => string {
  const t = useT();
  const { timeZone } = useFormats();
  return (patient) => {
    const years = patient?.birthDate ? ageOn(patient.birthDate, dayOf(new Date(), timeZone)) : undefined;
    const gender = patient?.gender && patient.gender !== 'unknown' ? t(`gender.${patient.gender}`) : '';
    return [years === undefined ? '' : t('patient.years', { count: years }), gender].filter(Boolean).join(' · ');
  };
}
