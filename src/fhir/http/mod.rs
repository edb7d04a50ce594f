//! FHIR over HTTP (<https://hl7.org/fhir/R4/http.html>).

pub mod conditions;
pub mod negotiation;
pub mod query;
