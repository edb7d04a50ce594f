//! Where the records go: straight into the database through `fhir::bundle`, or over HTTP.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::report::{Refusal, UnitOutcome};
use super::unit::{Entry, Unit};
use crate::app::{self, App};
use crate::base::database::analyze;
use crate::base::{Clock, IdGenerator};
use crate::commands::OpenDatabase;
use crate::config::Config;
use crate::fhir::bundle;
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::preferences::{Preferences, Returned};

/// How often something is sent that the destination is not ready for, and how long it waits before the second time; each
/// time twice as long. Together half a minute: a restart of the database does not end a load.
const ATTEMPTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// A server to load into.
pub struct Destination {
    door: Door,
    identity: String,
}

enum Door {
    Direct {
        app: Arc<App>,
        database: OpenDatabase,
        caller: Caller,
    },
    Http {
        client: reqwest::Client,
        base: String,
    },
}

/// The header with the token of a file. A token on the command line would be seen by everybody on the machine.
fn authorization(token_file: Option<&Path>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(file) = token_file {
        let token = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .with_context(|| format!("{} holds no token", file.display()))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// A Bundle that was refused as a whole.
struct Refused {
    status: u16,
    issues: Vec<Value>,
}

impl Destination {
    /// The server at `base`, which may want the token in a file; else the one that listens where this one would; else the database itself.
    ///
    /// # Errors
    /// When there is nothing at `base`, or the database cannot be had.
    pub async fn open(base: Option<&str>, token_file: Option<&Path>, config: &Config) -> Result<Destination> {
        let client = reqwest::Client::builder()
            .default_headers(authorization(token_file)?)
            .build()?;
        if let Some(base) = base {
            let base = base.trim_end_matches('/').to_owned();
            ask(&client, &base, Duration::from_secs(10))
                .await
                .with_context(|| format!("no FHIR server at {base}"))?;
            return Ok(Destination {
                identity: base.clone(),
                door: Door::Http { client, base },
            });
        }
        let here = format!("http://{}/fhir", config.listen);
        if ask(&client, &here, Duration::from_secs(1)).await.is_ok() {
            return Ok(Destination {
                identity: here.clone(),
                door: Door::Http { client, base: here },
            });
        }
        let database = OpenDatabase::open(config).await?;
        app::migrate(&database.pools.write).await?;
        let app = App::build(
            config.clone(),
            database.pools.clone(),
            Clock::system(),
            IdGenerator::random(),
        )
        .await?;
        // A database is known by its name and the moment of its first migration, so that the journal of one that was
        // dropped is not taken for that of its successor.
        let identity = "SELECT current_database() || ' ' || min(installed_on) FROM _sqlx_migrations";
        let identity = sqlx::query_scalar(identity).fetch_one(&database.pools.write).await?;
        Ok(Destination {
            identity,
            door: Door::Direct {
                app,
                database,
                caller: Caller::sandbox(),
            },
        })
    }

    /// The same text for the same destination.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    pub async fn close(self) {
        if let Door::Direct { app, database, .. } = self.door {
            drop(app);
            // So that the first searches are planned for what is there now. It is only a help: autovacuum does it later.
            if let Err(error) = analyze(&database.pools.write).await {
                tracing::debug!(%error, "cannot analyse the tables");
            }
            database.close().await;
        }
    }

    /// Stores a unit. One that need not be stored as a whole is first sent as a transaction, which is faster, and entry by
    /// entry only when that was refused.
    ///
    /// # Errors
    /// When the destination is out of reach.
    pub async fn store(&self, unit: &Unit) -> Result<UnitOutcome> {
        let (entries, refused) = match unit.entries() {
            Ok(entries) => entries,
            Err(error) => return Ok(whole(refused_by(&error))),
        };
        let refusals: Vec<Refusal> = refused
            .iter()
            .map(|(index, error)| refused_by(error).at(Some(*index)))
            .collect();
        if entries.is_empty() || (unit.atomic && !refusals.is_empty()) {
            return Ok(UnitOutcome {
                refusals,
                ..UnitOutcome::default()
            });
        }
        let indices: Vec<usize> = entries.iter().map(|entry| entry.index).collect();
        let mut outcome = match self.send("transaction", entries).await? {
            Ok(response) => read_response(&response, &indices),
            Err(refused) if unit.atomic => whole(refused),
            Err(_) => {
                let (entries, _) = unit.entries().unwrap_or_default();
                match self.send("batch", entries).await? {
                    Ok(response) => read_response(&response, &indices),
                    Err(refused) => whole(refused),
                }
            }
        };
        outcome.refusals.extend(refusals);
        Ok(outcome)
    }

    async fn send(&self, kind: &str, entries: Vec<Entry>) -> Result<Result<Value, Refused>> {
        let entries: Vec<Value> = entries.into_iter().map(|entry| entry.value).collect();
        let bundle = json!({ "resourceType": "Bundle", "type": kind, "entry": entries });
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            match self.send_once(bundle.clone()).await {
                Ok(Err(Refused {
                    status: 429 | 502 | 503 | 504,
                    ..
                }))
                | Err(_) => tokio::time::sleep(pause).await,
                answered => return answered,
            }
            pause *= 2;
        }
        match self.send_once(bundle).await? {
            Err(Refused {
                status: status @ (429 | 502 | 503 | 504),
                ..
            }) => bail!("the server answers {status} again and again"),
            answer => Ok(answer),
        }
    }

    async fn send_once(&self, bundle: Value) -> Result<Result<Value, Refused>> {
        match &self.door {
            Door::Direct { app, caller, .. } => {
                let minimal = Preferences {
                    returned: Returned::Minimal,
                    ..Preferences::default()
                };
                match bundle::process(&app.fhir, caller, bundle, &minimal).await {
                    Ok(text) => Ok(Ok(serde_json::from_str(&text)?)),
                    Err(error) => Ok(Err(refused_by(&error))),
                }
            }
            Door::Http { client, base } => post(client, base, &bundle).await,
        }
    }
}

