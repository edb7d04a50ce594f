/** Where files are dropped or chosen, and the list of those that are about to be sent. */
import { ActionIcon, Button, NativeSelect, Progress, Text } from '@mantine/core';
import { CircleCheck, FileUp, RotateCcw, X } from 'lucide-react';
import { useRef, useState, type DragEvent } from 'react';
import { useFormats } from '@medconsult/shared/format/context';
import { writeBytes } from '@medconsult/shared/format/money';
import { useT } from '@medconsult/shared/texts/context';
import { useFailureTexts } from '@medconsult/shared/ui/state';
import { CATEGORIES, LARGEST, TYPES, type Category } from './upload';
import { useUploads, type Upload } from './uploads';
import classes from './documents.module.css';

export function UploadBox({ onDone }: { onDone?: (document: string) => void }) {
  const t = useT();
  const { locale } = useFormats();
  const input = useRef<HTMLInputElement>(null);
  const [over, setOver] = useState(false);
  const { uploads, choose, categorise, send, sendAll, drop } = useUploads(onDone);
  const waiting = uploads.filter((upload) => upload.state.at === 'chosen' || upload.state.at === 'failed');
  const dropped = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    choose(event.dataTransfer.files);
  };
  return (
    <div>
      <div
        className={classes.drop}
        data-over={over || undefined}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={dropped}
      >
        <FileUp size={28} aria-hidden="true" />
        <div>
          <Button variant="light" onClick={() => input.current?.click()}>{t('upload.choose')}</Button>
          <Text span className={classes.orDrop}>{t('upload.drop')}</Text>
          <Text c="dimmed" fz="sm" mt={6}>{t('upload.limits', { size: writeBytes(LARGEST, locale) })}</Text>
        </div>
        <input
          ref={input}
          type="file"
          multiple
          hidden
          accept={TYPES.join(',')}
          aria-label={t('upload.choose')}
          onChange={(event) => {
            choose(event.currentTarget.files ?? []);
            event.currentTarget.value = '';
          }}
        />
      </div>
      {uploads.length > 0 && (
        <ul className={classes.uploads}>
          {uploads.map((upload) => (
            <Row key={upload.key} upload={upload} onCategory={(category) => categorise(upload.key, category)} onAgain={() => send(upload)} onDrop={() => drop(upload.key)} />
          ))}
        </ul>
      )}
      {waiting.length > 0 && <Button mt="sm" onClick={() => void sendAll()}>{t('upload.send', { count: waiting.length })}</Button>}
    </div>
  );
}

function Row({ upload, onCategory, onAgain, onDrop }: { upload: Upload; onCategory: (category: Category) => void; onAgain: () => void; onDrop: () => void }) {
  const t = useT();
  const { locale } = useFormats();
  const failed = useFailureTexts();
  const { state, file } = upload;
  const share = state.at === 'sending' ? Math.round(state.share * 100) : 0;
  return (
    <li className={classes.upload}>
      <div className={classes.uploadName}>
        <strong>{file.name}</strong>
        <Text c="dimmed" fz="sm">{writeBytes(file.size, locale)}</Text>
      </div>
      {(state.at === 'chosen' || state.at === 'failed') && (
        <NativeSelect
          aria-label={t('upload.category', { name: file.name })}
          value={upload.category}
          onChange={(event) => onCategory(event.currentTarget.value as Category)}
          data={Object.keys(CATEGORIES).map((category) => ({ value: category, label: t(`category.${category}`) }))}
        />
      )}
      <div className={classes.uploadState} role="status">
        {state.at === 'sending' && (
          <>
            <Progress value={share} aria-label={t('upload.sending', { name: file.name })} />
            <Text fz="sm">{share < 100 ? `${share} %` : t('upload.checking')}</Text>
          </>
        )}
        {state.at === 'done' && <Text c="var(--mc-good)" className={classes.doneWord}><CircleCheck size={18} aria-hidden="true" /> {t('upload.done')}</Text>}
        {state.at === 'objected' && <Text c="var(--mc-bad)">{t(`upload.${state.why}`, { size: writeBytes(LARGEST, locale) })}</Text>}
        {state.at === 'failed' && <Text c="var(--mc-bad)">{failed(state.failure).title}. {failed(state.failure).text}</Text>}
      </div>
      <div className={classes.uploadActions}>
        {state.at === 'failed' && <ActionIcon aria-label={t('upload.again', { name: file.name })} onClick={onAgain}><RotateCcw size={20} aria-hidden="true" /></ActionIcon>}
        {state.at !== 'done' && <ActionIcon aria-label={t('upload.remove', { name: file.name })} onClick={onDrop}><X size={20} aria-hidden="true" /></ActionIcon>}
      </div>
    </li>
  );
}
