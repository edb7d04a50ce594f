//! `medconsult serve`: the server.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;

use super::{OpenDatabase, demo, stop_signal};
use crate::app::{self, App};
use crate::auth::AuthServer;
use crate::base::tls::Tls;
use crate::base::{Clock, IdGenerator};
use crate::config::Config;
use crate::demo::{refuse_in_earnest, settings};

/// Start the server, with a private PostgreSQL unless a database is named
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show a practice that is made up, with people, visits and records, on this machine only
    #[arg(long)]
    demo: bool,
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// When the address is taken, the database cannot be had, or the listener fails.
pub async fn run(args: Args, config: Config) -> Result<()> {
    let begun = Instant::now();
    let config = match args.demo {
        true => settings::of_demo(config)?,
        false => config,
    };
    let stop = stop_signal()?;
    // First of all the address: it is the likeliest to be taken, and the quickest to tell.
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let tls = app::tls(&config)?;
    allow_many_connections();
    let database = OpenDatabase::open(&config).await?;
    let place = database.place(&config);
    let result = serve(&database, config, (listener, tls), stop, begun, &place).await;
    database.close().await;
    result
}

async fn serve(
    database: &OpenDatabase,
    config: Config,
    (listener, tls): (TcpListener, Option<Arc<Tls>>),
    stop: tokio::sync::watch::Receiver<bool>,
    begun: Instant,
    place: &str,
) -> Result<()> {
    app::migrate(&database.pools.write).await?;
    let mut config = config;
    // Port 0 asks for any free one; links must name the one that was given.
    config.listen = listener.local_addr()?;
    let base = config.fhir_base();
    // Ends when this function does.
    let _stand_in = match config.demo {
        true => Some(demo::begin(&mut config, database).await?),
        false => {
            refuse_in_earnest(&database.pools.write).await?;
            None
        }
    };
    let app = App::build(config, database.pools.clone(), Clock::system(), IdGenerator::random()).await?;
    app.prepare().await?;
    let worker = (app.config.jobs.concurrency > 0).then(|| {
        let (worker, stop) = (app.worker(), stop.clone());
        tokio::spawn(async move { worker.run(stop).await })
    });
    match app.config.demo {
        true => demo::announce(&app, place),
        false => announce(&base, place, begun, app.auth.as_deref()),
    }
    app.serve(listener, tls, stop).await;
    if let Some(worker) = worker {
        worker.await?;
    }
    Ok(())
}

/// Each connection is an open file, and many systems allow a thousand of these to whoever does not ask for more.
fn allow_many_connections() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the number of open files");
    }
}

/// A word to the person at the terminal, on standard output; log lines go to standard error.
fn announce(base: &str, place: &str, begun: Instant, auth: Option<&AuthServer>) {
    let seconds = begun.elapsed().as_secs_f64();
    println!("MedConsult is ready at {base} after {seconds:.2} s, on {place}. Ctrl-C stops it.");
    match auth {
        None => println!("Try:  curl '{base}/Patient?_pretty=true'   or see README.md for more."),
        Some(auth) => {
            println!(
                "Sign in at {}/auth/sign-in. docs/security.md tells how to let people and applications in;",
                auth.issuer
            );
            println!("the first person:  medconsult user add --email you@clinic.example --role admin");
        }
    }
}
