/** What an invoice comes to and where it stands. */
import { Text } from '@mantine/core';
import type { Invoice } from 'fhir/r4';
import { Link } from 'wouter';
import { split } from '@medconsult/shared/fhir/values';
import { useRead } from '@medconsult/shared/fhir/hooks';
import { useFormats } from '@medconsult/shared/format/context';
import { useT } from '@medconsult/shared/texts/context';
import { DataState } from '@medconsult/shared/ui/state';
import { Label, type Tone } from '@medconsult/shared/ui/status';
import { Lines } from '@medconsult/shared/ui/splash';

const TONES: Record<Invoice['status'], Tone> = { 'draft': 'neutral', 'issued': 'wait', 'balanced': 'good', 'cancelled': 'neutral', 'entered-in-error': 'neutral' };

export function InvoiceStatus({ invoice }: { invoice: Invoice }) {
  const t = useT();
  return <Label tone={TONES[invoice.status]}>{t(`invoice.${invoice.status}`)}</Label>;
}

export function InvoiceLine({ reference }: { reference: string }) {
  const t = useT();
  const { money } = useFormats();
  const invoice = useRead<'Invoice'>(reference);
  return (
    <DataState of={invoice} skeleton={<Lines count={1} height={48} />}>
      {(found) => (
        <>
          <Text fz="lg" fw={650}>{money(found.totalGross)} <InvoiceStatus invoice={found} /></Text>
          {found.cancelledReason && <Text c="dimmed" mt={4}>{found.cancelledReason}</Text>}
          <Text mt="xs"><Link to={`/payments/${split(reference)?.id ?? ''}`}>{t(found.status === 'balanced' ? 'invoice.receipt' : 'invoice.open')}</Link></Text>
        </>
      )}
    </DataState>
  );
}
