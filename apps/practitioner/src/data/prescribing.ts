/** Storing, checking and signing a sheet of prescriptions. */
import { useChange } from '@medconsult/shared/fhir/hooks';
import type { FhirClient } from '@medconsult/shared/fhir/client';
import { useSession } from '@medconsult/shared/session/context';
import type { Bundle, DetectedIssue, MedicationRequest } from 'fhir/r4';
import { draftOf, keyOfIssue, type Line, overridden } from '../logic/sheet';
import { useSelf } from './visits';

type Stored = MedicationRequest & { id: string };

export interface Checked {
  drafts: Stored[];
  issues: DetectedIssue[];
}

function ofType<T extends DetectedIssue | MedicationRequest>(bundle: Bundle, type: T['resourceType']): T[] {
  return (bundle.entry ?? []).flatMap(({ resource }) => (resource?.resourceType === type ? [resource as T] : []));
}

export async function check(fhir: FhirClient, drafts: Stored[]): Promise<DetectedIssue[]> {
  const bundle = await fhir.operation<Bundle>(
    'MedicationRequest/$check',
    drafts.map((resource) => ({ name: 'prescription', resource })),
  );
  const order = ['high', 'moderate', 'low'];
  return ofType<DetectedIssue>(bundle, 'DetectedIssue').sort(
    (one, other) => order.indexOf(one.severity ?? 'low') - order.indexOf(other.severity ?? 'low'),
  );
}

export function useSheet(sheet: string, patient: string) {
  const { fhir } = useSession();
  const practitioner = useSelf();
  /** Stores the lines as drafts, takes back those that were removed, and has them checked. */
  const review = useChange<{ lines: Line[]; removed: string[]; encounter: string | undefined }, Checked>({
    run: async ({ lines, removed, encounter }) => {
      for (const id of removed) await fhir.remove('MedicationRequest', id);
      const drafts: Stored[] = [];
      for (const line of lines) {
        const draft = draftOf(line, { sheet, patient: { reference: patient }, practitioner, encounter, now: new Date() });
        drafts.push((draft.id ? await fhir.update(draft) : await fhir.create(draft)) as Stored);
      }
      return { drafts, issues: await check(fhir, drafts) };
    },
    touches: ['MedicationRequest'],
  });
  const sign = useChange<{ drafts: Stored[]; issues: DetectedIssue[]; reasons: Record<string, string>; paper: 'a4' | 'letter' }, Bundle>({
    run: ({ drafts, issues, reasons, paper }) =>
      fhir.operation<Bundle>('MedicationRequest/$sign', [
        ...drafts.map(({ id }) => ({ name: 'prescription', valueReference: { reference: `MedicationRequest/${id}` } })),
        ...issues.flatMap((issue) => {
          const reason = reasons[keyOfIssue(issue)];
          return reason?.trim() ? [{ name: 'issue', resource: overridden(issue, reason, practitioner, new Date()) }] : [];
        }),
        { name: 'paper', valueCode: paper },
      ]),
    touches: ['MedicationRequest', 'DetectedIssue', 'Provenance', 'DocumentReference'],
  });
  return { review, sign };
}
