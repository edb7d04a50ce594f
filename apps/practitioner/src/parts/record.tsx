/** Lists of a record: problems, medicines, allergies. */
import { useSearch } from '@medconsult/shared/fhir/hooks';
import { textOfConcept } from '@medconsult/shared/fhir/values';
import { useT } from '@medconsult/shared/texts/context';
import { Section } from '@medconsult/shared/ui/page';
import { DataState } from '@medconsult/shared/ui/state';
import { Label, type Tone } from '@medconsult/shared/ui/status';
import { When } from '@medconsult/shared/ui/when';
import { Text } from '@mantine/core';
import type { AllergyIntolerance, Condition, MedicationRequest } from 'fhir/r4';
import type { ReactNode } from 'react';
import classes from '../pages/chart.module.css';

export const codeIn = (concept: { coding?: { code?: string }[] } | undefined): string => concept?.coding?.[0]?.code ?? '';

const isWrong = ({ verificationStatus }: Condition | AllergyIntolerance): boolean =>
  ['entered-in-error', 'refuted'].includes(codeIn(verificationStatus));

export function Problems({ patient, all = false }: { patient: string; all?: boolean }) {
  const t = useT();
  const asked = useSearch('Condition', { patient, _count: 200 });
  const isOpen = (each: Condition) => !['inactive', 'remission', 'resolved'].includes(codeIn(each.clinicalStatus));
  const shown = (asked.data?.resources ?? [])
    .filter((each) => !isWrong(each) && (all || isOpen(each)))
    .sort(
      (one, other) => Number(isOpen(other)) - Number(isOpen(one)) || (other.onsetDateTime ?? '').localeCompare(one.onsetDateTime ?? ''),
    );
  return (
    <Section title={t('chart.problems')}>
      <DataState of={asked} isEmpty={() => shown.length === 0} empty={<Text c="dimmed">{t('chart.noProblems')}</Text>}>
        {() => (
          <ul className={classes.items}>
            {shown.map((each) => (
              <li key={each.id}>
                <span className={classes.item}>
                  {textOfConcept(each.code)} {!isOpen(each) && <Label tone="neutral">{t(`chart.${codeIn(each.clinicalStatus)}`)}</Label>}
                </span>
                {each.onsetDateTime && (
                  <span className={classes.when}>
                    {t('chart.since')} <When at={each.onsetDateTime} style="date" />
                  </span>
                )}
              </li>
            ))}
          </ul>
        )}
      </DataState>
    </Section>
  );
}

export function Allergies({ patient }: { patient: string }) {
  const t = useT();
  const asked = useSearch('AllergyIntolerance', { patient, _count: 100 });
  const shown = (asked.data?.resources ?? []).filter((each) => !isWrong(each));
  return (
    <Section title={t('chart.allergies')}>
      <DataState of={asked} isEmpty={() => shown.length === 0} empty={<Text c="dimmed">{t('chart.noAllergies')}</Text>}>
        {() => (
          <ul className={classes.items}>
            {shown.map((each) => (
              <li key={each.id}>
                <span className={classes.item}>{textOfConcept(each.code)}</span>
                {each.criticality === 'high' && <Label tone="bad">{t('chart.highRisk')}</Label>}
                {each.reaction?.[0] && (
                  <span className={classes.detail}>
                    {each.reaction.flatMap(({ manifestation }) => manifestation.map(textOfConcept)).join(', ')}
                  </span>
                )}
              </li>
            ))}
          </ul>
        )}
      </DataState>
    </Section>
  );
}

const TONES: Partial<Record<MedicationRequest['status'], Tone>> = {
  'active': 'good',
  'draft': 'wait',
  'on-hold': 'wait',
  'stopped': 'bad',
};

/** `all`: with those that are over. `children`: what can be done about one. */
export function Medications({
  patient,
  all = false,
  actions,
  children,
}: {
  patient: string;
  all?: boolean;
  actions?: ReactNode;
  children?: (each: MedicationRequest) => ReactNode;
}) {
  const t = useT();
  const asked = useSearch('MedicationRequest', { patient, _sort: '-authoredon', _count: 200 });
  const shown = (asked.data?.resources ?? []).filter(({ status }) =>
    all ? status !== 'entered-in-error' : status === 'active' || status === 'on-hold',
  );
  return (
    <Section title={t('chart.medications')} actions={actions}>
      <DataState of={asked} isEmpty={() => shown.length === 0} empty={<Text c="dimmed">{t('chart.noMedications')}</Text>}>
        {() => (
          <ul className={classes.items}>
            {shown.map((each) => (
              <li key={each.id}>
                <span className={classes.item}>
                  {medicineOf(each)}{' '}
                  {(all || each.status !== 'active') && (
                    <Label tone={TONES[each.status] ?? 'neutral'}>{t(`medication.${each.status}`)}</Label>
                  )}
                </span>
                {each.authoredOn && (
                  <span className={classes.when}>
                    <When at={each.authoredOn} style="date" />
                  </span>
                )}
                <span className={classes.detail}>{each.dosageInstruction?.map(({ text }) => text).join(' ')}</span>
                {children?.(each)}
              </li>
            ))}
          </ul>
        )}
      </DataState>
    </Section>
  );
}

export const medicineOf = (each: MedicationRequest): string =>
  textOfConcept(each.medicationCodeableConcept) || (each.medicationReference?.display ?? '');
