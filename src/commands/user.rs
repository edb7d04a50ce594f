//! `medconsult user`: accounts, for operators; above all the first administrator.

use std::io::stdin;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Subcommand;
use sqlx::PgPool;

use super::OpenDatabase;
use crate::app::{self, App};
use crate::auth::AuthServer;
use crate::auth::accounts::{Account, NewAccount, NotCreated, Role, fold_email, tidy_name};
use crate::auth::links::{Link, Purpose};
use crate::auth::passwords::{Busy, check_strength};
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
            let email = fold_email(&email).context("this is not an e-mail address")?;
            let found = Account::by_email(&database.pools.write, &email).await?;
            let (account, _) = found.with_context(|| format!("{email} has no open account"))?;
            Account::deactivate(&database.pools.write, &account.id).await?;
            Ok(())
        }
    }
}

async fn print_link(auth: &AuthServer, email: String, role: Role) -> Result<()> {
    let known = Account::by_email(&auth.pool, &email).await?;
    ensure!(known.is_none(), "{email} has an account already");
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
    let rows: Vec<(String, String, String, bool)> =
        sqlx::query_as("SELECT email, role, profile, active FROM account ORDER BY created_at, id")
            .fetch_all(pool)
            .await?;
    for (email, role, profile, active) in rows {
        let state = if active { "" } else { "  (closed)" };
        println!("{email}  {role}  {profile}{state}");
    }
    Ok(())
}
