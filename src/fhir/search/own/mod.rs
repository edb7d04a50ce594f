//! Search parameters that SearchParameter resources define (<https://hl7.org/fhir/R4/searchparameter.html>).
//!
//! Storing one with the status `active` is all it takes. It is checked ([`check`]) and, in the transaction that stores it,
//! comes into the registry ([`guard`]); from then on every write indexes by it, and a job indexes what was there before
//! ([`reindex`](super::reindex)). Until that is done a search by it says so. Another status, or deleting the resource, takes
//! it out of use, and a job removes its rows.

pub mod check;
pub mod definition;
pub mod guard;

pub use guard::OwnSearchParameters;
