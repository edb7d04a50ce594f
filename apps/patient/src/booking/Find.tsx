/** The first of four screens: with whom, and what for. */
import { Button, NativeSelect, Skeleton, TextInput } from '@mantine/core';
import { Search, SearchX, X } from 'lucide-react';
import { useDeferredValue, useMemo, useState } from 'react';
import { Link } from 'wouter';
import { useFormats } from '@medconsult/shared/format/context';
import { addDays, dayOf } from '@medconsult/shared/format/time';
import { nameOf } from '@medconsult/shared/fhir/values';
import { useT, useTexts } from '@medconsult/shared/texts/context';
import { Page } from '@medconsult/shared/ui/page';
import { PersonFace } from '@medconsult/shared/ui/person';
import { DataState, Empty } from '@medconsult/shared/ui/state';
import { ZoneNote } from '@medconsult/shared/ui/when';
import { useOffers, useToday } from './hooks';
import { matches, serviceIdOf, type Filter, type Offer, type Service } from './offers';
import classes from './booking.module.css';

export default function Find() {
  const t = useT();
  const { locale } = useTexts();
  const [filter, setFilter] = useState<Filter>({});
  const offers = useOffers(filter.service);
  const shown = useDeferredValue(filter);
  const all = offers.data ?? [];
  const specialties = useMemo(() => [...new Set(all.flatMap((offer) => offer.specialties))].sort((a, b) => a.localeCompare(b, locale)), [all, locale]);
  const languages = useMemo(() => [...new Set(all.flatMap((offer) => offer.languages))], [all]);
  const services = useMemo(() => [...new Map(all.flatMap((offer) => offer.services).map((service) => [service.id, service])).values()], [all]);
  const prices = useMemo(() => [...new Set(services.map((service) => service.price?.value ?? 0))].sort((a, b) => a - b), [services]);
  const { money } = useFormats();
  const currency = services.find((service) => service.price)?.price?.currency;
  const languageNames = useMemo(() => new Intl.DisplayNames(locale, { type: 'language' }), [locale]);
  const set = (change: Partial<Filter>) => setFilter((before) => ({ ...before, ...change }));
  const isFiltered = Object.values(filter).some((value) => value !== undefined && value !== '');

  return (
    <Page title={t('find.title')} lead={t('find.lead')}>
      <search className={classes.filters}>
        <TextInput
          className={classes.text}
          label={t('find.text')}
          placeholder={t('find.textHint')}
          leftSection={<Search size={18} aria-hidden="true" />}
          value={filter.text ?? ''}
          onChange={(event) => set({ text: event.currentTarget.value })}
        />
        <NativeSelect
          label={t('find.service')}
          value={filter.service ?? ''}
          onChange={(event) => set({ service: event.currentTarget.value || undefined })}
          data={[{ value: '', label: t('find.any') }, ...services.map(({ id, name }) => ({ value: id, label: name }))]}
        />
        <NativeSelect
          label={t('find.specialty')}
          value={filter.specialty ?? ''}
          onChange={(event) => set({ specialty: event.currentTarget.value || undefined })}
          data={[{ value: '', label: t('find.any') }, ...specialties]}
        />
        <NativeSelect
          label={t('find.language')}
          value={filter.language ?? ''}
          onChange={(event) => set({ language: event.currentTarget.value || undefined })}
          data={[{ value: '', label: t('find.any') }, ...languages.map((code) => ({ value: code, label: languageNames.of(code) ?? code }))]}
        />
        <NativeSelect
          label={t('find.price')}
          value={filter.price === undefined ? '' : String(filter.price)}
          onChange={(event) => set({ price: event.currentTarget.value === '' ? undefined : Number(event.currentTarget.value) })}
          data={[
            { value: '', label: t('find.any') },
            ...prices.map((value) => ({ value: String(value), label: value === 0 ? t('find.free') : t('find.upTo', { price: money({ value, ...(currency && { currency }) }) }) })),
          ]}
        />
      </search>
      <DataState
        of={offers}
        isEmpty={(found) => found.length === 0}
        empty={<Empty icon={SearchX} title={t('find.nobody')} text={t('find.nobodyText')} />}
      >
        {(found) => {
          const fitting = found.filter((offer) => matches(offer, shown, (practitioner) => nameOf(practitioner.name)));
          return (
            <>
              <div className={classes.summary} role="status">
                <span>{t('find.count', { count: fitting.length })}</span>
                <span className={classes.zone}><ZoneNote /></span>
                {isFiltered && (
                  <Button variant="subtle" size="compact-md" leftSection={<X size={16} aria-hidden="true" />} onClick={() => setFilter({})}>
                    {t('find.clear')}
                  </Button>
                )}
              </div>
              {fitting.length === 0 ? (
                <Empty icon={SearchX} title={t('find.none')} text={t('find.noneText')} action={<Button variant="default" onClick={() => setFilter({})}>{t('find.clear')}</Button>} />
              ) : (
                <ul className={classes.offers}>
                  {fitting.map((offer) => (
                    <li key={offer.practitioner.id}>
                      <OfferCard offer={offer} service={filter.service} timesAreKnown={offers.timesAreKnown} languageNames={languageNames} />
                    </li>
                  ))}
                </ul>
              )}
            </>
          );
        }}
      </DataState>
    </Page>
  );
}

