//! What the database refuses, as clients are told.

use axum::http::StatusCode;

use super::{FhirError, Issue, IssueType};

/// By SQLSTATE (<https://www.postgresql.org/docs/current/errcodes-appendix.html>). The log line has the code and the
/// constraint's name; the message and detail of a database error can quote values and are left out.
impl From<sqlx::Error> for FhirError {
    fn from(error: sqlx::Error) -> FhirError {
        use sqlx::Error;
        match &error {
            Error::Database(database) => {
                let state = database.code().unwrap_or_default();
                tracing::warn!(sqlstate = %state, constraint = database.constraint(), "the database refused");
                from_sqlstate(&state)
            }
            Error::Io(_) | Error::Tls(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed => {
                tracing::warn!(kind = connection_fault(&error), "the database is out of reach");
                FhirError::unavailable("The database is out of reach for the moment. Try again.")
            }
            // The server hung up in the middle of a message: sqlx reports some of these as protocol errors.
            Error::Protocol(_) | Error::BeginFailed => {
                tracing::warn!("the connection to the database broke");
                FhirError::unavailable("The connection to the database broke. Try again.")
            }
            Error::ColumnDecode { index, .. } => FhirError::internal(format_args!("undecodable column {index}")),
            Error::RowNotFound => FhirError::internal("a row that must exist is missing"),
            Error::ColumnNotFound(name) => FhirError::internal(format_args!("missing column {name}")),
            Error::TypeNotFound { type_name } => FhirError::internal(format_args!("missing database type {type_name}")),
            _ => FhirError::internal("the database driver failed"),
        }
    }
}

fn connection_fault(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Io(_) => "io",
        sqlx::Error::Tls(_) => "tls",
        sqlx::Error::PoolTimedOut => "pool-timed-out",
        sqlx::Error::PoolClosed => "pool-closed",
        _ => "worker-crashed",
    }
}

pub(super) fn from_sqlstate(state: &str) -> FhirError {
    match state {
        "40001" | "40P01" => FhirError {
            retryable: true,
            ..FhirError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Issue::error(
                    IssueType::LockError,
                    "Concurrent changes were in each other's way. Try again.",
                ),
            )
        },
        "23505" => FhirError::conflict("Another request has just stored the same thing. Read it and try again."),
        "55P03" => FhirError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Issue::error(
                IssueType::LockError,
                "The resource is locked by another request. Try again.",
            ),
        ),
        // 57014: statement_timeout. The query was legal and too much work.
        "57014" => FhirError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Issue::error(
                IssueType::TooCostly,
                "The request took more time than the server allows. Add criteria that few resources meet, or ask for less: \
                 no _total=accurate, fewer keys in _sort, fewer includes.",
            ),
        ),
        "25006" => FhirError::unavailable("The server takes no changes for the moment: its database is read-only."),
        _ if state.starts_with("08") || state.starts_with("57P") => {
            FhirError::unavailable("The database is restarting. Try again.")
        }
        // Disk full, out of memory, too many connections; 58: input/output error.
        _ if state.starts_with("53") || state.starts_with("58") => {
            FhirError::unavailable("The database is out of a resource that it needs. Try again later.")
        }
        _ => FhirError::internal(format_args!("unexpected SQLSTATE {state}")),
    }
}
