//! R4 in memory: definitions, FHIRPath, terminology, validation and what search parameters extract. No HTTP, no SQL; look-ups are passed in.

pub mod definitions;
pub mod extraction;
pub mod fhirpath;
pub mod generate;
pub mod terminology;
pub mod validation;
