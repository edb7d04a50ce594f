/** One invoice, as something to print or to keep. */
import { Button, Text, Title } from '@mantine/core';
import { Printer } from 'lucide-react';
import { useRead, useSearch } from '@medconsult/shared/fhir/hooks';
import { nameOf } from '@medconsult/shared/fhir/values';
import { useFormats, useMe } from '@medconsult/shared/format/context';
import { useT } from '@medconsult/shared/texts/context';
import { Page, Section } from '@medconsult/shared/ui/page';
import { DataState, FormProblem } from '@medconsult/shared/ui/state';
import { labelOf } from '@medconsult/shared/ui/status';
import { InvoiceStatus } from './InvoiceLine';
import { titleOf } from './invoices';
import { usePay } from './pay';
import classes from './payments.module.css';

export default function ReceiptPage({ id }: { id: string }) {
  const t = useT();
  const { money, time } = useFormats();
  const { resource: me } = useMe();
  const invoice = useRead<'Invoice'>(`Invoice/${id}`);
  const issuer = useRead<'Organization'>(invoice.data?.issuer?.reference);
  const visits = useSearch('Appointment', { 'supporting-info': `Invoice/${id}`, '_count': 5 });
  const visit = visits.data?.resources[0];
  const pay = usePay();
  return (
    <Page title={t('receipt.title')} back={{ to: '/payments', label: t('payments.title') }} actions={<Button variant="default" className={classes.noPrint} leftSection={<Printer size={18} aria-hidden="true" />} onClick={() => window.print()}>{t('receipt.print')}</Button>}>
      <DataState of={invoice}>
        {(found) => (
          <Section>
            <div className={classes.head}>
              <div>
                <Title order={2}>{issuer.data?.name ?? found.issuer?.display ?? ''}</Title>
                {(issuer.data?.address ?? []).slice(0, 1).map((address, at) => (
                  <Text key={at} c="dimmed">{[...(address.line ?? []), [address.postalCode, address.city].filter(Boolean).join(' '), address.country].filter(Boolean).join(', ')}</Text>
                ))}
              </div>
              <InvoiceStatus invoice={found} />
            </div>
            <dl className={classes.pairs}>
              <dt>{t('receipt.number')}</dt>
              <dd>{found.id}</dd>
              <dt>{t('receipt.date')}</dt>
              <dd>{found.date && time(found.date, 'date')}</dd>
              <dt>{t('receipt.for')}</dt>
              <dd>{found.recipient?.display ?? nameOf(me?.name)}</dd>
              {visit?.start && (
                <>
                  <dt>{t('receipt.visit')}</dt>
                  <dd>{time(visit.start, 'dateTime')}</dd>
                </>
              )}
            </dl>
            <table className={classes.table}>
              <thead>
                <tr>
                  <th scope="col">{t('receipt.what')}</th>
                  <th scope="col">{t('receipt.amount')}</th>
                </tr>
              </thead>
              <tbody>
                {(found.lineItem ?? []).map((item, at) => (
                  <tr key={item.sequence ?? at}>
                    <td>{item.chargeItemCodeableConcept?.text ?? item.chargeItemReference?.display ?? (titleOf(found) || t('payments.visit'))}</td>
                    <td>{money(item.priceComponent?.find((part) => part.type === 'base')?.amount ?? found.totalGross)}</td>
                  </tr>
                ))}
              </tbody>
              <tfoot>
                <tr>
                  <th scope="row">{t('receipt.total')}</th>
                  <td>{money(found.totalGross)}</td>
                </tr>
              </tfoot>
            </table>
            {found.cancelledReason && <Text mt="md">{found.cancelledReason}</Text>}
            {found.note?.map((note, at) => <Text key={at} mt="sm">{note.text}</Text>)}
            <FormProblem error={pay.error} />
            {found.status === 'issued' && visit && labelOf(visit) === 'pending-payment' && <Button mt="md" loading={pay.isPending} onClick={() => pay.mutate(visit.id)}>{t('visit.pay')}</Button>}
          </Section>
        )}
      </DataState>
    </Page>
  );
}
