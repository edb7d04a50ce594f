//! The FHIR server.

pub mod caller;
pub mod error;
pub mod resource;
pub mod store;
