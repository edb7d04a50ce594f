/** Where the links of mails lead: to whatever the mail was about, which its address does not say. */
import { MailX } from 'lucide-react';
import { Link, Redirect } from 'wouter';
import { useRead } from '@medconsult/shared/fhir/hooks';
import { split } from '@medconsult/shared/fhir/values';
import { useT } from '@medconsult/shared/texts/context';
import { Page } from '@medconsult/shared/ui/page';
import { DataState, Empty } from '@medconsult/shared/ui/state';

/** The page about a resource. */
export function pageOf(reference: string | undefined): string | undefined {
  const at = split(reference);
  switch (at?.type) {
    case 'Appointment':
      return `/visits/${at.id}`;
    case 'Invoice':
      return `/payments/${at.id}`;
    case 'DocumentReference':
      return `/documents?open=${at.id}`;
    case 'MedicationRequest':
      return `/prescriptions#${at.id}`;
    default:
      return undefined;
  }
}

export default function Open({ id }: { id: string }) {
  const t = useT();
  const mail = useRead<'CommunicationRequest'>(`CommunicationRequest/${id}`);
  const about = mail.data?.about?.[0]?.reference;
  const isTask = split(about)?.type === 'Task';
  const task = useRead<'Task'>(isTask ? about : undefined);
  return (
    <Page title={t('open.title')}>
      <DataState of={mail}>
        {() => {
          const to = isTask ? pageOf(task.data?.focus?.reference) : pageOf(about);
          if (to) return <Redirect to={to} replace />;
          return isTask && task.isPending ? null : <Empty icon={MailX} title={t('open.gone')} text={t('open.goneText')} action={<Link to="/">{t('app.notFound.home')}</Link>} />;
        }}
      </DataState>
    </Page>
  );
}
