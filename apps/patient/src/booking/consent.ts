/** That somebody agrees to be seen by video. It is asked once. */
import type { Consent } from 'fhir/r4';

/** LOINC's "Consent document", as a token. */
export const CONSENT_SYSTEM = 'http://loinc.org|59284-0';
const KIND = 'telehealth';

export function telehealthConsent(patient: string, now: Date): Consent {
  return {
    resourceType: 'Consent',
    status: 'active',
    // Of treatment, and without a provision: it opens no record to anybody.
    scope: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/consentscope', code: 'treatment' }] },
    category: [{ coding: [{ system: 'http://loinc.org', code: '59284-0' }], text: KIND }],
    patient: { reference: `Patient/${patient}` },
    dateTime: now.toISOString(),
    performer: [{ reference: `Patient/${patient}` }],
    policyRule: { text: 'Consultation by video, on the terms that were shown with the booking.' },
  };
}

export const isTelehealthConsent = (consent: Consent): boolean => consent.category.some((each) => each.text === KIND);
