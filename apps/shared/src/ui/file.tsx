/** Files of the record, which only the session may read. */
import { Button, type ButtonProps } from '@mantine/core';
import { Download } from 'lucide-react';
import { useState } from 'react';
import { useSession } from '../session/context';
import { useT } from '../texts/context';
import { toast } from './toast';

/** Fetches a file and hands it to the browser to keep. `reference`: `Binary/7`. */
export function FileDownload({ reference, name, label, ...button }: { reference: string; name: string; label?: string } & ButtonProps) {
  const t = useT();
  const { fhir } = useSession();
  const [busy, setBusy] = useState(false);
  const fetchFile = async () => {
    setBusy(true);
    try {
      saveFile(await fhir.blob(reference), name);
    } catch {
      toast(t('file.failed'), 'bad');
    } finally {
      setBusy(false);
    }
  };
  return (
    <Button variant="default" leftSection={<Download size={18} aria-hidden="true" />} loading={busy} onClick={() => void fetchFile()} {...button}>
      {label ?? t('file.download')}
    </Button>
  );
}

export function saveFile(file: Blob, name: string): void {
  const address = URL.createObjectURL(file);
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
