//! The FHIR server.

pub mod caller;
pub mod error;
pub mod http;
pub mod preferences;
pub mod resource;
pub mod store;
pub mod summary;
