/** What was prescribed, with the signed sheets. */
import { Button, Text } from '@mantine/core';
import { Pill } from 'lucide-react';
import type { DocumentReference, MedicationRequest } from 'fhir/r4';
import { useMemo } from 'react';
import type { Stored } from '@medconsult/shared/fhir/client';
import { useRead, useSearch, useSearchPages } from '@medconsult/shared/fhir/hooks';
import { nameOf as personName, relative, split, textOfConcept } from '@medconsult/shared/fhir/values';
import { useFormats } from '@medconsult/shared/format/context';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { FileDownload } from '@medconsult/shared/ui/file';
import { Page, Section } from '@medconsult/shared/ui/page';
import { DataState, Empty } from '@medconsult/shared/ui/state';
import { Label, type Tone } from '@medconsult/shared/ui/status';
import { groupsOf, sheetOf } from './prescriptions';
import classes from './record.module.css';

export default function Prescriptions() {
  const t = useT();
  const { patient } = useSession();
  const subject = `Patient/${patient ?? ''}`;
  const found = useSearchPages('MedicationRequest', { subject, 'status:not': 'draft', 'intent': 'order', '_sort': '-authoredon', '_count': 100 });
  const sheets = useSearch('DocumentReference', { subject, type: 'http://loinc.org|57833-6', _sort: '-date', _count: 200 });
  const groups = useMemo(() => groupsOf(found.data?.resources ?? []), [found.data]);
  return (
    <Page title={t('prescriptions.title')} lead={t('prescriptions.lead')}>
      <DataState of={{ data: found.data && groups, error: found.error, refetch: found.refetch }} isEmpty={(all) => all.length === 0} empty={<Empty icon={Pill} title={t('prescriptions.none')} text={t('prescriptions.noneText')} />}>
        {(all) => all.map((group) => <Sheet key={group.key} group={group.orders} sheet={sheetOf(group.orders, sheets.data?.resources ?? [])} />)}
      </DataState>
      {found.hasNextPage && <Button variant="default" loading={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>{t('app.more')}</Button>}
    </Page>
  );
}

function Sheet({ group, sheet }: { group: Stored<MedicationRequest>[]; sheet: DocumentReference | undefined }) {
  const t = useT();
  const { time } = useFormats();
  const first = group[0];
  const requester = useRead<'Practitioner'>(first?.requester?.reference?.startsWith('Practitioner/') ? first.requester.reference : undefined);
  const who = first?.requester?.display ?? personName(requester.data?.name);
  const content = relative(sheet?.content[0]?.attachment.url);
  const title = first?.authoredOn ? t('prescriptions.of', { date: time(first.authoredOn, 'date') }) : t('prescriptions.one');
  return (
    <Section title={title} actions={content && <FileDownload reference={content} name={`${title}.pdf`} label={t('prescriptions.pdf')} size="sm" />}>
      {who && <Text c="dimmed" mb="sm">{t('prescriptions.by', { who })}</Text>}
      <ul className={classes.drugs}>
        {group.map((order) => (
          <li key={order.id} id={order.id} className={classes.drug}>
            <div className={classes.drugHead}>
              <strong>{nameOf(order)}</strong>
              <Label tone={TONES[order.status] ?? 'neutral'}>{t(`order.${order.status}`)}</Label>
            </div>
            {(order.dosageInstruction ?? []).map((dosage, at) => <Text key={at}>{dosage.text ?? dosage.patientInstruction}</Text>)}
            <Text c="dimmed" fz="sm">
              {[
                order.dispenseRequest?.quantity?.value !== undefined && t('order.quantity', { quantity: `${order.dispenseRequest.quantity.value} ${order.dispenseRequest.quantity.unit ?? ''}`.trim() }),
                order.dispenseRequest?.numberOfRepeatsAllowed !== undefined && t('order.repeats', { count: order.dispenseRequest.numberOfRepeatsAllowed }),
                order.dispenseRequest?.validityPeriod?.end && t('order.validUntil', { date: time(order.dispenseRequest.validityPeriod.end, 'date') }),
              ].filter(Boolean).join(' · ')}
            </Text>
            {order.note?.map((note, at) => <Text key={at} fz="sm">{note.text}</Text>)}
          </li>
        ))}
      </ul>
    </Section>
  );
}

const TONES: Partial<Record<string, Tone>> = { 'active': 'good', 'on-hold': 'wait', 'cancelled': 'bad', 'stopped': 'bad' };

const nameOf = (order: MedicationRequest): string =>
  textOfConcept(order.medicationCodeableConcept) || (order.medicationReference?.display ?? split(order.medicationReference?.reference)?.id ?? '');
