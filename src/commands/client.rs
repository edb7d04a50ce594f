//! `medconsult client`: the applications that may ask for tokens.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Subcommand;
use serde_json::Value;
use sqlx::PgPool;

use super::OpenDatabase;
use super::operator::Operator;
use crate::app;
use crate::auth::clients::{self, NewClient, NewProof};
use crate::auth::scopes::{ScopeError, Scopes};
use crate::base::{Clock, IdGenerator, crypto};
use crate::config::Config;
use crate::fhir::trail::Kind;

/// Register applications that may ask for access tokens
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Register a back end, or an application that acts for people; print its client_id, and its secret if it has one
    Add {
        /// What people call it
        #[arg(long)]
        name: String,
        /// The most it may ask for, as in "system/*.rs" or "openid fhirUser launch/patient patient/*.rs offline_access"
        #[arg(long)]
        scope: String,
        /// Where people are sent back to; several times for several. None for a back end
        #[arg(long)]
        redirect: Vec<String>,
        /// Where it is opened from within MedConsult, with the parameters iss and launch
        #[arg(long, requires = "redirect")]
        launch_url: Option<String>,
        /// It may launch other applications for the person in front of it
        #[arg(long, requires = "redirect")]
        launches_others: bool,
        /// A file with its public keys, as a JSON Web Key Set
        #[arg(long)]
        keys: Option<PathBuf>,
        /// The address of its public keys (jwks_uri), which it may change when it likes
        #[arg(long, conflicts_with = "keys")]
        keys_at: Option<String>,
        /// It proves who it is by a secret, which is made and shown once
        #[arg(long, conflicts_with_all = ["keys", "keys_at"], requires = "redirect")]
        secret: bool,
        /// It cannot prove who it is: an application whose code everybody can read
        #[arg(long, conflicts_with_all = ["keys", "keys_at", "secret"], requires = "redirect")]
        public: bool,
        /// Its client_id [default: a fresh one]
        #[arg(long)]
        id: Option<String>,
    },
    /// List the registered applications
    List,
    /// Refuse an application, and end its tokens
    Disable { id: String },
    /// Let a disabled application in again
    Enable { id: String },
}

/// Runs one of the commands, beside a running server or alone.
///
/// # Errors
/// When the database cannot be had, or what is to be registered is wrong.
pub async fn run(args: Args, config: Config) -> Result<()> {
    let database = OpenDatabase::open_beside_server(&config).await?;
    let result = run_on(&database, args.command, &config).await;
    database.close().await;
    result
}

async fn run_on(database: &OpenDatabase, command: Command, config: &Config) -> Result<()> {
    let pool = &database.pools.write;
    app::migrate(pool).await?;
    match command {
        Command::Add {
            name,
            scope,
            redirect,
            launch_url,
            launches_others,
            keys,
            keys_at,
            secret,
            public,
            id,
        } => {
            let id = id.unwrap_or_else(|| IdGenerator::random().next().to_string());
            ensure!(
                is_client_id(&id),
                "a client id has 1 to 100 letters, digits, '-', '.' or '_'"
            );
            let scopes = Scopes::parse(&scope).map_err(|ScopeError(text)| anyhow!(text))?;
            match redirect.is_empty() {
                true => ensure!(
                    scopes.are_for_back_ends(),
                    "without --redirect it is a back end: its scopes begin with system/"
                ),
                false => ensure!(
                    scopes.are_for_apps(),
                    "with --redirect it acts for people: its scopes begin with patient/ or user/"
                ),
            }
            for uri in &redirect {
                clients::check_redirect_uri(uri).map_err(anyhow::Error::msg)?;
            }
            for address in launch_url.iter().chain(&keys_at) {
                clients::check_web_address(address).map_err(anyhow::Error::msg)?;
            }
            let keys = keys.as_deref().map(read_keys).transpose()?;
            let secret = secret.then(crypto::random_token);
            let proof = match (&keys, &keys_at, &secret) {
                (Some(keys), _, _) => NewProof::Keys(keys),
                (None, Some(address), _) => NewProof::KeysAt(address),
                (None, None, Some(secret)) => NewProof::Secret(crypto::digest(secret)),
                (None, None, None) if public => NewProof::Public,
                (None, None, None) => {
                    bail!("say how it proves who it is: --keys FILE, --keys-at ADDRESS, --secret or --public")
                }
            };
            let client = NewClient {
                id: &id,
                name: &name,
                scopes: &scopes,
                redirect_uris: &redirect,
                launch_url: launch_url.as_deref(),
                launches: launches_others,
                proof,
            };
            let operator = Operator::at(database, config).await?;
            let mut transaction = pool.begin().await?;
            ensure!(
                clients::add(&mut *transaction, Clock::system().now(), &client).await?,
                "there is a client {id} already"
            );
            let event = operator.did(Kind::Configuration, "application registered");
            let event = event.detail("client", &id).detail("scope", scopes.to_string());
            operator.commit(transaction, event).await?;
            println!("{id}");
            if let Some(secret) = secret {
                println!("{secret}");
            }
        }
        Command::List => {
            let rows: Vec<(String, String, String, bool)> =
                sqlx::query_as("SELECT id, name, scope, enabled FROM oauth_client ORDER BY created_at, id")
                    .fetch_all(pool)
                    .await?;
            for (id, name, scope, enabled) in rows {
                let state = if enabled { "" } else { "  (disabled)" };
                println!("{id}  {name}  {scope}{state}");
            }
        }
        Command::Disable { id } => set_enabled(&Operator::at(database, config).await?, pool, &id, false).await?,
        Command::Enable { id } => set_enabled(&Operator::at(database, config).await?, pool, &id, true).await?,
    }
    Ok(())
}

async fn set_enabled(operator: &Operator, pool: &PgPool, id: &str, enabled: bool) -> Result<()> {
    let mut transaction = pool.begin().await?;
    if !clients::set_enabled(&mut *transaction, id, enabled).await? {
        bail!("there is no client {id}");
    }
    let change = if enabled {
        "application enabled"
    } else {
        "application disabled"
    };
    let event = operator.did(Kind::Configuration, change).detail("client", id);
    operator.commit(transaction, event).await
}

fn read_keys(file: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let keys: Value = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))?;
    clients::check_keys(&keys).map_err(anyhow::Error::msg)?;
    Ok(keys)
}

fn is_client_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=100).contains(&id.len()) && id.bytes().all(is_allowed)
}
