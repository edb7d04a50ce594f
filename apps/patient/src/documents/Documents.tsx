/** The patient's documents: adding, finding, looking at them. */
import { Button, Modal, Text, TextInput } from '@mantine/core';
import { File, FileImage, FileText, Search, Upload } from 'lucide-react';
import type { DocumentReference } from 'fhir/r4';
import { useQuery } from '@tanstack/react-query';
import { useDeferredValue, useEffect, useMemo, useState } from 'react';
import { useSearchParams } from 'wouter';
import type { Stored } from '@medconsult/shared/fhir/client';
import { asFailure, type FhirFailure } from '@medconsult/shared/fhir/failure';
import { useRead, useSearchPages } from '@medconsult/shared/fhir/hooks';
import { codeOf, relative, systemUrl } from '@medconsult/shared/fhir/values';
import { useFormats } from '@medconsult/shared/format/context';
import { writeBytes } from '@medconsult/shared/format/money';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { FileDownload } from '@medconsult/shared/ui/file';
import { Page, Section } from '@medconsult/shared/ui/page';
import { Lines } from '@medconsult/shared/ui/splash';
import { DataState, Empty, Problem } from '@medconsult/shared/ui/state';
import { titleOf } from './title';
import { CATEGORIES } from './upload';
import { UploadBox } from './UploadBox';
import classes from './documents.module.css';

export default function Documents() {
  const t = useT();
  const { patient } = useSession();
  const [params, setParams] = useSearchParams();
  const category = params.get('category') ?? '';
  const open = params.get('open');
  const [text, setText] = useState('');
  const words = useDeferredValue(text).toLocaleLowerCase();
  const found = useSearchPages('DocumentReference', {
    'subject': `Patient/${patient ?? ''}`,
    'status': 'current',
    'category': category && `${systemUrl('document-category')}|${category}`,
    '_sort': '-date',
    '_count': 50,
  });
  const set = (name: string, value: string) =>
    setParams(
      (before) => {
        const next = new URLSearchParams(before);
        if (value) next.set(name, value);
        else next.delete(name);
        return next;
      },
      { replace: true },
    );
  const shown = useMemo(
    () => (found.data?.resources ?? []).filter((document) => titleOf(document).toLocaleLowerCase().includes(words)),
    [found.data, words],
  );

  return (
    <Page title={t('documents.title')} lead={t('documents.lead')}>
      <UploadBox />
      <div className={classes.bar}>
        <fieldset className={classes.chips} aria-label={t('documents.categories')}>
          {['', ...Object.keys(CATEGORIES)].map((each) => (
            <button key={each} type="button" className={classes.chip} aria-pressed={each === category} onClick={() => set('category', each)}>
              {t(each === '' ? 'documents.all' : `category.${each}`)}
            </button>
          ))}
        </fieldset>
        <TextInput aria-label={t('documents.search')} placeholder={t('documents.search')} leftSection={<Search size={18} aria-hidden="true" />} value={text} onChange={(event) => setText(event.currentTarget.value)} />
      </div>
      <DataState of={found} isEmpty={(all) => all.resources.length === 0} empty={<Empty icon={Upload} title={t(category ? 'documents.noneOfCategory' : 'documents.none')} text={t('documents.noneText')} />}>
        {() => (
          <ul className={classes.list}>
            {shown.map((document) => (
              <li key={document.id}>
                <DocumentRow document={document} onOpen={() => set('open', document.id)} />
              </li>
            ))}
          </ul>
        )}
      </DataState>
      {found.hasNextPage && <Button mt="md" variant="default" loading={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>{t('app.more')}</Button>}
      <Preview id={open} onClose={() => set('open', '')} />
    </Page>
  );
}

export function DocumentRow({ document, onOpen }: { document: Stored<DocumentReference>; onOpen: () => void }) {
  const t = useT();
  const { time, locale } = useFormats();
  const attachment = document.content[0]?.attachment;
  const code = document.category?.map((each) => codeOf(each, systemUrl('document-category'))).find(Boolean);
  const type = attachment?.contentType ?? '';
  const Icon = type.startsWith('image/') ? FileImage : type === 'application/pdf' ? FileText : File;
  const facts = [code && t(`category.${code}`), document.date && time(document.date, 'date'), attachment?.size ? writeBytes(attachment.size, locale) : undefined];
  return (
    <div className={classes.item}>
      <span className={classes.itemIcon}><Icon size={22} aria-hidden="true" /></span>
      <div className={classes.itemText}>
        <p className={classes.itemTitle}>
          <button type="button" className={classes.open} onClick={onOpen}>{titleOf(document) || t('documents.untitled')}</button>
        </p>
        <p className={classes.itemMeta}>{facts.filter(Boolean).join(' · ')}</p>
      </div>
    </div>
  );
}

/** A document as large as the window allows, where the browser can show it. */
export function Preview({ id, onClose }: { id: string | null; onClose: () => void }) {
  const t = useT();
  const { fhir } = useSession();
  const document = useRead<'DocumentReference'>(id ? `DocumentReference/${id}` : undefined);
  const attachment = document.data?.content[0]?.attachment;
  const reference = relative(attachment?.url);
  const file = useQuery<Blob, FhirFailure>({
    queryKey: ['Binary', 'content', reference ?? ''],
    queryFn: ({ signal }) => fhir.blob(reference ?? '', signal).catch((error: unknown) => { throw asFailure(error); }),
    enabled: reference !== undefined,
    staleTime: Infinity,
    gcTime: 60_000,
  });
  const title = (document.data && titleOf(document.data)) || t('documents.untitled');
  return (
    <Modal opened={id !== null} onClose={onClose} size="xl" title={<Text fw={650} component="span">{document.data ? title : t('app.loading')}</Text>} closeButtonProps={{ 'aria-label': t('app.close') }}>
      {document.error ? <Problem error={document.error} /> : file.error ? <Problem error={file.error} retry={() => void file.refetch()} /> : file.data ? (
        <Content file={file.data} type={attachment?.contentType ?? file.data.type} title={title} />
      ) : (
        <div role="status" aria-label={t('app.loading')}><Lines count={1} height={240} /></div>
      )}
      {reference && document.data && (
        <Section plain><FileDownload reference={reference} name={title} mt="md" /></Section>
      )}
    </Modal>
  );
}

function Content({ file, type, title }: { file: Blob; type: string; title: string }) {
  const t = useT();
  const [text, setText] = useState<string>();
  const address = useMemo(() => URL.createObjectURL(type === file.type ? file : new Blob([file], { type })), [file, type]);
  useEffect(() => () => URL.revokeObjectURL(address), [address]);
  useEffect(() => {
    if (type.startsWith('text/')) void file.text().then(setText);
  }, [file, type]);
  // Only what the browser shows without running anything; all else is for a program of the person's own.
  if (/^image\/(png|jpeg|webp|gif)$/.test(type)) return <div className={classes.preview}><img src={address} alt={title} /></div>;
  if (type === 'application/pdf') return <div className={classes.preview}><iframe src={address} title={title} /></div>;
  if (type.startsWith('text/')) return <div className={classes.preview}><pre>{text}</pre></div>;
  return <Text c="dimmed">{t('documents.noPreview')}</Text>;
}
