/** Where links in mails lead: what the message with this id is about. */
import { useRead } from '@medconsult/shared/fhir/hooks';
import { split } from '@medconsult/shared/fhir/values';
import { NotFound } from '@medconsult/shared/ui/notfound';
import { Splash } from '@medconsult/shared/ui/splash';
import { Redirect, useParams } from 'wouter';

export default function Open() {
  const { id } = useParams<{ id: string }>();
  const message = useRead<'CommunicationRequest'>(`CommunicationRequest/${id}`);
  const about = message.data?.about?.[0]?.reference;
  const topic = split(about);
  // A document does not say in its address whose it is.
  const isOfRecord = topic?.type === 'DocumentReference' || topic?.type === 'MedicationRequest';
  const record = useRead<'DocumentReference' | 'MedicationRequest'>(isOfRecord ? about : undefined);
  if (message.isPending || (isOfRecord && record.isPending)) return <Splash />;
  const to = topic && placeOf(topic, split(record.data?.subject?.reference)?.id);
  return to ? <Redirect to={to} replace /> : <NotFound />;
}

function placeOf({ type, id }: { type: string; id: string }, patient: string | undefined): string | undefined {
  switch (type) {
    case 'Appointment':
      return `/visits/${id}`;
    case 'Task':
      return '/requests';
    case 'DocumentReference':
      return patient && `/patients/${patient}/documents`;
    case 'MedicationRequest':
      return patient && `/patients/${patient}/medications`;
    default:
      return undefined;
  }
}
