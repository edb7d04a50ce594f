//! What every room stands on: time, identifiers, secrets, log lines, the connections to the database, and the private Postgres
//! that is started when nobody names a database. Knows no FHIR.

pub mod address;
pub mod clock;
pub mod crypto;
pub mod database;
pub mod ids;
pub mod limits;
pub mod listen;
pub mod migrations;
pub mod objects;
pub mod outbound;
pub mod pictures;
pub mod postgres;
pub mod secrets;
pub mod telemetry;
pub mod tls;

pub use clock::Clock;
pub use database::Database;
pub use ids::IdGenerator;
