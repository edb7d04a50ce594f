//! From the records of the [trail](crate::fhir::trail) to AuditEvents that can be searched, and proof that none was changed,
//! added or taken away. What is promised is told in docs/security.md, why it is built so in docs/decisions/0009-audit.md.
//!
//! | file | concern |
//! |---|---|
//! | [`keeper`] | makes AuditEvents while a server runs |
//! | [`chain`] | links them |
//! | [`balp`] | what they look like |
//! | [`patients`] | whom they concern |
//! | [`guard`] | keeps others from writing them |
//! | [`key`], [`anchor`] | the secret that the proofs rest on, and the end of the chain kept apart |
//! | [`verify`] | the proof |
//! | [`archive`] | moves the oldest part into a file |

pub mod anchor;
pub mod archive;
pub mod balp;
pub mod chain;
pub mod guard;
pub mod keeper;
pub mod key;
pub mod patients;
pub mod verify;
