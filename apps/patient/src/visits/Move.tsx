/** Moving a visit: the same practitioner and service, at another time. */
import { Text } from '@mantine/core';
import { CircleAlert } from 'lucide-react';
import type { Appointment, Bundle } from 'fhir/r4';
import { useState } from 'react';
import { useLocation } from 'wouter';
import type { Stored } from '@medconsult/shared/fhir/client';
import { useChange, useRead } from '@medconsult/shared/fhir/hooks';
import { useFormats } from '@medconsult/shared/format/context';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { ConfirmDialog } from '@medconsult/shared/ui/dialog';
import { Page, Section } from '@medconsult/shared/ui/page';
import { DataState } from '@medconsult/shared/ui/state';
import { Note } from '@medconsult/shared/ui/status';
import { toast } from '@medconsult/shared/ui/toast';
import { useService } from '../booking/hooks';
import { practitionerOf, serviceIdOf } from '../booking/offers';
import { TimePicker } from '../booking/TimePicker';
import { noticeEnds, whatIn, whoIn } from './visits';

export default function Move({ id }: { id: string }) {
  const t = useT();
  const visit = useRead<'Appointment'>(`Appointment/${id}`);
  return (
    <Page title={t('move.title')} back={{ to: `/visits/${id}`, label: t('visit.title') }}>
      <DataState of={visit}>{(found) => <Times visit={found} />}</DataState>
    </Page>
  );
}

function Times({ visit }: { visit: Stored<Appointment> }) {
  const t = useT();
  const { fhir } = useSession();
  const { time } = useFormats();
  const [, navigate] = useLocation();
  const [wanted, setWanted] = useState<Appointment>();
  const { data: service } = useService(serviceIdOf(visit));
  const isLate = service !== undefined && Date.now() > noticeEnds(visit, service.policy.rescheduleNotice);
  const move = useChange<Appointment, Bundle>({
    run: (proposal) =>
      fhir.operation(`Appointment/${visit.id}/$reschedule`, [{ name: 'appointment-reference', valueReference: { reference: `Appointment/${proposal.id ?? ''}` } }]),
    touches: ['Appointment', 'Slot', 'Task'],
  });
  const confirm = () => {
    if (!wanted) return;
    move.mutate(wanted, {
      onSuccess: (answer) => {
        const isAsked = answer.entry?.some((entry) => entry.resource?.resourceType === 'Task') ?? false;
        toast(t(isAsked ? 'move.asked' : 'move.done'));
        navigate(`/visits/${visit.id}`);
      },
    });
  };
  return (
    <>
      <Section>
        <Text c="dimmed">{t('move.now')}</Text>
        <Text fw={600}>{time(visit.start ?? '', 'long')}</Text>
        <Text>{whoIn(visit)} · {whatIn(visit)}</Text>
      </Section>
      {isLate && <Note tone="wait" icon={CircleAlert} title={t('move.late')}>{t('move.lateText', { who: whoIn(visit) })}</Note>}
      <TimePicker practitioner={practitionerOf(visit) ?? ''} service={serviceIdOf(visit) ?? ''} ignored={visit.id} busy={move.isPending ? wanted?.id : undefined} onPick={setWanted} />
      <ConfirmDialog
        opened={wanted !== undefined}
        title={t(isLate ? 'move.ask' : 'move.confirm')}
        text={
          <>
            <Text td="line-through" c="dimmed">{time(visit.start ?? '', 'long')}</Text>
            <Text fw={600}>{wanted && time(wanted.start ?? '', 'long')}</Text>
            <Text mt="sm">{t(isLate ? 'move.askText' : 'move.confirmText')}</Text>
          </>
        }
        action={t(isLate ? 'move.askAction' : 'move.action')}
        busy={move.isPending}
        error={move.error}
        onConfirm={confirm}
        onClose={() => {
          setWanted(undefined);
          move.reset();
        }}
      />
    </>
  );
}
