//! The FHIR server.

pub mod error;
