import type { DocumentReference } from 'fhir/r4';

export const titleOf = (document: DocumentReference): string => document.content[0]?.attachment.title ?? document.description ?? document.type?.text ?? '';
