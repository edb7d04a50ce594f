/** The practitioner's patients, to be found by name, date of birth or number. */
import { useSearchPages } from '@medconsult/shared/fhir/hooks';
import { nameOf } from '@medconsult/shared/fhir/values';
import { useFormats } from '@medconsult/shared/format/context';
import { writeDate } from '@medconsult/shared/format/time';
import { useT } from '@medconsult/shared/texts/context';
import { VirtualList } from '@medconsult/shared/ui/list';
import { Page } from '@medconsult/shared/ui/page';
import { PersonFace } from '@medconsult/shared/ui/person';
import { DataState, Empty } from '@medconsult/shared/ui/state';
import { TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { ChevronRight, Search, UserSearch, Users } from 'lucide-react';
import { useState } from 'react';
import { Link } from 'wouter';
import { usePatientFacts } from '../parts/patient';
import classes from './patients.module.css';

export default function Patients() {
  const t = useT();
  const { locale } = useFormats();
  const facts = usePatientFacts();
  const [text, setText] = useState('');
  const [wanted] = useDebouncedValue(text.trim(), 250);
  // A date of birth as it is typed, or words of a name.
  const query = /^\d{4}(-\d\d){0,2}$/.test(wanted) ? { birthdate: wanted } : { name: wanted.split(/\s+/) };
  const asked = useSearchPages('Patient', { ...query, active: 'true', _sort: 'family', _count: 100 });
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = asked;
  return (
    <Page title={t('nav.patients')}>
      <TextInput
        type="search"
        mb="md"
        label={t('patients.search')}
        description={t('patients.hint')}
        leftSection={<Search size={18} aria-hidden="true" />}
        autoComplete="off"
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
      />
      <DataState
        of={asked}
        isEmpty={({ resources }) => resources.length === 0}
        empty={
          wanted ? (
            <Empty icon={UserSearch} title={t('patients.notFound.title')} text={t('patients.notFound.text')} />
          ) : (
            <Empty icon={Users} title={t('patients.none.title')} text={t('patients.none.text')} />
          )
        }
      >
        {({ resources }) => (
          <VirtualList
            rows={resources}
            estimate={76}
            keyOf={({ id }) => id}
            label={t('nav.patients')}
            onEnd={() => {
              if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
            }}
          >
            {(patient) => (
              <Link to={`/patients/${patient.id}`} className={classes.patient}>
                <PersonFace name={nameOf(patient.name)} photo={patient.photo} />
                <span className={classes.words}>
                  <span className={classes.name}>{nameOf(patient.name)}</span>
                  <span className={classes.facts}>
                    {[facts(patient), patient.birthDate && writeDate(patient.birthDate, locale)].filter(Boolean).join(' · ')}
                  </span>
                </span>
                <ChevronRight size={20} aria-hidden="true" />
              </Link>
            )}
          </VirtualList>
        )}
      </DataState>
    </Page>
  );
}
