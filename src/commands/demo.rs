//! What `medconsult serve --demo` does beside serving.

use anyhow::{Context, Result};

use super::OpenDatabase;
use crate::app::App;
use crate::apps::files::Files;
use crate::auth::clients::{self, NewClient, NewProof};
use crate::auth::scopes::Scopes;
use crate::base::{Clock, IdGenerator};
use crate::config::{Config, PaymentsConfig};
use crate::demo::stage::Stage;
use crate::demo::stand_in::StandIn;
use crate::demo::{is_told, people, story};

/// The application that programs act by: conformance/consultation.mjs, a developer's own.
const CLIENT: &str = "demo";
/// Where it sends people back to; the port is any.
const CLIENT_REDIRECT: &str = "http://127.0.0.1/callback";
const CLIENT_SCOPES: &str = "openid fhirUser launch/patient offline_access patient/*.cruds user/*.cruds";

/// Makes everything ready: the stand-in for Stripe runs, as long as what is answered is kept, and the story is told if it has
/// not been.
///
/// # Errors
/// When the database holds something else, or something of it cannot be had.
pub async fn begin(config: &mut Config, database: &OpenDatabase) -> Result<StandIn> {
    let root = config.root_url();
    let stand_in = StandIn::start(&format!("{root}/payments/stripe")).await?;
    let has_app = Files::read(&config.apps.folder)?.has("patient");
    config.payments = PaymentsConfig {
        stripe_key: stand_in.secret_key.clone().into(),
        stripe_url: stand_in.url.clone(),
        webhook_secret: stand_in.webhook_secret.clone().into(),
        return_url: if has_app {
            format!("{root}/apps/patient/paid")
        } else {
            String::new()
        },
        ..PaymentsConfig::default()
    };
    if !is_told(&database.pools.write).await? {
        println!("Making up a practice; this takes some seconds, once.");
        tell(config, database).await.context("the demo cannot be made")?;
    }
    Ok(stand_in)
}

async fn tell(config: &Config, database: &OpenDatabase) -> Result<()> {
    let now = Clock::system().now();
    let (clock, hand) = Clock::manual(now - story::BEGINS);
    let app = App::build(config.clone(), database.pools.clone(), clock, IdGenerator::random()).await?;
    app.prepare().await?;
    let auth = app.auth.as_deref().context("the demo has accounts")?;
    let client = NewClient {
        id: CLIENT,
        name: "Programs that try the demo",
        scopes: &Scopes::parse(CLIENT_SCOPES).ok().context("the scopes of the demo")?,
        redirect_uris: &[CLIENT_REDIRECT.to_owned()],
        launch_url: None,
        launches: false,
        proof: NewProof::Public,
    };
    clients::add(&auth.pool, auth.clock.now(), &client).await?;
    let worker = app.worker();
    let mut stage = Stage {
        auth,
        worker: &worker,
        hand: &hand,
        accounts: Default::default(),
        names: Default::default(),
    };
    story::tell(&mut stage, now).await
}

/// A word to the person at the terminal.
pub fn announce(app: &App, place: &str) {
    let root = app.config.root_url();
    println!();
    println!("  MedConsult's demo is ready on {place}. Ctrl-C stops it.");
    println!();
    println!("  {root}            begin here");
    println!("  {root}/demo       accounts, codes of the moment, mails");
    println!("  {root}/fhir       the FHIR API, for whoever has a token");
    println!();
    println!("  Password of every account: {}", people::PASSWORD);
    for person in people::everybody() {
        println!(
            "  {:<22} {:<13} {}",
            person.email(),
            person.role.to_string(),
            person.about
        );
    }
    println!();
    println!("  Practitioners and the administrator need a code: {root}/demo shows it, or an app with the key");
    println!("  {}.", people::CODES);
    println!("  To pay, use the card 4242 4242 4242 4242; 4000 0000 0000 0002 is declined.");
    println!();
}
