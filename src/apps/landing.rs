//! `GET /`: a word to those who come by, and the way in.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use crate::apps::files::Files;

const STYLE: &str = include_str!("landing.css");
const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the page has to tell.
#[derive(Clone, Debug)]
pub struct Landing {
    pub files: Arc<Files>,
    /// Where the FHIR API is.
    pub base: String,
    /// Whether people sign in; without that, apps cannot be opened.
    pub has_accounts: bool,
    /// Whether this is the demo, whose accounts everybody may know.
    pub is_demo: bool,
}

pub async fn style() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, STYLE).into_response()
}

pub async fn show(State(landing): State<Landing>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, page(&landing).into_string()).into_response()
}

fn page(landing: &Landing) -> Markup {
    let opens = |app: &str| landing.has_accounts && landing.files.has(app);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="description" content="A telemedicine practice on an open FHIR R4 server: book, pay, consult, prescribe.";
                title { "MedConsult" }
                link rel="stylesheet" href="/apps/landing.css";
            }
            body {
                header { div.bar {
                    strong { "MedConsult" }
                    nav aria-label="Account" {
                        @if landing.is_demo { a href="/demo" { "Accounts of the demo" } }
                        @if landing.has_accounts {
                            a href="/auth/sign-in" { "Sign in" }
                            a.button href="/auth/sign-up" { "Create an account" }
                        }
                    }
                } }
                main {
                    section.hero {
                        h1 { "See a doctor from where you are" }
                        p { "Find somebody who speaks your language, choose a time on your own clock, and keep your record at hand: visits, \
                             documents, prescriptions, and who looked at them." }
                        @if opens("patient") {
                            p { a.button.large href="/apps/patient/" { "Book a visit" } }
                        }
                    }
                    section.cards aria-label="Ways in" {
                        @if opens("patient") {
                            (card("/apps/patient/", "For patients", "Book, pay, move and cancel visits. Upload documents, download prescriptions, \
                                                                     see who opened your record."))
                        }
                        @if opens("practitioner") {
                            (card("/apps/practitioner/", "For practitioners", "Today’s visits, requests, the calendar, charts, and prescriptions \
                                                                              that are signed."))
                        }
                        @if opens("admin") {
                            (card("/apps/admin/", "For the practice", "Accounts and applications, services and prices, the audit log, and how the \
                                                                      server is doing."))
                        }
                        (card("/fhir/metadata?_pretty=true", "For developers", "Everything here is HL7 FHIR R4 and SMART App Launch. The apps \
                                                                               use nothing that yours could not."))
                    }
                    @if !landing.has_accounts {
                        p.note { "This server runs without accounts, for trying out the API; the apps need them." }
                    }
                }
                footer { p { "The API is at " code { (landing.base) } "." } }
            }
        }
    }
}

fn card(to: &str, title: &str, text: &str) -> Markup {
    html! { a.card href=(to) { strong { (title) } span { (text) } } }
}
