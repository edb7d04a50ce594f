/** The buttons of a visit: the one thing to do, and a menu of what else is possible. */
import { split } from '@medconsult/shared/fhir/values';
import { useT } from '@medconsult/shared/texts/context';
import { toast } from '@medconsult/shared/ui/toast';
import { useFailureTexts } from '@medconsult/shared/ui/state';
import { ActionIcon, Button, Menu } from '@mantine/core';
import { Ban, CalendarClock, Check, Ellipsis, FileText, FolderOpen, MoveRight, Play, UserX, X } from 'lucide-react';
import type { Patient } from 'fhir/r4';
import { lazy, Suspense, useState } from 'react';
import { useLocation } from 'wouter';
import { afterwards } from '../data/afterwards';
import { useAnswers } from '../data/requests';
import { patientName, useVisitMoves } from '../data/visits';
import { actorOf, type Visit } from '../logic/visits';
import type { VisitDialog } from './visit-dialogs';

const Dialog = lazy(() => import('./visit-dialogs'));

export function VisitActions({ visit, patient, prominent = false }: { visit: Visit; patient: Patient | undefined; prominent?: boolean }) {
  const t = useT();
  const [, navigate] = useLocation();
  const [dialog, setDialog] = useState<VisitDialog>();
  const { approve } = useAnswers();
  const { start } = useVisitMoves();
  const failureTexts = useFailureTexts();
  const { appointment, action, standing } = visit;
  const name = patientName(appointment, patient);
  const chart = `/patients/${split(actorOf(appointment, 'Patient')?.actor?.reference)?.id}`;
  const page = `/visits/${appointment.id}`;
  const failed = (error: unknown) => {
    const { title, text } = failureTexts(error);
    toast(`${title}: ${text}`, 'bad');
  };
  const main = {
    'approve': {
      label: t('action.approve'),
      icon: Check,
      busy: approve.isPending,
      run: () => afterwards(approve.mutateAsync(appointment), () => toast(t('approve.done', { name })), failed),
    },
    'start': {
      label: t('action.start'),
      icon: Play,
      busy: start.isPending,
      run: () => afterwards(start.mutateAsync(visit), () => navigate(page), failed),
    },
    'continue': { label: t('action.continue'), icon: Play, busy: false, run: () => navigate(page) },
    'write-note': { label: t('action.note'), icon: FileText, busy: false, run: () => navigate(page) },
    'open-chart': { label: t('action.chart'), icon: FolderOpen, busy: false, run: () => navigate(chart) },
    'none': undefined,
  }[action];
  const Icon = main?.icon;
  const isOpen = standing === 'requested' || standing === 'pending-payment' || standing === 'approved';
  const mayMiss = (standing === 'approved' || standing === 'waiting-room') && visit.lateMinutes > 0;
  const close = () => setDialog(undefined);
  return (
    <>
      {main && Icon && (
        <Button
          variant={action === 'open-chart' || action === 'write-note' ? 'default' : 'filled'}
          size={prominent ? 'md' : 'sm'}
          h={44}
          leftSection={<Icon size={18} aria-hidden="true" />}
          loading={main.busy}
          onClick={main.run}
          aria-label={`${main.label}: ${name}`}
        >
          {main.label}
        </Button>
      )}
      <Menu position="bottom-end" width={240} shadow="md" keepMounted={false}>
        <Menu.Target>
          <ActionIcon variant="default" data-icon aria-label={t('action.more', { name })}>
            <Ellipsis size={20} aria-hidden="true" />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item leftSection={<FolderOpen size={18} aria-hidden="true" />} onClick={() => navigate(chart)}>
            {t('action.chart')}
          </Menu.Item>
          <Menu.Item leftSection={<FileText size={18} aria-hidden="true" />} onClick={() => navigate(page)}>
            {t('action.visit')}
          </Menu.Item>
          {action === 'approve' && (
            <Menu.Item leftSection={<CalendarClock size={18} aria-hidden="true" />} onClick={() => setDialog('propose')}>
              {t('action.propose')}
            </Menu.Item>
          )}
          {isOpen && action !== 'approve' && (
            <Menu.Item leftSection={<MoveRight size={18} aria-hidden="true" />} onClick={() => setDialog('move')}>
              {t('action.move')}
            </Menu.Item>
          )}
          {mayMiss && (
            <Menu.Item leftSection={<UserX size={18} aria-hidden="true" />} onClick={() => setDialog('miss')}>
              {t('action.miss')}
            </Menu.Item>
          )}
          {action === 'approve' && (
            <Menu.Item
              style={{ color: 'var(--mc-bad)' }}
              leftSection={<Ban size={18} aria-hidden="true" />}
              onClick={() => setDialog('reject')}
            >
              {t('action.reject')}
            </Menu.Item>
          )}
          {isOpen && action !== 'approve' && (
            <Menu.Item
              style={{ color: 'var(--mc-bad)' }}
              leftSection={<X size={18} aria-hidden="true" />}
              onClick={() => setDialog('cancel')}
            >
              {t('action.cancel')}
            </Menu.Item>
          )}
        </Menu.Dropdown>
      </Menu>
      {dialog && (
        <Suspense>
          <Dialog ask={dialog} visit={visit} patient={patient} onClose={close} />
        </Suspense>
      )}
    </>
  );
}
