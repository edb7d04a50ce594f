//! `medconsult conformance`: the published suites, and the record of what passes.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::app::{self, App};
use crate::base::database::PoolSizes;
use crate::base::postgres::{Cluster, ClusterOptions, Durability};
use crate::base::{Clock, Database, IdGenerator};
use crate::config::Config;
use crate::conformance::{Exceptions, Record, SuiteRecord, SuiteResult, examples, fhirpath, patch};

/// Run HL7's official suites, against any FHIR server where they speak HTTP
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The FHIR base URL of a running server [default: a sandbox server started for this run]
    #[arg(long)]
    base: Option<String>,
    /// The unpacked npm package hl7.fhir.r4.examples@4.0.1
    #[arg(long, default_value = "conformance/hl7/node_modules/hl7.fhir.r4.examples")]
    hl7: PathBuf,
    /// The folder with `fhirpath-r4` and `patch`, from the repository FHIR/fhir-test-cases
    #[arg(long, default_value = "../shared/data")]
    cases: PathBuf,
    /// Only this suite (may be repeated) [default: all]
    #[arg(long, value_enum)]
    suite: Vec<Suite>,
    /// Write the record to this file
    #[arg(long)]
    record: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Suite {
    Examples,
    Fhirpath,
    FhirpathPatch,
    JsonPatch,
}

impl Suite {
    const ALL: [Suite; 4] = [Suite::Examples, Suite::Fhirpath, Suite::FhirpathPatch, Suite::JsonPatch];

    fn folder(self, args: &Args) -> PathBuf {
        match self {
            Suite::Examples => args.hl7.clone(),
            Suite::Fhirpath => args.cases.join("fhirpath-r4"),
            Suite::FhirpathPatch | Suite::JsonPatch => args.cases.join("patch"),
        }
    }
}

/// Runs the suites and prints what came out otherwise than recorded.
///
/// # Errors
/// When a suite cannot run, or a case comes out otherwise than `conformance/exceptions.toml` says.
pub async fn run(args: Args, config: Config) -> Result<()> {
    let exceptions = Exceptions::built_in();
    let mut record = Record::default();
    for suite in Suite::ALL {
        if !args.suite.is_empty() && !args.suite.contains(&suite) {
            continue;
        }
        let folder = suite.folder(&args);
        if !folder.is_dir() {
            let name = format!("{suite:?}");
            println!("{name}: no cases in {}, left out", folder.display());
            record.absent.push((name, folder.display().to_string()));
            continue;
        }
        let result = match suite {
            Suite::Examples => run_examples(&args, &folder, &config).await?,
            Suite::Fhirpath => fhirpath::run(&folder)?,
            Suite::FhirpathPatch => patch::run_fhirpath(&folder)?,
            Suite::JsonPatch => patch::run_json(&folder)?,
        };
        let suite = SuiteRecord::new(&result, &exceptions);
        print(&suite);
        record.suites.push(suite);
    }
    if let Some(path) = &args.record {
        std::fs::write(path, record.to_markdown()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if !record.is_as_recorded() {
        bail!("some cases came out otherwise than conformance/exceptions.toml says");
    }
    Ok(())
}

fn print(suite: &SuiteRecord) {
    println!(
        "{}: {} cases, {} pass, {} excepted",
        suite.suite,
        suite.total,
        suite.passed,
        suite.excepted.len()
    );
    for (name, why) in &suite.unexpected {
        println!("  FAIL {name}: {why}");
    }
    for name in &suite.stale {
        println!("  STALE {name}: named as an exception, but it passes or does not exist");
    }
}

async fn run_examples(args: &Args, folder: &Path, config: &Config) -> Result<SuiteResult> {
    let examples = examples::read(folder).context("cannot read the examples")?;
    match &args.base {
        Some(base) => Ok(examples::run(base.trim_end_matches('/'), &examples).await),
        None => {
            let sandbox = Sandbox::start(config).await?;
            let result = examples::run(&sandbox.base, &examples).await;
            sandbox.stop().await?;
            Ok(result)
        }
    }
}

/// A server with an empty database of its own, thrown away after the run.
struct Sandbox {
    base: String,
    data_dir: PathBuf,
    cluster: Cluster,
    database: Database,
    stop: watch::Sender<bool>,
    server: tokio::task::JoinHandle<()>,
}

impl Sandbox {
    async fn start(config: &Config) -> Result<Sandbox> {
        let data_dir = env::temp_dir().join(format!("medconsult-conformance-{}", std::process::id()));
        let options = ClusterOptions {
            data_dir: data_dir.clone(),
            programs: None,
            durability: Durability::Throwaway,
        };
        let cluster = Cluster::start(&options).await?;
        let database = Database::open(cluster.connect_options(), PoolSizes { write: 4, read: 4 });
        app::migrate(&database.write).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut config = config.clone();
        config.listen = listener.local_addr()?;
        config.http.max_body_bytes = examples::LARGEST_BYTES;
        let base = config.fhir_base();
        let app = App::build(config, database.clone(), Clock::system(), IdGenerator::random()).await?;
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(app.serve(listener, None, stopped));
        Ok(Sandbox {
            base,
            data_dir,
            cluster,
            database,
            stop,
            server,
        })
    }

    async fn stop(self) -> Result<()> {
        self.stop.send_replace(true);
        self.server.await?;
        self.database.close().await;
        self.cluster.stop().await;
        std::fs::remove_dir_all(&self.data_dir).context("cannot remove the sandbox's data")
    }
}
