/** A question that is asked before something that cannot be taken back. */
import { Button, Group, Modal, Text } from '@mantine/core';
import type { ReactNode } from 'react';
import { useT } from '../texts/context';
import { FormProblem } from './state';

export function ConfirmDialog({ opened, title, text, action, dismiss, danger = false, busy = false, error, onConfirm, onClose, children }: {
  opened: boolean;
  title: string;
  text?: ReactNode;
  /** What the button says that does it. */
  action: string;
  /** What the other one says, where "Cancel" could be mistaken. */
  dismiss?: string;
  danger?: boolean;
  busy?: boolean;
  error?: unknown;
  onConfirm: () => void;
  onClose: () => void;
  children?: ReactNode;
}) {
  const t = useT();
  return (
    <Modal opened={opened} onClose={onClose} title={<Text fw={650} fz="lg" component="span">{title}</Text>} closeButtonProps={{ 'aria-label': t('app.close') }}>
      {text && <Text mb="md" component="div">{text}</Text>}
      {children}
      <FormProblem error={error} />
      <Group justify="flex-end" mt="lg">
        <Button variant="default" onClick={onClose} data-autofocus={danger || undefined}>{dismiss ?? t('app.cancel')}</Button>
        <Button color={danger ? 'red' : undefined} loading={busy} onClick={onConfirm}>{action}</Button>
      </Group>
    </Modal>
  );
}
