/** Back from the payment provider. The payment shows as soon as the practice has heard of it, which takes seconds. */
import { Button } from '@mantine/core';
import { CreditCard } from 'lucide-react';
import { useEffect, useState } from 'react';
import { Link, Redirect, useSearchParams } from 'wouter';
import { useRead } from '@medconsult/shared/fhir/hooks';
import { useQueryClient } from '@tanstack/react-query';
import { useT } from '@medconsult/shared/texts/context';
import { Page } from '@medconsult/shared/ui/page';
import { DataState, Empty } from '@medconsult/shared/ui/state';
import { labelOf } from '@medconsult/shared/ui/status';
import { Lines } from '@medconsult/shared/ui/splash';
import { beingPaid } from '../payments/pay';

/** After that it is said that it takes longer than usual. */
const PATIENCE = 20_000;

export default function Paid() {
  const t = useT();
  const [params] = useSearchParams();
  const cache = useQueryClient();
  const id = params.get('visit') ?? beingPaid();
  const visit = useRead<'Appointment'>(id ? `Appointment/${id}` : undefined);
  const [isLate, setIsLate] = useState(false);
  const isWaiting = visit.data !== undefined && labelOf(visit.data) === 'pending-payment' && !params.has('cancelled');
  useEffect(() => {
    if (!isWaiting) return undefined;
    // The stream of changes tells of it, too; this is for a server without one.
    const look = setInterval(() => void cache.invalidateQueries({ queryKey: ['Appointment'] }), 2000);
    const late = setTimeout(() => setIsLate(true), PATIENCE);
    return () => {
      clearInterval(look);
      clearTimeout(late);
    };
  }, [isWaiting, cache]);
  if (!id) return <Redirect to="/visits" replace />;
  return (
    <Page title={t('paid.title')}>
      <DataState of={visit}>
        {(found) => {
          if (labelOf(found) !== 'pending-payment') return <Redirect to={`/visits/${id}?new`} replace />;
          if (params.has('cancelled')) return <Empty icon={CreditCard} title={t('paid.cancelled')} text={t('paid.cancelledText')} action={<Button component={Link} to={`/visits/${id}`}>{t('paid.back')}</Button>} />;
          if (isLate) return <Empty icon={CreditCard} title={t('paid.late')} text={t('paid.lateText')} action={<Button component={Link} to={`/visits/${id}`} variant="default">{t('paid.back')}</Button>} />;
          return (
            <div role="status">
              <p>{t('paid.waiting')}</p>
              <Lines count={2} />
            </div>
          );
        }}
      </DataState>
    </Page>
  );
}
