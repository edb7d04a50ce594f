//! All integration tests, as one program: linking is slow, and one Postgres serves them all.

#[macro_use]
mod skip;

mod access;
mod access_property;
mod app;
mod apps;
mod audit;
mod auth;
mod bench;
mod bundle;
mod commands;
mod commit;
mod conformance;
mod consultation;
mod definitions;
mod demo;
mod documents;
mod edge;
mod faults;
mod fuzz;
mod ground;
mod http;
mod jobs;
mod load;
mod messaging;
mod operations;
mod payments;
mod prescriptions;
mod profiles;
mod scheduling;
mod search;
mod search_parameters;
mod search_property;
mod setup;
