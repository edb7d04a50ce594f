declare module 'fhirclient/build/fhir-client.pure.min.js';
