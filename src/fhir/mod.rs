//! The FHIR server.

pub mod access;
pub mod bundle;
pub mod caller;
pub mod commit;
pub mod error;
pub mod extensions;
pub mod hooks;
pub mod http;
pub mod integrity;
pub mod metadata;
pub mod operations;
pub mod parameters;
pub mod patch;
pub mod preferences;
pub mod profiles;
pub mod references;
pub mod resource;
pub mod search;
pub mod searchset;
pub mod server;
pub mod step_up;
pub mod store;
pub mod summary;
pub mod terminology;
pub mod trail;
