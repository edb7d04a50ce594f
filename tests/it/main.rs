//! All integration tests, as one program: linking is slow, and one Postgres serves them all.

mod access;
mod access_property;
mod app;
mod audit;
mod auth;
mod bench;
mod bundle;
mod commands;
mod commit;
mod conformance;
mod definitions;
mod edge;
mod faults;
mod fuzz;
mod ground;
mod http;
mod jobs;
mod load;
mod operations;
mod payments;
mod profiles;
mod scheduling;
mod search;
mod search_parameters;
mod search_property;
mod setup;
