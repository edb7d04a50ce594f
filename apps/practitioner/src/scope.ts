/** What the app asks for: to read what the practitioner may read, and to write what its screens write. */
const WRITES = {
  Appointment: 'cu',
  AppointmentResponse: 'c',
  Task: 'cu',
  Schedule: 'cu',
  Slot: 'cu',
  Encounter: 'cu',
  Composition: 'cu',
  MedicationRequest: 'cud',
  DetectedIssue: 'cu',
  Provenance: 'c',
  DocumentReference: 'cu',
  Binary: 'c',
};

export const scope = [
  'openid fhirUser profile launch online_access user/*.rs',
  ...Object.entries(WRITES).map(([type, letters]) => `user/${type}.${letters}`),
].join(' ');
