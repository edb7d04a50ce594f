//! `medconsult user`: accounts, for operators; above all the first administrator.

use std::io::stdin;

use anyhow::{Context, Result, anyhow, bail};
use clap::Subcommand;
use sqlx::PgPool;

use super::OpenDatabase;
use crate::app::{self, App};
use crate::auth::accounts::{Account, ClosedBy, Found, NewAccount, NotCreated, Role, fold_email, tidy_name};
use crate::auth::links::{Link, Purpose};
use crate::auth::passwords::{Busy, check_strength};
use crate::auth::{AuthServer, factors};
use crate::base::{Clock, IdGenerator};
use crate::config::{Auth, Config};

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
    app::migrate(&database.pools.write).await?;
    match command {
        Command::Add {
            email,
            role,
            given,
            family,
            password_stdin,
        } => {
            // The operator may prepare a server that does not run yet, or still runs as a sandbox.
            let config = Config {
                auth: Auth::On,
                ..config
            };
            let app = App::build(config, database.pools.clone(), Clock::system(), IdGenerator::random()).await?;
            let auth = app.auth.as_deref().context("this server has no accounts")?;
            let email = fold_email(&email).context("this is not an e-mail address")?;
            match (given, family) {
                (Some(given), Some(family)) if password_stdin => open_account(auth, email, role, &given, &family).await,
                _ => print_link(auth, email, role).await,
            }
        }
        Command::List => list(&database.pools.write).await,
        Command::Deactivate { email } => {
            let account = open_account_of(&database.pools.write, &email).await?;
            let mut transaction = database.pools.write.begin().await?;
            Account::close(&mut transaction, Clock::system().now(), &account.id, ClosedBy::Operator).await?;
            transaction.commit().await?;
            Ok(())
        }
        Command::Reopen { email } => {
            let email = fold_email(&email).context("this is not an e-mail address")?;
            let found = Account::look_up(&database.pools.write, Clock::system().now(), &email).await?;
            match found.with_context(|| format!("{email} has no account"))? {
                Found::Open(_) => bail!("the account of {email} is open"),
                Found::Reopenable(account) | Found::Closed(account) => {
                    Account::reopen(&database.pools.write, &account.id).await?;
                    Ok(())
                }
            }
        }
        Command::RemoveFactors { email } => {
            let account = open_account_of(&database.pools.write, &email).await?;
            let mut transaction = database.pools.write.begin().await?;
            Account::end_everything(&mut transaction, &account.id).await?;
            factors::remove_all(&mut *transaction, &account.id).await?;
            transaction.commit().await?;
            Ok(())
        }
        Command::SignOut { email } => {
            let account = open_account_of(&database.pools.write, &email).await?;
            let mut transaction = database.pools.write.begin().await?;
            Account::end_everything(&mut transaction, &account.id).await?;
            transaction.commit().await?;
            Ok(())
        }
    }
}

async fn open_account_of(pool: &PgPool, email: &str) -> Result<Account> {
    let email = fold_email(email).context("this is not an e-mail address")?;
    let found = Account::by_email(pool, &email).await?;
    let (account, _) = found.with_context(|| format!("{email} has no open account"))?;
    Ok(account)
}

async fn print_link(auth: &AuthServer, email: String, role: Role) -> Result<()> {
    match Account::look_up(&auth.pool, auth.clock.now(), &email).await? {
        None => {}
        Some(Found::Open(_)) => bail!("{email} has an account already"),
        Some(Found::Reopenable(_) | Found::Closed(_)) => {
            bail!("{email} has an account, which is closed: `medconsult user reopen {email}` opens it again")
        }
    }
    let purpose = Purpose::Invitation { role };
    let secret = Link { email, purpose }.store(&auth.pool, auth.clock.now()).await?;
    println!("{}/auth/confirm?link={secret}", auth.issuer);
    Ok(())
}

async fn open_account(auth: &AuthServer, email: String, role: Role, given: &str, family: &str) -> Result<()> {
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
        Ok(account) => println!("{}  {}", account.id, account.profile),
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
