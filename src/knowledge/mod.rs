//! R4 in memory: definitions, FHIRPath, validation and what search parameters extract. No HTTP, no SQL; look-ups are passed in.

pub mod definitions;
pub mod extraction;
pub mod fhirpath;
pub mod generate;
pub mod validation;
