/** Documents that go with a booking: those that are there, and new ones. */
import { Button, Checkbox, Stack, Text } from '@mantine/core';
import { Paperclip } from 'lucide-react';
import { useState } from 'react';
import { useSearch } from '@medconsult/shared/fhir/hooks';
import { useFormats } from '@medconsult/shared/format/context';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { UploadBox } from './UploadBox';

export function AttachDocuments({ chosen, onChange }: { chosen: string[]; onChange: (documents: string[]) => void }) {
  const t = useT();
  const { patient } = useSession();
  const { time } = useFormats();
  const [opened, setOpened] = useState(false);
  const documents = useSearch('DocumentReference', opened ? { subject: `Patient/${patient ?? ''}`, status: 'current', _sort: '-date', _count: 20 } : undefined);
  if (!opened) {
    return (
      <>
        <Text c="dimmed" mb="sm">{t('attach.text')}</Text>
        <Button variant="default" leftSection={<Paperclip size={18} aria-hidden="true" />} onClick={() => setOpened(true)}>{t('attach.open')}</Button>
      </>
    );
  }
  const toggle = (reference: string) => onChange(chosen.includes(reference) ? chosen.filter((each) => each !== reference) : [...chosen, reference]);
  return (
    <Stack>
      {(documents.data?.resources ?? []).map((document) => {
        const reference = `DocumentReference/${document.id}`;
        return (
          <Checkbox
            key={reference}
            checked={chosen.includes(reference)}
            onChange={() => toggle(reference)}
            label={document.content[0]?.attachment.title ?? t('documents.untitled')}
            description={document.date && time(document.date, 'date')}
          />
        );
      })}
      <UploadBox onDone={(document) => onChange([...chosen, document])} />
    </Stack>
  );
}