function OfferCard({ offer, service, timesAreKnown, languageNames }: { offer: Offer; service: string | undefined; timesAreKnown: boolean; languageNames: Intl.DisplayNames }) {
  const t = useT();
  const { time, locale } = useFormats();
  const day = useDayWord();
  const name = nameOf(offer.practitioner.name);
  const services = service ? offer.services.filter((each) => each.id === service) : offer.services;
  const nextService = offer.next ? serviceIdOf(offer.next) : undefined;
  return (
    <article className={classes.offer}>
      <div className={classes.who}>
        <PersonFace name={name} photo={offer.practitioner.photo} size={56} />
        <div>
          <h2 className={classes.name}>{name}</h2>
          <p className={classes.about}>{offer.specialties.join(', ')}</p>
          {offer.languages.length > 0 && (
            <p className={classes.quiet}>{t('find.speaks', { languages: new Intl.ListFormat(locale).format(offer.languages.map((code) => languageNames.of(code) ?? code)) })}</p>
          )}
        </div>
      </div>
      <ul className={classes.services}>
        {services.map((each) => (
          <li key={each.id}>
            <Link to={`/book/${offer.practitioner.id}/${each.id}`} className={classes.service}>
              <span className={classes.serviceName}>{each.name}</span>
              <ServiceFacts service={each} />
            </Link>
          </li>
        ))}
      </ul>
      <p className={classes.next}>
        {!timesAreKnown ? (
          <Skeleton height={20} width={190} component="span" display="inline-block" />
        ) : offer.next?.start ? (
          <>
            {t('find.next')}{' '}
            <Link to={`/book/${offer.practitioner.id}/${service ?? nextService ?? services[0]?.id ?? ''}?day=${day.of(offer.next.start)}`}>
              <strong>{t('find.nextAt', { day: day.word(offer.next.start), time: time(offer.next.start, 'time') })}</strong>
            </Link>
          </>
        ) : (
          t('find.noTimes')
        )}
      </p>
    </article>
  );
}

/** How long it takes and what it costs. */
export function ServiceFacts({ service }: { service: Service }) {
  const t = useT();
  const { money } = useFormats();
  return (
    <span className={classes.facts}>
      {t('find.minutes', { count: service.minutes ?? 30 })} · {service.price && service.policy.payment !== 'none' ? money(service.price) : t('find.free')}
    </span>
  );
}

/** Today, tomorrow, or the day's name. */
export function useDayWord() {
  const t = useT();
  const { timeZone, time } = useFormats();
  const today = useToday();
  return {
    of: (instant: string) => dayOf(instant, timeZone),
    word: (instant: string) => {
      const day = dayOf(instant, timeZone);
      return day === today ? t('time.today') : day === addDays(today, 1) ? t('time.tomorrow') : time(instant, 'dayShort');
    },
  };
}
