/** Blocks time in the calendar. First it is told which visits that hits, and only then is it done. */
import { useFormats } from '@medconsult/shared/format/context';
import { dayOf } from '@medconsult/shared/format/time';
import { useT } from '@medconsult/shared/texts/context';
import { ConfirmDialog } from '@medconsult/shared/ui/dialog';
import { Note } from '@medconsult/shared/ui/status';
import { toast } from '@medconsult/shared/ui/toast';
import { When, ZoneNote } from '@medconsult/shared/ui/when';
import { Group, TextInput } from '@mantine/core';
import { CalendarX, CircleCheck } from 'lucide-react';
import type { Schedule } from 'fhir/r4';
import { useState } from 'react';
import { afterwards } from '../data/afterwards';
import { useBlock, visitsHit } from '../data/schedule';
import { actorOf } from '../logic/visits';
import { clockMinutes, instantOf } from '@medconsult/shared/format/zone';

export default function BlockDialog({ schedule, onClose }: { schedule: Schedule; onClose: () => void }) {
  const t = useT();
  const { timeZone } = useFormats();
  const today = dayOf(new Date(), timeZone);
  const [form, setForm] = useState({ from: today, at: '12:00', until: today, till: '13:00', comment: '' });
  const { preview, block } = useBlock(schedule);
  const set = (change: Partial<typeof form>) => {
    setForm({ ...form, ...change });
    preview.reset();
  };
  const [start, end] = [readTime(form.from, form.at, timeZone), readTime(form.until, form.till, timeZone)];
  const isOrdered = start !== undefined && end !== undefined && start < end;
  const absence = { start: start ?? 0, end: end ?? 0, comment: form.comment };
  const hit = preview.data && visitsHit(preview.data);
  const confirm = () => {
    if (!isOrdered) return;
    if (!hit) return preview.mutate(absence);
    afterwards(block.mutateAsync(absence), () => {
      toast(t('block.done'));
      onClose();
    });
  };
  return (
    <ConfirmDialog
      opened
      title={t('block.title')}
      text={
        <>
          {t('block.text')} <ZoneNote />.
        </>
      }
      action={t(hit ? (hit.length > 0 ? 'block.anyway' : 'block.action') : 'block.check')}
      busy={preview.isPending || block.isPending}
      error={block.error ?? preview.error}
      onConfirm={confirm}
      onClose={onClose}
    >
      <Group grow align="flex-start">
        <TextInput
          type="date"
          label={t('block.from')}
          min={today}
          value={form.from}
          onChange={(event) =>
            set({ from: event.currentTarget.value, until: event.currentTarget.value > form.until ? event.currentTarget.value : form.until })
          }
        />
        <TextInput type="time" label={t('block.fromTime')} value={form.at} onChange={(event) => set({ at: event.currentTarget.value })} />
      </Group>
      <Group grow align="flex-start" mt="sm">
        <TextInput
          type="date"
          label={t('block.until')}
          min={form.from}
          value={form.until}
          onChange={(event) => set({ until: event.currentTarget.value })}
        />
        <TextInput
          type="time"
          label={t('block.untilTime')}
          value={form.till}
          onChange={(event) => set({ till: event.currentTarget.value })}
          error={!isOrdered && t('block.order')}
        />
      </Group>
      <TextInput
        mt="sm"
        label={t('block.comment')}
        description={t('block.commentHint')}
        maxLength={200}
        value={form.comment}
        onChange={(event) => set({ comment: event.currentTarget.value })}
      />
      <div role="status" style={{ marginTop: '1rem' }}>
        {hit && hit.length === 0 && (
          <Note tone="good" icon={CircleCheck}>
            {t('block.free')}
          </Note>
        )}
        {hit && hit.length > 0 && (
          <Note tone="wait" icon={CalendarX} title={t('block.hits', { count: hit.length })}>
            {t('block.hitsText')}
            <ul style={{ margin: '0.5rem 0 0', paddingInlineStart: '1.25rem' }}>
              {hit.map((visit) => (
                <li key={visit.id}>
                  <When at={visit.start ?? ''} /> {actorOf(visit, 'Patient')?.actor?.display}
                </li>
              ))}
            </ul>
          </Note>
        )}
      </div>
    </ConfirmDialog>
  );
}

/** The instant of a date and a time as they are typed. */
function readTime(day: string, time: string, timeZone: string): number | undefined {
  const minutes = clockMinutes(time);
  return /^\d{4}-\d\d-\d\d$/.test(day) && minutes !== undefined ? instantOf(day, minutes, timeZone) : undefined;
}
