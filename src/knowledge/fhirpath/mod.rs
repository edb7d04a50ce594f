//! FHIRPath, normative release 1, with FHIR's own functions (<https://hl7.org/fhirpath/N1/>, <https://hl7.org/fhir/R4/fhirpath.html>).

pub mod values;
