//! `medconsult access`: what the policies are, and why somebody may or may not do a thing.

use anyhow::{Context, Result, anyhow, ensure};
use clap::Subcommand;
use sqlx::PgPool;

use super::OpenDatabase;
use crate::app::{self, App};
use crate::auth::accounts::{Account, fold_email};
use crate::auth::scopes::{ScopeError, Scopes};
use crate::base::{Clock, IdGenerator};
use crate::config::{Auth, Config};
use crate::fhir::access::explain::{Question, explain};
use crate::fhir::access::holders;
use crate::fhir::caller::{Caller, Granted, User};
use crate::fhir::server::FhirServer;

/// Show the policies, and explain why a caller may or may not do something
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the policies that are in force, to begin a file of your own with
    Policies,
    /// Say why a caller may or may not do something: which scope, which rule, which tie, which Consent
    Explain {
        /// The address of somebody's account
        #[arg(long, conflicts_with = "client", required_unless_present = "client")]
        account: Option<String>,
        /// The client_id of a back end
        #[arg(long)]
        client: Option<String>,
        /// What its token would be given, as in "user/*.rs" [default: for a back end, all that it may ask for]
        #[arg(long, required_unless_present = "client")]
        scope: Option<String>,
        /// The id of the patient whom scopes that begin with patient/ are about
        #[arg(long)]
        patient: Option<String>,
        /// GET, POST, PUT, PATCH or DELETE
        method: String,
        /// A path below the FHIR base, as in Observation/7 or Observation
        path: String,
    },
}

/// Runs one of the commands, beside a running server or alone.
///
/// # Errors
/// When the database cannot be had, or there is no such account, client, scope or type.
pub async fn run(args: Args, config: Config) -> Result<()> {
    match args.command {
        Command::Policies => {
            // What is printed can be used: a file with mistakes is told so instead.
            app::policies(&config)?;
            print!("{}", app::policy_text(&config)?);
            Ok(())
        }
        command @ Command::Explain { .. } => {
            let database = OpenDatabase::open_beside_server(&config).await?;
            let result = answer(&database, command, config).await;
            database.close().await;
            result
        }
    }
}

async fn answer(database: &OpenDatabase, command: Command, config: Config) -> Result<()> {
    let Command::Explain {
        account,
        client,
        scope,
        patient,
        method,
        path,
    } = command
    else {
        return Ok(());
    };
    app::migrate(&database.pools.write).await?;
    let config = Config {
        auth: Auth::On,
        ..config
    };
    let app = App::build(config, database.pools.clone(), Clock::system(), IdGenerator::random()).await?;
    let server = &app.fhir;
    let pool = &database.pools.write;
    let question = Question::parse(server, &method, &path).map_err(anyhow::Error::msg)?;
    let granted = match (account, client) {
        (Some(email), _) => {
            granted_to_user(server, pool, &email, scope.as_deref().unwrap_or_default(), patient).await?
        }
        (None, client) => granted_to_client(pool, &client.unwrap_or_default(), scope).await?,
    };
    print!("{}", explain(server, &Caller::granted(granted), &question).await?);
    Ok(())
}

async fn granted_to_user(
    server: &FhirServer,
    pool: &PgPool,
    email: &str,
    scope: &str,
    patient: Option<String>,
) -> Result<Granted> {
    let (account, person) = find(pool, email).await?;
    let scopes = read(scope)?;
    ensure!(
        scopes.are_for_apps(),
        "scopes that begin with system/ are for back ends"
    );
    let mut connection = pool.acquire().await?;
    let (registry, now) = (server.search.current(), server.clock.now());
    let types = server.store.types();
    let (holders, _) = holders(&mut connection, &registry, types, now, &account.profile, &person).await?;
    println!(
        "{email} is {} and has the role {}.",
        account.profile,
        account.role.name()
    );
    Ok(Granted {
        account: Some(account.id),
        scopes: scopes.grants(Some(&account.profile)),
        user: Some(User {
            role: account.role,
            fhir_user: account.profile,
            person,
            holders,
        }),
        patient,
        ..Granted::default()
    })
}

async fn find(pool: &PgPool, email: &str) -> Result<(Account, String)> {
    let email = fold_email(email).context("this is not an e-mail address")?;
    let found = Account::by_email(pool, &email).await?;
    let (account, _) = found.with_context(|| format!("{email} has no open account"))?;
    let person = sqlx::query_scalar("SELECT person FROM account WHERE id = $1")
        .bind(&account.id)
        .fetch_one(pool)
        .await?;
    Ok((account, person))
}

async fn granted_to_client(pool: &PgPool, client: &str, scope: Option<String>) -> Result<Granted> {
    let registered: Option<(String, bool)> = sqlx::query_as("SELECT scope, enabled FROM oauth_client WHERE id = $1")
        .bind(client)
        .fetch_optional(pool)
        .await?;
    let (registered, enabled) = registered.with_context(|| format!("there is no client {client}"))?;
    ensure!(enabled, "the client {client} is disabled: it may do nothing");
    let most = read(&registered)?;
    let scopes = match scope {
        Some(scope) => read(&scope)?,
        None => most.clone(),
    };
    ensure!(most.cover(&scopes), "{client} may only ask for {registered}");
    ensure!(
        scopes.are_for_back_ends(),
        "{client} acts for people: name one with --account"
    );
    Ok(Granted {
        client: client.to_owned(),
        scopes: scopes.grants(None),
        ..Granted::default()
    })
}

fn read(text: &str) -> Result<Scopes> {
    Scopes::parse(text).map_err(|ScopeError(text)| anyhow!(text))
}
