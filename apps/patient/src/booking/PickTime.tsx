/** The second screen: when. Picking a time holds it. */
import { NativeSelect } from '@mantine/core';
import { UserX } from 'lucide-react';
import { Link, useLocation, useSearchParams } from 'wouter';
import { nameOf } from '@medconsult/shared/fhir/values';
import { useT } from '@medconsult/shared/texts/context';
import { Page, Section } from '@medconsult/shared/ui/page';
import { PersonFace } from '@medconsult/shared/ui/person';
import { DataState, Empty, FormProblem } from '@medconsult/shared/ui/state';
import { ServiceFacts } from './Find';
import { useHold, useOffers } from './hooks';
import { Steps } from './Steps';
import { TimePicker } from './TimePicker';
import classes from './booking.module.css';

export default function PickTime({ practitioner, service }: { practitioner: string; service: string }) {
  const t = useT();
  const [, navigate] = useLocation();
  const [params] = useSearchParams();
  const offers = useOffers();
  const hold = useHold();
  const busy = hold.isPending ? hold.variables.id : undefined;
  return (
    <Page title={t('times.title')} back={{ to: '/book', label: t('find.title') }}>
      <Steps at={2} />
      <DataState of={offers}>
        {(all) => {
          const offer = all.find((each) => each.practitioner.id === practitioner);
          const chosen = offer?.services.find((each) => each.id === service) ?? offer?.services[0];
          if (!offer || !chosen) {
            return <Empty icon={UserX} title={t('times.gone')} text={t('times.goneText')} action={<Link to="/book">{t('find.title')}</Link>} />;
          }
          const name = nameOf(offer.practitioner.name);
          return (
            <>
              <Section>
                <div className={classes.head}>
                  <div className={classes.who}>
                    <PersonFace name={name} photo={offer.practitioner.photo} size={56} />
                    <div>
                      <h2 className={classes.name}>{name}</h2>
                      <p className={classes.about}>{offer.specialties.join(', ')}</p>
                      <ServiceFacts service={chosen} />
                    </div>
                  </div>
                  <NativeSelect
                    label={t('find.service')}
                    value={chosen.id}
                    data={offer.services.map(({ id, name }) => ({ value: id, label: name }))}
                    onChange={(event) => navigate(`/book/${practitioner}/${event.currentTarget.value}`, { replace: true })}
                  />
                </div>
                {chosen.comment && <p className={classes.quiet}>{chosen.comment}</p>}
              </Section>
              <FormProblem error={hold.error} />
              <TimePicker
                practitioner={practitioner}
                service={chosen.id}
                startAt={params.get('day') ?? undefined}
                busy={busy}
                onPick={(proposal) => hold.mutate(proposal, { onSuccess: (visit) => navigate(`/visits/${visit.id}/details`) })}
              />
            </>
          );
        }}
      </DataState>
    </Page>
  );
}
