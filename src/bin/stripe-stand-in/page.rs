//! The Checkout page: plain HTML that works with a keyboard, a screen reader and a script.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Deserialize;
use serde_json::Value;

use crate::checkout;
use crate::shop::{Desk, SESSIONS, Shop};

const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:28rem;margin:3rem auto;padding:0 1rem}\
label{display:block;margin-top:1rem}input{font:inherit;width:100%;box-sizing:border-box;padding:.5rem}\
button{font:inherit;margin-top:1.5rem;padding:.6rem 1.2rem;width:100%}\
[role=alert]{border:2px solid #b00020;padding:.5rem 1rem}";

/// What the payer fills in. Only the number counts.
#[derive(Deserialize)]
pub struct Filled {
    card: String,
}

pub async fn show(State(desk): State<Arc<Desk>>, Path(id): Path<String>) -> Response {
    let mut shop = desk.shop();
    checkout::close_what_is_over(&mut shop);
    answer(&shop, &id, None)
}

pub async fn submit(State(desk): State<Arc<Desk>>, Path(id): Path<String>, Form(filled): Form<Filled>) -> Response {
    let mut shop = desk.shop();
    checkout::close_what_is_over(&mut shop);
    match checkout::pay(&mut shop, &id, &filled.card) {
        Ok(next) => Redirect::to(&next).into_response(),
        Err(fault) => {
            let message = fault.error["message"].as_str().unwrap_or_default().to_owned();
            answer(&shop, &id, Some((fault.status, message)))
        }
    }
}

fn answer(shop: &Shop, id: &str, refusal: Option<(StatusCode, String)>) -> Response {
    let Ok(session) = shop.get(SESSIONS, id) else {
        let page = frame("Not found", &html! { p { "There is no such page." } });
        return (StatusCode::NOT_FOUND, page).into_response();
    };
    let status = refusal.as_ref().map_or(StatusCode::OK, |(status, _)| *status);
    let lines = shop.lines.get(id).map_or(&[][..], Vec::as_slice);
    let page = match session["status"].as_str() {
        Some("open") => form(session, lines, refusal.as_ref().map(|(_, message)| message.as_str())),
        Some("complete") => frame("Paid", &html! { p { "This was paid." } }),
        _ => frame(
            "Over",
            &html! { p { "You can no longer pay here: the time for it is over." } },
        ),
    };
    (status, page).into_response()
}

fn form(session: &Value, lines: &[Value], refusal: Option<&str>) -> Html<String> {
    let amount = session["amount_total"].as_i64().unwrap_or_default();
    let currency = session["currency"].as_str().unwrap_or_default();
    let cancel = session["cancel_url"].as_str();
    frame(
        "Pay",
        &html! {
            p { "A stand-in for Stripe: no money moves. Test cards: 4242 4242 4242 4242 pays, 4000 0000 0000 0002 is declined." }
            ul {
                @for line in lines {
                    li { (line["quantity"]) " × " (line["description"].as_str().unwrap_or_default()) }
                }
            }
            p { strong { (amount) " " (currency.to_uppercase()) } " in the smallest unit of the currency" }
            @if let Some(refusal) = refusal {
                p role="alert" { (refusal) }
            }
            form method="post" {
                label for="card" { "Card number" }
                input id="card" name="card" inputmode="numeric" autocomplete="cc-number" required autofocus;
                label for="expiry" { "Expiry (MM / YY)" }
                input id="expiry" name="expiry" inputmode="numeric" autocomplete="cc-exp";
                label for="cvc" { "Security code" }
                input id="cvc" name="cvc" inputmode="numeric" autocomplete="cc-csc";
                button type="submit" { "Pay" }
            }
            @if let Some(cancel) = cancel {
                p { a href=(cancel) { "Back" } }
            }
        },
    )
}

fn frame(title: &str, content: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – Stripe stand-in" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (title) }
                    (content)
                }
            }
        }
    };
    Html(page.into_string())
}
