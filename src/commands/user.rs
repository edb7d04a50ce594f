//! `medconsult user`: accounts, for operators; above all the first administrator.

use std::io::stdin;

use anyhow::{Context, Result, anyhow, bail};
use clap::Subcommand;
use sqlx::{PgConnection, PgPool};

use super::OpenDatabase;
use super::operator::Operator;
use crate::app::{self, App};
use crate::auth::accounts::{Account, ClosedBy, Found, NewAccount, NotCreated, Role, fold_email, tidy_name};
use crate::auth::links::{Link, Purpose};
use crate::auth::passwords::{Busy, check_strength};
use crate::auth::{AuthServer, factors};
use crate::base::{Clock, IdGenerator};
use crate::config::{Auth, Config};
use crate::fhir::trail::{Event, Kind};

/// Add people who sign in, and close their accounts
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a link by which somebody opens an account; or, with a name and a password, open it at once
    Add {
        #[arg(long)]
        email: String,
        /// patient, practitioner or admin
        #[arg(long)]
        role: Role,
        #[arg(long, requires = "family")]
        given: Option<String>,
        #[arg(long, requires = "given")]
        family: Option<String>,
        /// Read the password from the standard input
        #[arg(long, requires = "given")]
        password_stdin: bool,
    },
    /// List the accounts
    List,
    /// Close an account, and end its sessions
    Deactivate { email: String },
    /// Open a closed account again
    Reopen { email: String },
    /// Take passkeys, authenticator and backup codes away from somebody who lost them, and end their sessions. Make sure that it
    /// is them who ask
    RemoveFactors { email: String },
    /// End the sessions of an account and its applications' access
    SignOut { email: String },
}

/// Runs one of the commands, beside a running server or alone.
///
/// # Errors
/// When the database cannot be had, or there is such an account already.
pub async fn run(args: Args, config: Config) -> Result<()> {
    let database = OpenDatabase::open_beside_server(&config).await?;
    let result = run_on(&database, args.command, config).await;
    database.close().await;
    result
}

async fn run_on(database: &OpenDatabase, command: Command, config: Config) -> Result<()> {
    let pool = &database.pools.write;
    app::migrate(pool).await?;
    let (operator, now) = (async || Operator::at(database, &config).await, Clock::system().now());
    match command {
        Command::Add {
            email,
            role,
            given,
            family,
            password_stdin,
        } => {
            let operator = operator().await?;
            // The operator may prepare a server that does not run yet, or still runs as a sandbox.
            let config = Config {
                auth: Auth::On,
                ..config
            };
            let app = App::build(config, database.pools.clone(), Clock::system(), IdGenerator::random()).await?;
            let auth = app.auth.as_deref().context("this server has no accounts")?;
            let email = fold_email(&email).context("this is not an e-mail address")?;
            match (given, family) {
                (Some(given), Some(family)) if password_stdin => {
                    open_account(auth, &operator, email, role, &given, &family).await
                }
                _ => print_link(auth, &operator, email, role).await,
            }
        }
        Command::List => list(pool).await,
        Command::Deactivate { email } => {
            let (operator, mut transaction) = (operator().await?, pool.begin().await?);
            let account = open_account_of(&mut transaction, &email).await?;
            Account::close(&mut transaction, now, &account.id, ClosedBy::Operator).await?;
            let event = about(operator.did(Kind::Account, "closed"), &account);
            operator.commit(transaction, event).await
        }
        Command::Reopen { email } => {
            let (operator, mut transaction) = (operator().await?, pool.begin().await?);
            let email = fold_email(&email).context("this is not an e-mail address")?;
            let found = Account::look_up(&mut *transaction, now, &email).await?;
            match found.with_context(|| format!("{email} has no account"))? {
                Found::Open(_) => bail!("the account of {email} is open"),
                Found::Reopenable(account) | Found::Closed(account) => {
                    Account::reopen(&mut *transaction, &account.id).await?;
                    let event = about(operator.did(Kind::Account, "opened again"), &account);
                    operator.commit(transaction, event).await
                }
            }
        }
        Command::RemoveFactors { email } => {
            let (operator, mut transaction) = (operator().await?, pool.begin().await?);
            let account = open_account_of(&mut transaction, &email).await?;
            Account::end_everything(&mut transaction, &account.id).await?;
            factors::remove_all(&mut *transaction, &account.id).await?;
            let event = about(operator.did(Kind::Account, "factors removed"), &account);
            operator.commit(transaction, event).await
        }
        Command::SignOut { email } => {
            let (operator, mut transaction) = (operator().await?, pool.begin().await?);
            let account = open_account_of(&mut transaction, &email).await?;
            Account::end_everything(&mut transaction, &account.id).await?;
            let event = about(operator.did(Kind::Account, "signed out"), &account);
            operator.commit(transaction, event).await
        }
    }
}

