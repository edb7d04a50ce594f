/** The practice as letters and prescriptions name it. */
import { useChange, useSearch } from '@medconsult/shared/fhir/hooks';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { Page, Section } from '@medconsult/shared/ui/page';
import { DataState, Empty, FormProblem } from '@medconsult/shared/ui/state';
import { toast } from '@medconsult/shared/ui/toast';
import { Button, Textarea, TextInput } from '@mantine/core';
import { Building2 } from 'lucide-react';
import type { Organization } from 'fhir/r4';
import { useState } from 'react';
import { type PracticeForm, readPractice, writePractice } from '../logic/practice';
import classes from './services.module.css';

export default function Practice() {
  const t = useT();
  const asked = useSearch('Organization', { active: 'true', _sort: 'name', _count: 50 });
  return (
    <Page title={t('practice.title')} lead={t('practice.lead')}>
      <DataState
        of={asked}
        isEmpty={({ resources }) => resources.length === 0}
        empty={<Empty icon={Building2} title={t('practice.none.title')} text={t('practice.none.text')} />}
      >
        {({ resources }) => resources.map((each) => <Form key={`${each.id} ${each.meta?.versionId}`} organization={each} />)}
      </DataState>
    </Page>
  );
}

function Form({ organization }: { organization: Organization }) {
  const t = useT();
  const { fhir } = useSession();
  const [form, setForm] = useState(() => readPractice(organization));
  const [tried, setTried] = useState(false);
  const save = useChange<PracticeForm, Organization>({
    run: (changed) => fhir.update(writePractice(changed, organization)),
    touches: ['Organization'],
  });
  const field = (name: keyof PracticeForm, more = {}) => (
    <TextInput
      label={t(`practice.${name}`)}
      maxLength={200}
      value={form[name]}
      onChange={(event) => setForm({ ...form, [name]: event.currentTarget.value })}
      {...more}
    />
  );
  const submit = () => {
    setTried(true);
    if (form.name.trim())
      save.mutateAsync(form).then(
        () => toast(t('app.saved')),
        () => undefined,
      );
  };
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <Section title={organization.name}>
        <div className={classes.fields}>
          {field('name', { required: true, className: classes.wide, error: tried && !form.name.trim() && t('practice.noName') })}
          {field('phone', { type: 'tel' })}
          {field('email', { type: 'email' })}
          <Textarea
            className={classes.wide}
            label={t('practice.street')}
            autosize
            minRows={1}
            maxLength={300}
            value={form.street}
            onChange={(event) => setForm({ ...form, street: event.currentTarget.value })}
          />
          {field('postalCode')}
          {field('city')}
          {field('country', { description: t('practice.countryHint') })}
        </div>
        <FormProblem error={save.error} />
        <div className={classes.save}>
          <Button type="submit" loading={save.isPending}>
            {t('app.save')}
          </Button>
        </div>
      </Section>
    </form>
  );
}
