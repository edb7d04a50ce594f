/** The documents of a record. */
import { useSearch } from '@medconsult/shared/fhir/hooks';
import { codeOf, relative, systemUrl, textOfConcept } from '@medconsult/shared/fhir/values';
import { useFormats } from '@medconsult/shared/format/context';
import { writeBytes } from '@medconsult/shared/format/money';
import { useT } from '@medconsult/shared/texts/context';
import { FileDownload } from '@medconsult/shared/ui/file';
import { Section } from '@medconsult/shared/ui/page';
import { DataState, Empty } from '@medconsult/shared/ui/state';
import { Label } from '@medconsult/shared/ui/status';
import { When } from '@medconsult/shared/ui/when';
import { FileText } from 'lucide-react';
import type { DocumentReference } from 'fhir/r4';
import classes from './chart.module.css';

export default function Documents({ patient }: { patient: string }) {
  const t = useT();
  const asked = useSearch('DocumentReference', { patient, status: 'current', _sort: '-date', _count: 200 });
  return (
    <DataState
      of={asked}
      isEmpty={({ resources }) => resources.length === 0}
      empty={<Empty icon={FileText} title={t('documents.none.title')} text={t('documents.none.text')} />}
    >
      {({ resources }) => (
        <Section>
          {resources.map((each) => (
            <DocumentRow key={each.id} document={each} />
          ))}
        </Section>
      )}
    </DataState>
  );
}

export function DocumentRow({ document }: { document: DocumentReference }) {
  const t = useT();
  const { locale } = useFormats();
  const attachment = document.content[0]?.attachment;
  const category = codeOf(document.category?.[0], systemUrl('document-category'));
  const title = attachment?.title ?? document.description ?? textOfConcept(document.type);
  const content = relative(attachment?.url);
  const extension = { 'application/pdf': '.pdf', 'image/jpeg': '.jpg', 'image/png': '.png' }[attachment?.contentType ?? ''] ?? '';
  return (
    <div className={classes.document}>
      <div style={{ minWidth: 0 }}>
        <div className={classes.item}>
          {title} {category && <Label tone="neutral">{t(`category.${category}`)}</Label>}
        </div>
        <div className={classes.facts}>
          {document.date && <When at={document.date} style="date" />}
          {attachment?.size !== undefined && ` · ${writeBytes(attachment.size, locale)}`}
          {document.author?.[0]?.display && ` · ${document.author[0].display}`}
        </div>
      </div>
      {content && (
        <FileDownload
          reference={content}
          name={title.includes('.') ? title : `${title}${extension}`}
          aria-label={t('documents.download', { name: title })}
        />
      )}
    </div>
  );
}
