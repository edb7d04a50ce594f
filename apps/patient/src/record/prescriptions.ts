/** Orders that were signed together, and the sheet that was printed for them. */
import type { DocumentReference, MedicationRequest } from 'fhir/r4';
import type { Stored } from '@medconsult/shared/fhir/client';
import { BASE, identifierOf, split } from '@medconsult/shared/fhir/values';

const NUMBER = `${BASE}/sid/prescription`;

export interface Group {
  key: string;
  orders: Stored<MedicationRequest>[];
}

/** In the order in which they came. */
export function groupsOf(orders: Stored<MedicationRequest>[]): Group[] {
  const groups = new Map<string, Stored<MedicationRequest>[]>();
  for (const order of orders) {
    const key = order.groupIdentifier?.value ?? order.id;
    groups.set(key, [...(groups.get(key) ?? []), order]);
  }
  return [...groups].map(([key, orders]) => ({ key, orders }));
}

/** The sheet that is in force: by its number, or because it names one of the orders. */
export function sheetOf(orders: Stored<MedicationRequest>[], documents: DocumentReference[]): DocumentReference | undefined {
  const number = orders[0]?.groupIdentifier?.value;
  const ids = new Set(orders.map((order) => order.id));
  const isAboutThem = (document: DocumentReference) =>
    (number !== undefined && identifierOf(document.identifier, NUMBER) === number) ||
    (document.context?.related ?? []).some((each) => {
      const at = split(each.reference);
      return at?.type === 'MedicationRequest' && ids.has(at.id);
    });
  return documents.find((document) => document.status === 'current' && isAboutThem(document));
}
