/** Finds a person by name: what is typed is looked for, and one of those who are found is chosen. */
import { useSearch } from '@medconsult/shared/fhir/hooks';
import { nameOf } from '@medconsult/shared/fhir/values';
import { useFormats } from '@medconsult/shared/format/context';
import { writeDate } from '@medconsult/shared/format/time';
import { useT } from '@medconsult/shared/texts/context';
import { CloseButton, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useState } from 'react';
import classes from './person-choice.module.css';

export interface Person {
  /** `Patient/7` */
  reference: string;
  name: string;
}

export function PersonChoice({
  label,
  types,
  chosen,
  onChoose,
}: {
  label: string;
  types: ('Practitioner' | 'Patient')[];
  chosen: Person | undefined;
  onChoose: (person: Person | undefined) => void;
}) {
  const t = useT();
  const { locale } = useFormats();
  const [text, setText] = useState('');
  const [wanted] = useDebouncedValue(text.trim(), 250);
  const query = wanted.length > 1 && !chosen ? { name: wanted.split(/\s+/), _count: 8 } : undefined;
  const practitioners = useSearch('Practitioner', types.includes('Practitioner') ? query : undefined);
  const patients = useSearch('Patient', types.includes('Patient') ? query : undefined);
  const found = query ? [...(practitioners.data?.resources ?? []), ...(patients.data?.resources ?? [])] : [];
  if (chosen) {
    return (
      <TextInput
        label={label}
        value={chosen.name}
        readOnly
        rightSection={
          <CloseButton
            aria-label={t('person.clear', { label })}
            onClick={() => {
              setText('');
              onChoose(undefined);
            }}
          />
        }
      />
    );
  }
  return (
    <div className={classes.choice}>
      <TextInput
        label={label}
        placeholder={t('person.name')}
        autoComplete="off"
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
      />
      {query && (
        <div className={classes.found} role="group" aria-label={label}>
          {found.map((person) => (
            <button
              key={person.id}
              type="button"
              onClick={() => onChoose({ reference: `${person.resourceType}/${person.id}`, name: nameOf(person.name) })}
            >
              {nameOf(person.name)}{' '}
              <span>
                {[t(`person.${person.resourceType}`), person.birthDate && writeDate(person.birthDate, locale)].filter(Boolean).join(' · ')}
              </span>
            </button>
          ))}
          {found.length === 0 && practitioners.fetchStatus === 'idle' && patients.fetchStatus === 'idle' && (
            <p role="status">{t('person.none')}</p>
          )}
        </div>
      )}
    </div>
  );
}
