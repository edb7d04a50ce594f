//! A stand-in for Stripe, for tests and demonstrations: the part of its API that MedConsult uses, its Checkout page, and its
//! signed webhooks. It forgets everything when it stops, and no money moves.
//!
//! `stripe-stand-in --secret-key sk_test_x --webhook-secret whsec_x --webhook-url http://127.0.0.1:8080/payments/stripe`
//!
//! It answers as <https://docs.stripe.com/api> says, and refuses what it does not know rather than to pass over it. A test
//! reads each of its answers by async-stripe's types, so that it cannot become fiction.
//!
//! | file | concern |
//! |---|---|
//! | [`form`] | what a request says: forms with nested names |
//! | [`answer`] | errors as Stripe has them; lists |
//! | [`shop`] | what there is, and who is told of it |
//! | [`api`] | keys, idempotency, and which address does what |
//! | [`checkout`], [`intents`], [`refunds`], [`catalogue`] | the objects |
//! | [`cards`] | test cards |
//! | [`page`] | where somebody pays |
//! | [`webhooks`] | signatures and deliveries |

mod answer;
mod api;
mod cards;
mod catalogue;
mod checkout;
mod form;
mod intents;
mod page;
mod refunds;
mod shop;
mod webhooks;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::{any, get};
use clap::Parser;
use medconsult::base::Clock;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::shop::{Desk, Shop};
use crate::webhooks::Receiver;

/// A stand-in for Stripe, for tests and demonstrations. No money moves.
#[derive(Debug, Parser)]
#[command(name = "stripe-stand-in", version)]
struct Args {
    /// Address and port; port 0 for any that is free
    #[arg(long, default_value = "127.0.0.1:12111")]
    listen: SocketAddr,
    /// The key that requests must bring
    #[arg(long, default_value = "sk_test_stand_in")]
    secret_key: String,
    /// What webhooks are signed with
    #[arg(long, default_value = "whsec_stand_in")]
    webhook_secret: String,
    /// Who is told of what happens; without it, nobody
    #[arg(long)]
    webhook_url: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = format!("http://{}", listener.local_addr()?);
    let (events, to_tell) = mpsc::unbounded_channel();
    let desk = Arc::new(Desk::new(Shop::new(Clock::system(), &address, events), args.secret_key));
    let receiver = args.webhook_url.map(|url| Receiver::new(url, &args.webhook_secret));
    tokio::spawn(webhooks::deliver(to_tell, receiver.transpose()?.map(Arc::new)));
    tokio::spawn(close_what_is_over(desk.clone()));
    let routes = Router::new()
        .route("/c/pay/{session}", get(page::show).post(page::submit))
        .route("/v1/{*path}", any(api::handle))
        .with_state(desk);
    // Whoever started this reads the address here.
    let mut out = std::io::stdout();
    writeln!(out, "listening on {address}")?;
    out.flush()?;
    axum::serve(listener, routes).await.context("the listener failed")
}

/// Sessions end by the clock, too.
async fn close_what_is_over(desk: Arc<Desk>) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        checkout::close_what_is_over(&mut desk.shop());
    }
}
