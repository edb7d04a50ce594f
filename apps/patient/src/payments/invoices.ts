import type { Invoice } from 'fhir/r4';

/** What was charged for, in a few words. */
export function titleOf(invoice: Invoice): string {
  const items = (invoice.lineItem ?? []).map((item) => item.chargeItemCodeableConcept?.text ?? item.chargeItemReference?.display);
  return items.filter(Boolean).join(', ');
}
