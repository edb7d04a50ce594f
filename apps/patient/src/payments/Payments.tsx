/** What was paid and is to be paid. */
import { Button } from '@mantine/core';
import { Receipt } from 'lucide-react';
import { Link } from 'wouter';
import { useSearchPages } from '@medconsult/shared/fhir/hooks';
import { useFormats } from '@medconsult/shared/format/context';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { Page } from '@medconsult/shared/ui/page';
import { DataState, Empty } from '@medconsult/shared/ui/state';
import documents from '../documents/documents.module.css';
import { InvoiceStatus } from './InvoiceLine';
import { titleOf } from './invoices';
import classes from './payments.module.css';

export default function Payments() {
  const t = useT();
  const { patient } = useSession();
  const { money, time } = useFormats();
  const invoices = useSearchPages('Invoice', { subject: `Patient/${patient ?? ''}`, _sort: '-date', _count: 50 });
  return (
    <Page title={t('payments.title')} lead={t('payments.lead')}>
      <DataState of={{ data: invoices.data?.resources, error: invoices.error, refetch: invoices.refetch }} isEmpty={(all) => all.length === 0} empty={<Empty icon={Receipt} title={t('payments.none')} text={t('payments.noneText')} />}>
        {(all) => (
          <ul className={documents.list}>
            {all.map((invoice) => (
              <li key={invoice.id}>
                <Link to={`/payments/${invoice.id}`} className={classes.row}>
                  <span className={classes.what}>
                    <strong>{titleOf(invoice) || t('payments.visit')}</strong>
                    <span className={classes.quiet}>{invoice.date && time(invoice.date, 'date')}</span>
                  </span>
                  <InvoiceStatus invoice={invoice} />
                  <strong className={classes.amount}>{money(invoice.totalGross)}</strong>
                </Link>
              </li>
            ))}
          </ul>
        )}
      </DataState>
      {invoices.hasNextPage && <Button mt="md" variant="default" loading={invoices.isFetchingNextPage} onClick={() => void invoices.fetchNextPage()}>{t('app.more')}</Button>}
    </Page>
  );
}
