/** Whom a page is about, with what must not be overlooked. */
import { useRead, useSearch } from '@medconsult/shared/fhir/hooks';
import { nameOf, textOfConcept } from '@medconsult/shared/fhir/values';
import { useFormats } from '@medconsult/shared/format/context';
import { writeDate } from '@medconsult/shared/format/time';
import { useT } from '@medconsult/shared/texts/context';
import { PersonFace } from '@medconsult/shared/ui/person';
import { Label } from '@medconsult/shared/ui/status';
import { TriangleAlert } from 'lucide-react';
import type { ReactNode } from 'react';
import { usePatientFacts } from './patient';
import classes from '../pages/chart.module.css';

/** `level`: of the heading that the name is. */
export function PatientBanner({ id, level = 1, children }: { id: string; level?: 1 | 2; children?: ReactNode }) {
  const t = useT();
  const { locale } = useFormats();
  const facts = usePatientFacts();
  const { data: patient } = useRead<'Patient'>(`Patient/${id}`);
  const allergies = useSearch('AllergyIntolerance', { 'patient': `Patient/${id}`, 'clinical-status': 'active', '_count': 50 });
  const name = nameOf(patient?.name);
  const Name = `h${level}` as const;
  return (
    <div className={classes.banner}>
      <PersonFace name={name} photo={patient?.photo} size={56} />
      <div className={classes.who}>
        <Name className={classes.name}>{name || ' '}</Name>
        <div className={classes.facts}>
          {[facts(patient), patient?.birthDate && t('patient.born', { date: writeDate(patient.birthDate, locale) })]
            .filter(Boolean)
            .join(' · ') || ' '}
        </div>
        <div className={classes.alerts}>
          {allergies.data?.resources.map((allergy) => (
            <Label key={allergy.id} icon={TriangleAlert} tone="bad">
              {t('chart.allergyTo', { name: textOfConcept(allergy.code) })}
            </Label>
          ))}
          {allergies.data?.resources.length === 0 && <span className={classes.facts}>{t('chart.noAllergies')}</span>}
        </div>
      </div>
      <div className={classes.actions}>{children}</div>
    </div>
  );
}
