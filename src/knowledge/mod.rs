//! R4 in memory: definitions, FHIRPath, terminology, validation, MedConsult's own profiles and what search parameters
//! extract. No HTTP, no SQL; look-ups are passed in.

pub mod definitions;
pub mod extraction;
pub mod fhirpath;
pub mod generate;
pub mod profiles;
pub mod terminology;
pub mod validation;
