//! `/demo`: who can sign in, with which code, and the mails that were sent. Only where the demo runs.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::mails::{self, Mail};
use super::people::{self, Person};
use crate::base::Clock;

/// Mails that are shown.
const MOST: usize = 100;

/// What the pages show.
#[derive(Debug)]
pub struct Shown {
    pub clock: Clock,
    /// Where mails are written to, unless a server takes them.
    pub mails: PathBuf,
}

/// Whose mails.
#[derive(Debug, Deserialize)]
pub struct Wanted {
    to: Option<String>,
}

/// `GET /demo`
pub async fn show(State(shown): State<Arc<Shown>>) -> Response {
    let code = people::authenticator().code(shown.clock.now());
    let mails = mails::newest(&shown.mails, None, MOST);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "The demo - MedConsult" }
                link rel="stylesheet" href="/auth/style.css";
            }
            body.wide {
                header { p { a href="/" { "MedConsult" } } }
                main {
                    h1 { "The demo" }
                    p { "All of this is made up, and only on this machine. The password of every account is "
                        code { (people::PASSWORD) } "." }
                    p { "Practitioners and the administrator are asked for a code, too. Now it is "
                        code { (code) } ", for half a minute; each code is good once per account. An authenticator app with the key "
                        code { (people::CODES) } " shows the same." }
                    h2 { "Accounts" }
                    div.scrolls { table {
                        thead { tr { th { "Address" } th { "Who" } th { "What there is to see" } th { "App" } } }
                        tbody {
                            @for person in people::everybody() {
                                tr {
                                    td { code { (person.email()) } }
                                    td { (name(&person)) }
                                    td { (person.about) }
                                    td { a href={ "/apps/" (person.role.name()) "/" } { (person.role.name()) } }
                                }
                            }
                        }
                    } }
                    h2 { "Mails" }
                    @if mails.is_empty() { p { "No mail was sent yet." } }
                    @for mail in &mails {
                        details {
                            summary { (mail.subject) " – " (mail.to) }
                            p { (mail.date) }
                            pre { (linked(&mail.text)) }
                        }
                    }
                }
            }
        }
    };
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ];
    (headers, Html(page.into_string())).into_response()
}

/// `GET /demo/accounts.json`
pub async fn accounts(State(shown): State<Arc<Shown>>) -> Json<Value> {
    let accounts: Vec<Value> = people::everybody()
        .map(|person| {
            json!({"email": person.email(), "name": name(&person), "role": person.role.name(), "about": person.about,
                "asksForCode": person.has_codes()})
        })
        .collect();
    let code = people::authenticator().code(shown.clock.now());
    Json(json!({"password": people::PASSWORD, "code": code, "authenticator": people::CODES, "accounts": accounts}))
}

/// `GET /demo/mails.json?to=…`
pub async fn mails(State(shown): State<Arc<Shown>>, Query(wanted): Query<Wanted>) -> Json<Vec<Mail>> {
    Json(mails::newest(&shown.mails, wanted.to.as_deref(), MOST))
}

fn name(person: &Person) -> String {
    format!("{} {}", person.given, person.family)
}

/// Text in which web addresses can be followed.
fn linked(text: &str) -> maud::Markup {
    html! {
        @for (n, word) in text.split(' ').enumerate() {
            @if n > 0 { " " }
            @for (n, part) in word.split('\n').enumerate() {
                @if n > 0 { "\n" }
                @if part.starts_with("http://") || part.starts_with("https://") {
                    a href=(part) { (part) }
                } @else { (part) }
            }
        }
    }
}
