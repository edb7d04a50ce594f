/** Files on their way to the server, with how far each has come. */
import { useQueryClient } from '@tanstack/react-query';
import type { DocumentReference } from 'fhir/r4';
import { useCallback, useRef, useState } from 'react';
import { asFailure, type FhirFailure } from '@medconsult/shared/fhir/failure';
import { useSession } from '@medconsult/shared/session/context';
import { formOf, guessCategory, objectionTo, type Category, type Objection } from './upload';

export interface Upload {
  key: string;
  file: File;
  category: Category;
  state: { at: 'chosen' } | { at: 'objected'; why: Objection } | { at: 'sending'; share: number } | { at: 'failed'; failure: FhirFailure } | { at: 'done'; document: string };
}

let last = 0;

export function useUploads(onDone?: (document: string) => void) {
  const { fhir } = useSession();
  const cache = useQueryClient();
  const [uploads, setUploads] = useState<Upload[]>([]);
  const stops = useRef(new Map<string, AbortController>());
  const set = useCallback((key: string, change: Partial<Upload>) => {
    setUploads((before) => before.map((each) => (each.key === key ? { ...each, ...change } : each)));
  }, []);

  const choose = (files: Iterable<File>) => {
    const chosen = [...files].map((file): Upload => {
      const why = objectionTo(file);
      last += 1;
      return { key: String(last), file, category: guessCategory(file.name), state: why ? { at: 'objected', why } : { at: 'chosen' } };
    });
    setUploads((before) => [...before.filter((each) => each.state.at !== 'done'), ...chosen]);
  };

  const send = async (upload: Upload) => {
    const stop = new AbortController();
    stops.current.set(upload.key, stop);
    set(upload.key, { state: { at: 'sending', share: 0 } });
    try {
      const form = formOf(upload.file, upload.category);
      const stored = await fhir.upload<DocumentReference>('DocumentReference/$upload', form, (share) => set(upload.key, { state: { at: 'sending', share } }), stop.signal);
      const document = `DocumentReference/${stored.id}`;
      set(upload.key, { state: { at: 'done', document } });
      await cache.invalidateQueries({ queryKey: ['DocumentReference'] });
      onDone?.(document);
    } catch (error) {
      if (stop.signal.aborted) setUploads((before) => before.filter((each) => each.key !== upload.key));
      else set(upload.key, { state: { at: 'failed', failure: asFailure(error) } });
    } finally {
      stops.current.delete(upload.key);
    }
  };

  return {
    uploads,
    choose,
    categorise: (key: string, category: Category) => set(key, { category }),
    send: (upload: Upload) => void send(upload),
    /** One after the other, since they share the same line. */
    sendAll: async () => {
      for (const upload of uploads) if (upload.state.at === 'chosen' || upload.state.at === 'failed') await send(upload);
    },
    drop: (key: string) => {
      const stop = stops.current.get(key);
      if (stop) stop.abort();
      else setUploads((before) => before.filter((each) => each.key !== key));
    },
  };
}
