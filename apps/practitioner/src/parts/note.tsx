/** The note of a visit: kept while it is typed, and signed when it is done. */
import { asFailure } from '@medconsult/shared/fhir/failure';
import { useChange, useSearch } from '@medconsult/shared/fhir/hooks';
import type { Stored } from '@medconsult/shared/fhir/client';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { Section } from '@medconsult/shared/ui/page';
import { DataState, FormProblem } from '@medconsult/shared/ui/state';
import { Label } from '@medconsult/shared/ui/status';
import { toast } from '@medconsult/shared/ui/toast';
import { When } from '@medconsult/shared/ui/when';
import { Button, Textarea, Title } from '@mantine/core';
import { BadgeCheck, Pencil, Signature } from 'lucide-react';
import type { Composition, Encounter } from 'fhir/r4';
import { lazy, Suspense, useEffect, useRef, useState } from 'react';
import { afterwards } from '../data/afterwards';
import { useSelf } from '../data/visits';
import { EMPTY_NOTE, NOTE_PARTS, noteOf, type NotePart, type NoteText, partOf, plainText, textOfNote } from '../logic/moves';
import classes from '../pages/visit.module.css';

const ConfirmDialog = lazy(() => import('@medconsult/shared/ui/dialog').then((module) => ({ default: module.ConfirmDialog })));

/** Typing pauses so long before what was typed is stored, in milliseconds. */
const PAUSE = 1500;
const PARTS = Object.keys(NOTE_PARTS) as NotePart[];

export function VisitNote({ encounter }: { encounter: Encounter & { id?: string } }) {
  const asked = useSearch('Composition', {
    encounter: `Encounter/${encounter.id}`,
    type: 'http://loinc.org|11488-4',
    _sort: '-date',
    _count: 5,
  });
  return (
    <DataState of={asked}>
      {({ resources }) => {
        const note = resources.find(({ status }) => status !== 'entered-in-error');
        return <Note key={encounter.id} encounter={encounter} stored={note} />;
      }}
    </DataState>
  );
}

function Note({ encounter, stored }: { encounter: Encounter; stored: Stored<Composition> | undefined }) {
  const t = useT();
  const [editing, setEditing] = useState(false);
  const isSigned = stored?.status === 'final' || stored?.status === 'amended';
  if (isSigned && !editing) {
    const signer = stored.attester?.[0]?.party?.display ?? stored.author[0]?.display;
    return (
      <Section
        title={t('note.title')}
        actions={
          <Button variant="subtle" size="sm" leftSection={<Pencil size={18} aria-hidden="true" />} onClick={() => setEditing(true)}>
            {t('note.amend')}
          </Button>
        }
      >
        <p>
          <Label icon={BadgeCheck} tone="good">
            {t(stored.status === 'amended' ? 'note.amended' : 'note.signed')}
          </Label>{' '}
          <span className={classes.saved}>
            <When at={stored.date} />
            {signer && ` · ${signer}`}
          </span>
        </p>
        {stored.section?.map((section, index) => {
          const part = partOf(section);
          return (
            <div key={index} className={classes.section}>
              <Title order={3}>{part ? t(`note.${part}`) : section.title}</Title>
              <p className={classes.text}>{plainText(section.text?.div ?? '')}</p>
            </div>
          );
        })}
      </Section>
    );
  }
  return <Editor encounter={encounter} stored={stored} amends={isSigned} onDone={() => setEditing(false)} />;
}

function Editor({
  encounter,
  stored,
  amends,
  onDone,
}: {
  encounter: Encounter;
  stored: Stored<Composition> | undefined;
  amends: boolean;
  onDone: () => void;
}) {
  const t = useT();
  const { fhir } = useSession();
  const practitioner = useSelf();
  const [text, setText] = useState<NoteText>(() => (stored ? textOfNote(stored) : EMPTY_NOTE));
  const [kept, setKept] = useState(text);
  const [signing, setSigning] = useState(false);
  const dirty = text !== kept;
  // The version that the next save replaces. What comes back of our own saves must not touch what is being typed.
  const known = useRef<Composition | undefined>(stored);
  // One save after the other: each needs the version of the one before.
  const queue = useRef<Promise<unknown>>(Promise.resolve());

  const write = (signed: boolean, of: NoteText) => {
    const next = queue.current
      .catch(() => undefined)
      .then(async () => {
        const note = noteOf(of, { encounter, practitioner, now: new Date(), signed, ...(known.current && { before: known.current }) });
        known.current = note.id ? await fhir.update(note) : await fhir.create(note);
        return known.current;
      });
    queue.current = next;
    return next;
  };
  const save = useChange<NoteText, Composition>({ run: (of) => write(false, of), touches: [] });
  const sign = useChange<NoteText, Composition>({ run: (of) => write(true, of), touches: ['Composition'] });

  const { mutate } = save;
  useEffect(() => {
    // A signed note is changed by signing it anew, not while it is typed.
    if (!dirty || amends) return undefined;
    const timer = setTimeout(() => mutate(text, { onSuccess: () => setKept(text) }), PAUSE);
    return () => clearTimeout(timer);
  }, [text, dirty, amends, mutate]);
  useEffect(() => {
    if (!dirty) return undefined;
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener('beforeunload', warn);
    return () => window.removeEventListener('beforeunload', warn);
  }, [dirty]);

  const isEmpty = PARTS.every((part) => !text[part].trim());
  const change = (part: NotePart, value: string) => setText({ ...text, [part]: value });
  const confirm = () =>
    afterwards(sign.mutateAsync(text), () => {
      toast(t('note.done'));
      onDone();
    });
  return (
    <Section title={t('note.title')}>
      {PARTS.map((part) => (
        <Textarea
          key={part}
          className={classes.part}
          label={t(`note.${part}`)}
          description={t(`note.${part}.hint`)}
          autosize
          minRows={part === 'objective' ? 2 : 3}
          maxRows={20}
          maxLength={20_000}
          value={text[part]}
          onChange={(event) => change(part, event.currentTarget.value)}
        />
      ))}
      <FormProblem error={save.error && asFailure(save.error)} />
      <div className={classes.foot}>
        <span className={classes.saved} role="status">
          {amends
            ? t('note.amending')
            : save.isPending
              ? t('note.saving')
              : dirty
                ? t('note.unsaved')
                : save.isSuccess || stored
                  ? t('note.saved')
                  : t('note.fresh')}
        </span>
        <span style={{ display: 'flex', gap: '0.5rem' }}>
          {amends && (
            <Button variant="default" onClick={onDone}>
              {t('app.cancel')}
            </Button>
          )}
          <Button leftSection={<Signature size={18} aria-hidden="true" />} disabled={isEmpty} onClick={() => setSigning(true)}>
            {t('note.sign')}
          </Button>
        </span>
      </div>
      {signing && (
        <Suspense>
          <ConfirmDialog
            opened
            title={t('note.signTitle')}
            text={t('note.signText')}
            action={t('note.sign')}
            busy={sign.isPending}
            error={sign.error}
            onConfirm={confirm}
            onClose={() => setSigning(false)}
          />
        </Suspense>
      )}
    </Section>
  );
}
