//! FHIR over HTTP (<https://hl7.org/fhir/R4/http.html>): one file per interaction, each with a function that knows no HTTP
//! and the handler that calls it. The routes are listed in `router.rs`.
//!
//! | file | what it does |
//! |---|---|
//! | [`envelope`] | around every request: id, log line, panics, `_pretty` |
//! | [`extract`], [`query`], [`negotiation`], [`conditions`] | what a request asks, read and judged before a handler runs |
//! | [`body`] | bytes in, within bounds |
//! | [`answer`] | what comes out, for a response or an entry of a Bundle |
//! | [`read`], [`vread`], [`create`], … | the interactions |

pub mod answer;
pub mod binary;
pub mod body;
pub mod capabilities;
pub mod conditions;
pub mod create;
pub mod delete;
pub mod envelope;
pub mod extract;
pub mod history;
pub mod negotiation;
pub mod operation;
pub mod patch;
pub mod query;
mod range;
pub mod read;
pub mod search;
pub mod transaction;
pub mod update;
pub mod vread;

use axum::http::Method;

pub use answer::Answer;
pub use conditions::Conditions;

use self::extract::{Ask, CompartmentPath, OperationPath, check_id, resource_type};
use crate::fhir::caller::Caller;
use crate::fhir::error::{FhirError, Result, excerpt};
use crate::fhir::preferences::Preferences;
use crate::fhir::search::Scope;
use crate::fhir::server::FhirServer;
use crate::fhir::store::HistoryScope;

/// Runs the read-only interaction that `url` stands for: `Patient/1`, `Patient?name=x`, `Patient/1/_history/2`. Relative to
/// the base, or absolute below it. This is how an entry of a batch or transaction reads.
pub async fn get(
    server: &FhirServer,
    caller: &Caller,
    url: &str,
    conditions: Conditions,
    preferences: Preferences,
) -> Result<Answer> {
    let relative = url
        .strip_prefix(server.settings.base_url.as_str())
        .unwrap_or(url)
        .trim_start_matches('/');
    let (path, query) = relative
        .split_once('?')
        .map_or((relative, None), |(path, query)| (path, Some(query)));
    let ask = Ask::of_parts(query, conditions, preferences)?;
    let instance = |name: &str, id: &str| {
        let resource_type = resource_type(server, name)?;
        check_id(resource_type, id, &Method::GET).map(|()| resource_type)
    };
    let on = |name: Option<&str>, id: Option<&str>, version: Option<&str>, operation: &str| -> Result<OperationPath> {
        let resource_type = match (name, id) {
            (Some(name), Some(id)) => Some(instance(name, id)?),
            (Some(name), None) => Some(resource_type(server, name)?),
            (None, _) => None,
        };
        Ok(OperationPath {
            resource_type,
            id: id.map(str::to_owned),
            version: version.map(str::to_owned),
            name: operation.to_owned(),
        })
    };
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    match segments[..] {
        [""] => search::search(server, caller, Scope::System, ask).await,
        ["metadata"] => Ok(capabilities::capabilities(server)),
        ["_history"] => history::history(server, caller, HistoryScope::System, ask).await,
        [name] if name.starts_with('$') => operation::get(server, caller, on(None, None, None, name)?, ask).await,
        [name] => search::search(server, caller, Scope::Type(name), ask).await,
        [name, "_history"] => {
            history::history(server, caller, HistoryScope::Type(resource_type(server, name)?), ask).await
        }
        [name, operation] if operation.starts_with('$') => {
            operation::get(server, caller, on(Some(name), None, None, operation)?, ask).await
        }
        [name, id] => read::read(server, caller, instance(name, id)?, id, ask).await,
        [name, id, "_history"] => {
            let scope = HistoryScope::Instance {
                resource_type: instance(name, id)?,
                id,
            };
            history::history(server, caller, scope, ask).await
        }
        [name, id, operation] if operation.starts_with('$') => {
            operation::get(server, caller, on(Some(name), Some(id), None, operation)?, ask).await
        }
        [owner, id, member] => {
            let path = CompartmentPath::new(server, owner, id, member)?;
            search::search(server, caller, path.scope(), ask).await
        }
        [name, id, "_history", version] => vread::vread(server, caller, instance(name, id)?, id, version, ask).await,
        [name, id, "_history", version, operation] if operation.starts_with('$') => {
            operation::get(server, caller, on(Some(name), Some(id), Some(version), operation)?, ask).await
        }
        _ => {
            let text = format!("'{}' is no address of this server.", excerpt(url));
            Err(FhirError::no_such_address(text))
        }
    }
}