/// Says whose account it was.
fn about(event: Event, account: &Account) -> Event {
    let (resource_type, id) = account.profile.split_once('/').unwrap_or_default();
    event.detail("account", &account.id).resource(resource_type, id, None)
}

async fn open_account_of(connection: &mut PgConnection, email: &str) -> Result<Account> {
    let email = fold_email(email).context("this is not an e-mail address")?;
    let found = Account::by_email(connection, &email).await?;
    let (account, _) = found.with_context(|| format!("{email} has no open account"))?;
    Ok(account)
}

async fn print_link(auth: &AuthServer, operator: &Operator, email: String, role: Role) -> Result<()> {
    match Account::look_up(&auth.pool, auth.clock.now(), &email).await? {
        None => {}
        Some(Found::Open(_)) => bail!("{email} has an account already"),
        Some(Found::Reopenable(_) | Found::Closed(_)) => {
            bail!("{email} has an account, which is closed: `medconsult user reopen {email}` opens it again")
        }
    }
    let event = operator.did(Kind::Account, "invited");
    let event = event.detail("role", role.name()).detail("email", &email);
    let link = Link {
        email,
        purpose: Purpose::Invitation { role },
    };
    let mut transaction = auth.pool.begin().await?;
    let secret = link.store(&mut *transaction, auth.clock.now()).await?;
    operator.commit(transaction, event).await?;
    println!("{}/auth/confirm?link={secret}", auth.issuer);
    Ok(())
}

async fn open_account(
    auth: &AuthServer,
    operator: &Operator,
    email: String,
    role: Role,
    given: &str,
    family: &str,
) -> Result<()> {
    let (given, family) = (tidy_name(given), tidy_name(family));
    let (given, family) = given.zip(family).context("a name has 1 to 100 characters")?;
    let mut password = String::new();
    stdin().read_line(&mut password)?;
    let password = password.trim_end_matches(['\r', '\n']);
    check_strength(password, &[&email, &given, &family]).map_err(anyhow::Error::msg)?;
    let password = auth
        .passwords
        .hash(password)
        .await
        .map_err(|Busy| anyhow!("the password cannot be hashed now"))?;
    let new = NewAccount {
        email,
        role,
        given,
        family,
        password,
    };
    match Account::create(auth, new).await {
        Ok(account) => {
            let event = operator.did(Kind::Account, "opened").detail("role", role.name());
            operator
                .commit(auth.pool.begin().await?, about(event, &account))
                .await?;
            println!("{}  {}", account.id, account.profile);
        }
        Err(NotCreated::Taken) => bail!("there is an account with this address already"),
        Err(NotCreated::Failed) => bail!("the account could not be made; the log says why"),
    }
    Ok(())
}

async fn list(pool: &PgPool) -> Result<()> {
    let rows: Vec<(String, String, String, String, bool)> = sqlx::query_as(
        "SELECT email, role, profile,
                concat_ws(', ', CASE WHEN EXISTS (SELECT FROM passkey k WHERE k.account = a.id) THEN 'passkey' END,
                                CASE WHEN totp_secret IS NOT NULL THEN 'app' END, CASE WHEN mail_codes THEN 'mail' END),
                active
         FROM account a ORDER BY created_at, id",
    )
    .fetch_all(pool)
    .await?;
    for (email, role, profile, factors, active) in rows {
        let factors = if factors.is_empty() { "password only" } else { &factors };
        let state = if active { "" } else { "  (closed)" };
        println!("{email}  {role}  {profile}  {factors}{state}");
    }
    Ok(())
}
