//! R4 in memory: definitions, FHIRPath and validation. No HTTP, no SQL; look-ups are passed in.

pub mod definitions;
pub mod fhirpath;
