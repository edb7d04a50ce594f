//! The program: reads the settings and runs one command.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Error, Result};
use clap::{Parser, Subcommand};
use medconsult::base::{secrets, telemetry};
use medconsult::commands::{
    access, audit, bench, client, config, conformance, key, load, mail, migrate, objects, schemas, serve, user, worker,
};
use medconsult::config::Config;

/// Requests are many small allocations and a few large ones, made and dropped on different threads: with the system's
/// allocator they were half of the server's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An FHIR R4 server for telemedicine
#[derive(Parser)]
#[command(version)]
struct Program {
    /// The file with the settings [default: medconsult.toml, if there is one]
    #[arg(long, global = true, env = "MEDCONSULT_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Args),
    Load(load::Args),
    Bench(bench::Args),
    Conformance(conformance::Args),
    User(user::Args),
    Client(client::Args),
    Access(access::Args),
    Key(key::Args),
    Mail(mail::Args),
    Audit(audit::Args),
    Objects(objects::Args),
    Worker(worker::Args),
    Migrate(migrate::Args),
    Schemas(schemas::Args),
    Config(config::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Program::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("medconsult: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(program: Program) -> Result<()> {
    let config = Config::load(program.config.as_deref())?;
    telemetry::init(config.log.format, &config.log.filter).map_err(Error::msg)?;
    secrets::warn_of_open(config.secret_files());
    match program.command {
        Command::Serve(args) => serve::run(args, config).await,
        Command::Load(args) => load::run(args, config).await,
        Command::Bench(args) => bench::run(args, config).await,
        Command::Conformance(args) => conformance::run(args, config).await,
        Command::User(args) => user::run(args, config).await,
        Command::Client(args) => client::run(args, config).await,
        Command::Access(args) => access::run(args, config).await,
        Command::Key(args) => key::run(args, config).await,
        Command::Mail(args) => mail::run(args, config).await,
        Command::Audit(args) => audit::run(args, config).await,
        Command::Objects(args) => objects::run(args, config).await,
        Command::Worker(args) => worker::run(args, config).await,
        Command::Migrate(args) => migrate::run(args, config).await,
        Command::Schemas(args) => schemas::run(args, config).await,
        Command::Config(args) => config::run(args, config).await,
    }
}
