//! The stand-in for Stripe beside the demo: a program of ours that takes cards that do not exist.

use std::env;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::base::crypto;

const PROGRAM: &str = "stripe-stand-in";
/// How its first line begins.
const GREETING: &str = "listening on ";
/// How long it may take to begin.
const PATIENCE: Duration = Duration::from_secs(10);

/// A stand-in that runs, until it is dropped.
#[derive(Debug)]
pub struct StandIn {
    /// `http://127.0.0.1:…`
    pub url: String,
    /// With which the server calls it.
    pub secret_key: String,
    /// With which it signs what it tells the server.
    pub webhook_secret: String,
    _child: Child,
}

impl StandIn {
    /// Starts it, to tell what happens at `webhook_url`.
    ///
    /// # Errors
    /// When the program is not beside this one, or does not begin.
    pub async fn start(webhook_url: &str) -> Result<StandIn> {
        let program = program()?;
        ensure!(
            program.exists(),
            "{} is missing: `cargo build --bins` makes it",
            program.display()
        );
        let secret_key = format!("sk_test_{}", crypto::random_token());
        let webhook_secret = format!("whsec_{}", crypto::random_token());
        let mut child = Command::new(&program)
            .args(["--listen", "127.0.0.1:0"])
            .args(["--secret-key", &secret_key])
            .args(["--webhook-secret", &webhook_secret])
            .args(["--webhook-url", webhook_url])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            // Ctrl-C at the terminal is for the server, which then ends this one.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let first = timeout(PATIENCE, lines.next_line())
            .await
            .context("the stand-in for Stripe does not begin")??
            .unwrap_or_default();
        let url = first
            .strip_prefix(GREETING)
            .with_context(|| format!("the stand-in for Stripe says: {first}"))?
            .trim()
            .to_owned();
        // Its pipe stays open and is emptied, or it would end with its first word to nobody.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(StandIn {
            url,
            secret_key,
            webhook_secret,
            _child: child,
        })
    }
}

/// Where it is: beside this program.
fn program() -> Result<PathBuf> {
    let here = env::current_exe().context("cannot tell where this program is")?;
    Ok(here.with_file_name(format!("{PROGRAM}{}", env::consts::EXE_SUFFIX)))
}
