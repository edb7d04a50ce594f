/** One service: what it is, who agrees, what it costs, and what happens when somebody changes their mind. */
import { useT } from '@medconsult/shared/texts/context';
import { NotFound } from '@medconsult/shared/ui/notfound';
import { Page, Section } from '@medconsult/shared/ui/page';
import { DataState, FormProblem } from '@medconsult/shared/ui/state';
import { toast } from '@medconsult/shared/ui/toast';
import { Button, NativeSelect, NumberInput, Switch, Textarea, TextInput } from '@mantine/core';
import type { ChargeItemDefinition, HealthcareService } from 'fhir/r4';
import { useState } from 'react';
import { useLocation, useParams } from 'wouter';
import { useSaveService, useServices } from '../data';
import {
  type Approval,
  NEW_SERVICE,
  type Payment,
  problemsOfService,
  readService,
  type ServiceForm,
  type ServiceProblem,
} from '../logic/services';
import classes from './services.module.css';

export default function ServicePage() {
  const t = useT();
  const { id } = useParams<{ id: string }>();
  const { services, prices, priceFor } = useServices();
  const isNew = id === 'new';
  const service = services.data?.resources.find((each) => each.id === id);
  if (services.data && !service && !isNew) return <NotFound />;
  return (
    <Page title={isNew ? t('services.add') : (service?.name ?? t('services.title'))} back={{ to: '/services', label: t('services.title') }}>
      <DataState of={services}>
        {() => (
          <DataState of={prices}>
            {() => <Form key={`${id} ${service?.meta?.versionId}`} service={service} price={service && priceFor(service)} />}
          </DataState>
        )}
      </DataState>
    </Page>
  );
}

function Form({ service, price }: { service: HealthcareService | undefined; price: ChargeItemDefinition | undefined }) {
  const t = useT();
  const [, navigate] = useLocation();
  const [form, setForm] = useState<ServiceForm>(() => (service ? readService(service, price) : NEW_SERVICE));
  const [tried, setTried] = useState(false);
  const save = useSaveService(service, price);
  const set = (change: Partial<ServiceForm>) => setForm({ ...form, ...change });
  const problems = problemsOfService(form);
  const wrong = (problem: ServiceProblem) => tried && problems.includes(problem) && t(`services.problem.${problem}`);
  const count = (name: 'duration' | 'holdMinutes' | 'rescheduleNotice' | 'cancelNotice' | 'lateRefundPercent', most: number) => (
    <NumberInput
      label={t(`services.${name}`)}
      description={t(`services.${name}.hint`)}
      min={0}
      max={most}
      allowDecimal={false}
      clampBehavior="none"
      value={Number.isNaN(form[name]) ? '' : form[name]}
      error={wrong(name)}
      onChange={(value) => set({ [name]: value === '' ? Number.NaN : Number(value) })}
    />
  );
  const submit = () => {
    setTried(true);
    if (problems.length > 0) return;
    save.mutateAsync(form).then(
      () => {
        toast(t('app.saved'));
        navigate('/services');
      },
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
      <Section title={t('services.what')}>
        <div className={classes.fields}>
          <TextInput
            required
            label={t('services.name')}
            maxLength={120}
            value={form.name}
            error={wrong('name')}
            onChange={(event) => set({ name: event.currentTarget.value })}
          />
          {count('duration', 1440)}
          <Textarea
            className={classes.wide}
            label={t('services.description')}
            description={t('services.descriptionHint')}
            autosize
            minRows={2}
            maxLength={1000}
            value={form.description}
            onChange={(event) => set({ description: event.currentTarget.value })}
          />
          <Switch label={t('services.active')} checked={form.active} onChange={(event) => set({ active: event.currentTarget.checked })} />
        </div>
      </Section>
      <Section title={t('services.terms')}>
        <div className={classes.fields}>
          <NativeSelect
            label={t('services.approval')}
            value={form.approval}
            onChange={(event) => set({ approval: event.currentTarget.value as Approval })}
            data={['manual', 'auto'].map((value) => ({ value, label: t(`services.approval.${value}`) }))}
          />
          <NativeSelect
            label={t('services.payment')}
            value={form.payment}
            onChange={(event) => set({ payment: event.currentTarget.value as Payment })}
            data={['none', 'before-approval', 'after-approval'].map((value) => ({ value, label: t(`services.payment.${value}`) }))}
          />
          {form.payment !== 'none' && (
            <>
              <TextInput
                required
                inputMode="decimal"
                label={t('services.price')}
                description={t('services.priceHint')}
                value={form.price}
                error={wrong('price')}
                onChange={(event) => set({ price: event.currentTarget.value.replace(',', '.') })}
              />
              <TextInput
                required
                label={t('services.currency')}
                description={t('services.currencyHint')}
                maxLength={3}
                value={form.currency}
                error={wrong('currency')}
                onChange={(event) => set({ currency: event.currentTarget.value.toUpperCase() })}
              />
            </>
          )}
          {count('holdMinutes', 10_080)}
          {count('rescheduleNotice', 720)}
          {count('cancelNotice', 720)}
          {count('lateRefundPercent', 100)}
        </div>
      </Section>
      <FormProblem error={save.error} />
      <div className={classes.save}>
        <Button type="submit" loading={save.isPending}>
          {t('app.save')}
        </Button>
      </div>
    </form>
  );
}
