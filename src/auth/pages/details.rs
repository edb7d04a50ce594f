//! Names, picture, how to reach the person, language, time zone, and which mails they want.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::browser::{Browser, Submitted};
use super::form::{Field, Problems};
use super::upload::Uploaded;
use super::{PageError, Result, see_other};
use crate::auth::AuthServer;
use crate::auth::details::picture::{self, Refused};
use crate::auth::details::{self, Details, MAILS, NotSaved, SPOKEN};

const PAGE: &str = "/auth/account/details";

impl From<NotSaved> for PageError {
    fn from(error: NotSaved) -> PageError {
        match error {
            NotSaved::Crossed => PageError::Crossed,
            NotSaved::Fhir(error) => error.into(),
            NotSaved::Database(error) => error.into(),
        }
    }
}

/// `GET /auth/account/details`
pub async fn show(State(auth): State<Arc<AuthServer>>, browser: Browser) -> Result<Response> {
    let session = browser.signed_in()?;
    let (details, has_picture) = Details::of(&auth, session).await?;
    Ok(page(&browser, &details, has_picture, &Problems::default()))
}

fn page(browser: &Browser, details: &Details, has_picture: bool, problems: &Problems) -> Response {
    browser.page(
        "Your details",
        html! {
            (problems.summary())
            h2 { "Picture" }
            @if has_picture {
                p { img class="portrait" src="/auth/account/picture" alt="Your picture"; }
                (browser.form("/auth/account/picture/remove", "Remove it", html! {}))
            }
            (picture_form(browser, problems))
            h2 { "About you" }
            (browser.form(PAGE, "Save", fields(details, problems)))
            p { a href="/auth/account" { "Back" } }
        },
    )
}

fn picture_form(browser: &Browser, problems: &Problems) -> Markup {
    let problem = problems.of("picture");
    html! {
        form method="post" action="/auth/account/picture" enctype="multipart/form-data" {
            input type="hidden" name="form_token" value=(browser.form_token());
            p {
                label for="picture" { "A picture from this device" }
                span id="picture-hint" class="hint" { "JPEG or PNG, up to 2 MB. What it tells about place and camera is taken off." }
                @if let Some(sentence) = problem { span id="picture-problem" class="alert" { (sentence) } }
                input id="picture" name="picture" type="file" accept="image/jpeg,image/png" required
                    aria-describedby="picture-hint picture-problem" aria-invalid=[problem.map(|_| "true")];
            }
            button { "Use this picture" }
        }
    }
}

fn fields(details: &Details, problems: &Problems) -> Markup {
    let optional = |label, name, kind, autocomplete, value| Field {
        label,
        name,
        kind,
        autocomplete,
        value,
        required: false,
        hint: "",
        problem: problems.of(name),
    };
    html! {
        (problems.field("Given name", "given", "text", "given-name", &details.given))
        (problems.field("Family name", "family", "text", "family-name", &details.family))
        (optional("Phone", "phone", "tel", "tel", &details.phone))
        p {
            label for="street" { "Street and number" }
            @if let Some(sentence) = problems.of("street") { span id="street-problem" class="alert" { (sentence) } }
            textarea id="street" name="street" rows="2" maxlength="350" autocomplete="street-address"
                aria-describedby=[problems.of("street").map(|_| "street-problem")] { (details.street) }
        }
        (optional("Postal code", "postal_code", "text", "postal-code", &details.postal_code))
        (optional("Town", "city", "text", "address-level2", &details.city))
        (optional("Country", "country", "text", "country-name", &details.country))
        p {
            label for="language" { "Language to speak with you" }
            select id="language" name="language" {
                option value="" { "not said" }
                @for (code, name) in SPOKEN { option value=(code) lang=(code) selected[code == details.language] { (name) } }
            }
        }
        p {
            label for="time_zone" { "Time zone" }
            select id="time_zone" name="time_zone" {
                option value="" { "not said" }
                @for zone in details::zones() { option selected[zone == details.time_zone] { (zone) } }
            }
        }
        fieldset {
            legend { "Mail me when" }
            @for (code, words) in MAILS {
                p {
                    label class="check" {
                        input type="checkbox" name="wanted" value=(code) checked[!details.unwanted.iter().any(|event| event == code)];
                        " " (words)
                    }
                }
            }
            p class="hint" { "What protects your account is always mailed." }
        }
    }
}

/// `POST /auth/account/details`
pub async fn submit(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let browser = &form_sent.browser;
    let session = browser.signed_in()?;
    let wanted = form_sent.all("wanted");
    let get = |name: &str| form_sent.get(name).to_owned();
    let filled = Details {
        given: get("given"),
        family: get("family"),
        phone: get("phone"),
        street: get("street"),
        postal_code: get("postal_code"),
        city: get("city"),
        country: get("country"),
        language: get("language"),
        time_zone: get("time_zone"),
        unwanted: MAILS
            .iter()
            .map(|(code, _)| *code)
            .filter(|code| !wanted.contains(code))
            .map(str::to_owned)
            .collect(),
    };
    match filled.clone().tidied() {
        Ok(details) => {
            details.save(&auth, session).await?;
            Ok(see_other(PAGE))
        }
        Err(wrong) => {
            let mut problems = Problems::default();
            wrong
                .into_iter()
                .for_each(|(field, sentence)| problems.add(field, sentence));
            let (_, has_picture) = Details::of(&auth, session).await?;
            let mut response = page(browser, &filled, has_picture, &problems);
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(response)
        }
    }
}

/// `GET /auth/account/picture`: one's own.
pub async fn picture(State(auth): State<Arc<AuthServer>>, browser: Browser) -> Result<Response> {
    let session = browser.signed_in()?;
    let Some(picture) = details::picture_of(&auth, session).await? else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let mut response = picture.bytes.into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, picture.content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// `POST /auth/account/picture`
pub async fn submit_picture(State(auth): State<Arc<AuthServer>>, mut form_sent: Uploaded) -> Result<Response> {
    let file = form_sent.take("picture");
    let browser = &form_sent.browser;
    let session = browser.signed_in()?;
    let sentence = match picture::clean(file) {
        Ok(picture) => {
            details::save_picture(&auth, session, Some(&picture)).await?;
            return Ok(see_other(PAGE));
        }
        Err(Refused::TooLong) => "This file is larger than 2 MB.",
        Err(Refused::TooWide) => "This picture has more than 6000 pixels in a row.",
        Err(Refused::NotAPicture) => "This is no JPEG or PNG picture.",
    };
    let (details, has_picture) = Details::of(&auth, session).await?;
    let mut response = page(browser, &details, has_picture, &Problems::one("picture", sentence));
    *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    Ok(response)
}

/// `POST /auth/account/picture/remove`
pub async fn remove_picture(State(auth): State<Arc<AuthServer>>, form_sent: Submitted) -> Result<Response> {
    let session = form_sent.browser.signed_in()?;
    details::save_picture(&auth, session, None).await?;
    Ok(see_other(PAGE))
}