/// Whether a FHIR server answers there.
async fn ask(client: &reqwest::Client, base: &str, patience: Duration) -> Result<()> {
    let request = client.get(format!("{base}/metadata?_summary=true")).timeout(patience);
    let answer: Value = request.send().await?.error_for_status()?.json().await?;
    if answer["resourceType"] != "CapabilityStatement" {
        bail!("the answer is not a CapabilityStatement");
    }
    Ok(())
}

async fn post(client: &reqwest::Client, base: &str, bundle: &Value) -> Result<Result<Value, Refused>> {
    let request = client
        .post(base)
        .header("content-type", "application/fhir+json")
        .header("prefer", "return=minimal");
    let response = request
        .body(serde_json::to_vec(bundle)?)
        .send()
        .await
        .context("the server is out of reach")?;
    let status = response.status();
    let body = response.bytes().await.context("the server broke off its answer")?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status == StatusCode::OK {
        return Ok(Ok(body));
    }
    let issues = body["issue"].as_array().cloned().unwrap_or_default();
    Ok(Err(Refused {
        status: status.as_u16(),
        issues,
    }))
}

fn refused_by(error: &FhirError) -> Refused {
    let issues = error
        .issues
        .iter()
        .filter_map(|issue| serde_json::to_value(issue).ok())
        .collect();
    Refused {
        status: error.status.as_u16(),
        issues,
    }
}

impl Refused {
    fn at(self, index: Option<usize>) -> Refusal {
        Refusal {
            index,
            status: self.status,
            issues: self.issues,
        }
    }
}

fn whole(refused: Refused) -> UnitOutcome {
    UnitOutcome {
        refusals: vec![refused.at(None)],
        ..UnitOutcome::default()
    }
}

/// What a transaction-response or batch-response says of each entry; `indices` are the entries' places in the file.
fn read_response(response: &Value, indices: &[usize]) -> UnitOutcome {
    let mut outcome = UnitOutcome::default();
    let answers = response["entry"].as_array().map_or(&[][..], Vec::as_slice);
    for (place, index) in indices.iter().enumerate() {
        let answer = answers.get(place).map_or(&Value::Null, |entry| &entry["response"]);
        let status = answer["status"]
            .as_str()
            .and_then(|status| status.get(..3)?.parse().ok())
            .unwrap_or(500);
        match status {
            201 => outcome.created += 1,
            // The first version of what was there before is the one that was there before.
            200 if answer["etag"] == "W/\"1\"" => outcome.unchanged += 1,
            200..300 => outcome.updated += 1,
            304 => outcome.unchanged += 1,
            _ => {
                let issues = answer["outcome"]["issue"].as_array().cloned().unwrap_or_default();
                outcome.refusals.push(Refusal {
                    index: Some(*index),
                    status,
                    issues,
                });
            }
        }
    }
    outcome
}
