/** How the patient wants the practice and this app to be. */
import { Button, CopyButton, NativeSelect, Select, Switch, Text, Textarea, TextInput, useMantineColorScheme } from '@mantine/core';
import { ExternalLink } from 'lucide-react';
import type { Parameters, Patient } from 'fhir/r4';
import { useState, type FormEvent } from 'react';
import type { Stored } from '@medconsult/shared/fhir/client';
import { useChange, useRead } from '@medconsult/shared/fhir/hooks';
import { nameOf } from '@medconsult/shared/fhir/values';
import { useFormats } from '@medconsult/shared/format/context';
import { allZones, browserZone, writeOffset, writeZone } from '@medconsult/shared/format/time';
import { useSession } from '@medconsult/shared/session/context';
import { useT, useTexts } from '@medconsult/shared/texts/context';
import { Page, Section } from '@medconsult/shared/ui/page';
import { PersonFace } from '@medconsult/shared/ui/person';
import { DataState, FormProblem } from '@medconsult/shared/ui/state';
import { toast } from '@medconsult/shared/ui/toast';
import { languageOf, MAILS, personOf, wants, withLanguage, withMails, withPerson, withZone, zoneIn, type Person } from './patient';
import classes from './settings.module.css';

type Own = Stored<Patient>;

/** Languages to choose from; one that is chosen already is among them. */
const SPOKEN = ['ar', 'cs', 'da', 'de', 'el', 'en', 'es', 'fi', 'fr', 'hi', 'hr', 'it', 'ja', 'nl', 'no', 'pl', 'pt', 'ru', 'sv', 'tr', 'uk', 'zh'];

export default function SettingsPage() {
  const t = useT();
  const { patient } = useSession();
  const own = useRead<'Patient'>(`Patient/${patient ?? ''}`);
  return (
    <Page title={t('settings.title')}>
      <DataState of={own}>
        {(found) => (
          <div className={classes.sections}>
            <Profile key={found.meta?.versionId} patient={found} />
            <TimeAndLanguage patient={found} />
            <Appearance />
            <Mails patient={found} />
            <Calendar patient={found} />
            <Account />
          </div>
        )}
      </DataState>
    </Page>
  );
}

/** Stores the patient's changed record and shows it at once. */
function useSave() {
  const { fhir } = useSession();
  const t = useT();
  return useChange<Own, Own>({
    run: async (changed) => {
      const stored = await fhir.update<Own>(changed);
      toast(t('app.saved'));
      return stored;
    },
    touches: ['Patient'],
    expect: { type: 'Patient', apply: (resource, changed) => (resource.id === changed.id ? { ...changed, meta: resource.meta } : resource) },
  });
}

function Profile({ patient }: { patient: Own }) {
  const t = useT();
  const { accountPages } = useSession();
  const [person, setPerson] = useState<Person>(() => personOf(patient));
  const save = useSave();
  const set = (name: keyof Person) => (event: { currentTarget: { value: string } }) => setPerson({ ...person, [name]: event.currentTarget.value });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    save.mutate(withPerson(patient, person));
  };
  const name = nameOf(patient.name);
  return (
    <Section title={t('settings.profile')}>
      <div className={classes.face}>
        <PersonFace name={name} photo={patient.photo} size={72} />
        <div>
          <strong>{name}</strong>
          <Text fz="sm"><Outward to={`${accountPages}/details`}>{t('settings.nameAndPicture')}</Outward></Text>
        </div>
      </div>
      <form onSubmit={submit} className={classes.form}>
        <TextInput type="date" label={t('settings.birthDate')} value={person.birthDate} onChange={set('birthDate')} autoComplete="bday" />
        <NativeSelect label={t('settings.gender')} value={person.gender} onChange={set('gender')} data={['', 'female', 'male', 'other', 'unknown'].map((value) => ({ value, label: t(`gender.${value || 'none'}`) }))} />
        <TextInput type="tel" label={t('settings.phone')} value={person.phone} onChange={set('phone')} autoComplete="tel" />
        <Textarea label={t('settings.street')} value={person.line} onChange={set('line')} autosize minRows={1} autoComplete="street-address" />
        <TextInput label={t('settings.postalCode')} value={person.postalCode} onChange={set('postalCode')} autoComplete="postal-code" />
        <TextInput label={t('settings.city')} value={person.city} onChange={set('city')} autoComplete="address-level2" />
        <TextInput label={t('settings.country')} value={person.country} onChange={set('country')} autoComplete="country-name" />
        <div className={classes.wide}>
          <FormProblem error={save.error} />
          <Button type="submit" loading={save.isPending}>{t('app.save')}</Button>
        </div>
      </form>
    </Section>
  );
}

