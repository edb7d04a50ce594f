/** What can be booked, and what it costs. */
import { useFormats } from '@medconsult/shared/format/context';
import { useT } from '@medconsult/shared/texts/context';
import { Page } from '@medconsult/shared/ui/page';
import { DataState, Empty } from '@medconsult/shared/ui/state';
import { Label } from '@medconsult/shared/ui/status';
import { Button } from '@mantine/core';
import { Plus, Tags } from 'lucide-react';
import { Link } from 'wouter';
import { useServices } from '../data';
import { readService } from '../logic/services';
import classes from './services.module.css';

export default function Services() {
  const t = useT();
  const { money } = useFormats();
  const { services, prices, priceFor } = useServices();
  const add = (
    <Button component={Link} to="/services/new" leftSection={<Plus size={18} aria-hidden="true" />}>
      {t('services.add')}
    </Button>
  );
  return (
    <Page title={t('services.title')} lead={t('services.lead')} actions={add}>
      <DataState
        of={services}
        isEmpty={({ resources }) => resources.length === 0}
        empty={<Empty icon={Tags} title={t('services.none.title')} text={t('services.none.text')} action={add} />}
      >
        {({ resources }) => (
          <DataState of={prices}>
            {() => (
              <ul className={classes.list}>
                {resources.map((service) => {
                  const form = readService(service, priceFor(service));
                  return (
                    <li key={service.id}>
                      <Link to={`/services/${service.id}`} className={classes.service}>
                        <span className={classes.words}>
                          <span className={classes.name}>
                            {form.name} {!form.active && <Label tone="neutral">{t('services.inactive')}</Label>}
                          </span>
                          <span className={classes.facts}>
                            {[
                              t('services.minutes', { count: form.duration }),
                              t(`services.approval.${form.approval}`),
                              form.payment !== 'none' && t(`services.payment.${form.payment}`),
                            ]
                              .filter(Boolean)
                              .join(' · ')}
                          </span>
                        </span>
                        <span className={classes.price}>
                          {form.payment === 'none' ? t('services.free') : money({ value: Number(form.price), currency: form.currency })}
                        </span>
                      </Link>
                    </li>
                  );
                })}
              </ul>
            )}
          </DataState>
        )}
      </DataState>
    </Page>
  );
}
