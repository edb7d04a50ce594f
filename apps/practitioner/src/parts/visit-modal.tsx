/** A visit that was chosen in the calendar, and what can be done about it. */
import { useT } from '@medconsult/shared/texts/context';
import { When } from '@medconsult/shared/ui/when';
import { Button, Group, Modal, Text } from '@mantine/core';
import { MoveRight } from 'lucide-react';
import type { Patient } from 'fhir/r4';
import { reasonOf } from '../data/visits';
import type { Visit } from '../logic/visits';
import { usePatientFacts } from './patient';
import { StandingLabel } from './standing';
import { VisitActions } from './visit-actions';
import type { VisitItem } from './week-grid';

const MOVABLE: Visit['standing'][] = ['requested', 'pending-payment', 'approved'];

/** `onMove`: to a time that is chosen in the calendar. */
export default function VisitModal({
  item,
  patient,
  onMove,
  onClose,
}: {
  item: VisitItem;
  patient: Patient | undefined;
  onMove: () => void;
  onClose: () => void;
}) {
  const t = useT();
  const facts = usePatientFacts();
  const { visit, name } = item;
  const reason = reasonOf(visit.appointment);
  return (
    <Modal
      opened
      onClose={onClose}
      attributes={{ header: { role: 'presentation' } }}
      title={
        <Text fw={650} fz="lg" component="span">
          {name}
        </Text>
      }
      closeButtonProps={{ 'aria-label': t('app.close') }}
    >
      <Text c="dimmed">{[facts(patient), item.service].filter(Boolean).join(' · ')}</Text>
      <Text my="xs">
        <When at={visit.appointment.start ?? ''} style="day" />,{' '}
        <When at={visit.appointment.start ?? ''} end={visit.appointment.end} style="time" />
      </Text>
      <StandingLabel standing={visit.standing} />
      {reason && <Text mt="sm">{reason}</Text>}
      <Group mt="lg" gap="sm">
        <VisitActions visit={visit} patient={patient} prominent />
        {MOVABLE.includes(visit.standing) && (
          <Button variant="default" leftSection={<MoveRight size={18} aria-hidden="true" />} onClick={onMove}>
            {t('calendar.move')}
          </Button>
        )}
      </Group>
    </Modal>
  );
}