function TimeAndLanguage({ patient }: { patient: Own }) {
  const t = useT();
  const { locale } = useFormats();
  const { languages, language, chooseLanguage } = useTexts();
  const save = useSave();
  const zone = zoneIn(patient);
  const names = new Intl.DisplayNames(locale, { type: 'language' });
  return (
    <Section title={t('settings.timeAndLanguage')}>
      <div className={classes.form}>
        <Select
          label={t('settings.zone')}
          description={t('settings.zoneHint')}
          value={zone}
          searchable
          nothingFoundMessage={t('settings.zoneNone')}
          limit={60}
          maxDropdownHeight={280}
          allowDeselect={false}
          data={[{ value: '', label: t('settings.zoneBrowser', { zone: writeZone(browserZone(), locale) }) }, ...allZones().map((each) => ({ value: each, label: `${each.replaceAll('_', ' ')} (${writeOffset(each)})` }))]}
          onChange={(value) => value !== null && save.mutate(withZone(patient, value || undefined))}
        />
        <NativeSelect
          label={t('settings.language')}
          description={t('settings.languageHint')}
          value={languageOf(patient) || language}
          onChange={(event) => {
            const chosen = event.currentTarget.value;
            if (languages.includes(chosen)) chooseLanguage(chosen);
            save.mutate(withLanguage(patient, chosen));
          }}
          data={[...new Set([...SPOKEN, languageOf(patient) || language])].map((code) => ({ value: code, label: `${new Intl.DisplayNames(code, { type: 'language' }).of(code) ?? code} (${names.of(code) ?? code})` }))}
        />
      </div>
      <FormProblem error={save.error} />
    </Section>
  );
}

function Appearance() {
  const t = useT();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <Section title={t('settings.appearance')}>
      <NativeSelect
        label={t('settings.scheme')}
        value={colorScheme}
        maw="20rem"
        onChange={(event) => setColorScheme(event.currentTarget.value as typeof colorScheme)}
        data={(['auto', 'light', 'dark'] as const).map((value) => ({ value, label: t(`app.scheme.${value}`) }))}
      />
    </Section>
  );
}

function Mails({ patient }: { patient: Own }) {
  const t = useT();
  const save = useSave();
  return (
    <Section title={t('settings.mails')}>
      <Text c="dimmed" mb="md">{t('settings.mailsText')}</Text>
      {Object.entries(MAILS).map(([topic, events]) => (
        <fieldset key={topic} className={classes.mails}>
          <legend>{t(`mails.${topic}`)}</legend>
          {events.map((event) => (
            <Switch key={event} label={t(`mail.${event}`)} checked={wants(patient, event)} onChange={(change) => save.mutate(withMails(patient, [event], change.currentTarget.checked))} />
          ))}
        </fieldset>
      ))}
      <FormProblem error={save.error} />
    </Section>
  );
}

function Calendar({ patient }: { patient: Own }) {
  const t = useT();
  const { fhir } = useSession();
  const make = useChange<void, string>({
    run: async () => {
      const answer = await fhir.operation<Parameters>(`Patient/${patient.id}/$calendar-feed`);
      return answer.parameter?.find((each) => each.name === 'url')?.valueUri ?? '';
    },
    touches: [],
  });
  return (
    <Section title={t('settings.calendar')}>
      <div id="calendar" className={classes.anchor} />
      <Text mb="sm">{t('settings.calendarText')}</Text>
      {make.data ? (
        <>
          <TextInput label={t('settings.calendarAddress')} value={make.data} readOnly onFocus={(event) => event.currentTarget.select()} />
          <div className={classes.buttons}>
            <CopyButton value={make.data}>{({ copied, copy }) => <Button variant="default" onClick={copy}>{t(copied ? 'settings.copied' : 'settings.copy')}</Button>}</CopyButton>
            <Button component="a" variant="default" href={make.data.replace(/^https?:/, 'webcal:')}>{t('settings.subscribe')}</Button>
          </div>
        </>
      ) : (
        <Button variant="default" loading={make.isPending} onClick={() => make.mutate()}>{t('settings.calendarMake')}</Button>
      )}
      <FormProblem error={make.error} />
    </Section>
  );
}

/** What the server keeps by its own pages: secrets do not pass through apps. */
function Account() {
  const t = useT();
  const { accountPages } = useSession();
  return (
    <Section title={t('settings.account')}>
      <ul className={classes.links}>
        <li><Outward to={`${accountPages}/security`}>{t('settings.security')}</Outward><Text c="dimmed" fz="sm">{t('settings.securityText')}</Text></li>
        <li><Outward to={accountPages}>{t('settings.apps')}</Outward><Text c="dimmed" fz="sm">{t('settings.appsText')}</Text></li>
        <li><Outward to={accountPages}>{t('settings.sessions')}</Outward><Text c="dimmed" fz="sm">{t('settings.sessionsText')}</Text></li>
      </ul>
    </Section>
  );
}

function Outward({ to, children }: { to: string; children: string }) {
  return (
    <a href={to} className={classes.outward}>
      {children} <ExternalLink size={15} aria-hidden="true" />
    </a>
  );
}
