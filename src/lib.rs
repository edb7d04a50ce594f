//! MedConsult: an FHIR R4 interoperability server and the telemedicine practice that runs on it.
//!
//! One package, one binary, one database. The rooms and the arrows between them:
//!
//! ```text
//! base  ←  { jobs, knowledge }  ←  fhir  ←  { audit, auth, features }  ←  { apps, demo, edge }  ←  app, router  ←  commands, main
//! ```
//!
//! `mail` stands on `jobs`, for `auth` and `messaging`. The features (`documents`, `messaging`, `payments`, `prescriptions`,
//! `scheduling`) never import each other. An arrow points at what is imported.
//! `tests/arrows.rs` reads every `use crate::` and fails on one that runs the wrong way.
//!
//! | room | what it holds |
//! |---|---|
//! | [`base`] | clock, ids, telemetry, connections, the private Postgres. Knows no FHIR |
//! | [`jobs`] | the durable queue. Knows no job type |
//! | [`knowledge`] | R4 in memory: definitions, FHIRPath, validation. No HTTP, no SQL |
//! | [`fhir`] | the server: interactions, search, commit, store |
//! | [`audit`] | AuditEvents out of the trail, and proof that none was changed, added or taken away |
//! | [`mail`] | mails: what waits, the words, how they leave. Knows no FHIR |
//! | [`auth`] | who may do what: applications, tokens, and the caller of a request |
//! | [`demo`] | a practice that is made up, for `serve --demo` |
//! | [`documents`] | files in patients' records |
//! | [`edge`] | around every request: its client, how often, from which web page |
//! | [`messaging`] | what people are told by mail of what happens |
//! | [`payments`] | what a visit costs, how it is paid and given back |
//! | [`apps`] | the apps of `apps/`: their files, their registration, what changes elsewhere |
//! | [`prescriptions`] | dosages, checks, signatures, printed sheets |
//! | [`scheduling`] | calendars, visits, and what becomes of them |
//! | [`app`], [`router`], [`config`] | how the parts are put together, every route, every setting |
//! | [`conformance`] | HL7's suites, and the record of what passes |
//! | [`commands`] | what the program can be told to do |

pub mod app;
pub mod apps;
pub mod audit;
pub mod auth;
pub mod base;
pub mod commands;
pub mod config;
pub mod conformance;
pub mod demo;
pub mod documents;
pub mod edge;
pub mod fhir;
pub mod jobs;
pub mod knowledge;
pub mod mail;
pub mod messaging;
pub mod payments;
pub mod prescriptions;
pub mod router;
pub mod scheduling;
