//! The API: who may ask, requests that are sent twice, and which address does what.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use medconsult::base::crypto::equal;
use serde_json::Value;

use crate::answer::{Fault, PAGING, page};
use crate::form::Form;
use crate::shop::{Desk, EVENTS, INTENTS, Kept, Kind, PRICES, PRODUCTS, REFUNDS, SESSIONS, Shop, new_id};
use crate::{catalogue, checkout, intents, refunds};

/// Longer keys are none (<https://docs.stripe.com/api/idempotent_requests>).
const LONGEST_KEY: usize = 255;

pub async fn handle(
    State(desk): State<Arc<Desk>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (mut response, replayed) = match answer(&desk, &method, &uri, &headers, &body) {
        Ok((status, body, replayed)) => ((status, Json(body)).into_response(), replayed),
        Err(fault) => (fault.into_response(), false),
    };
    let headers = response.headers_mut();
    if replayed {
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    if let Ok(id) = HeaderValue::try_from(new_id("req_")) {
        headers.insert("request-id", id);
    }
    response
}

/// Status and body, and whether it is what was answered before.
fn answer(
    desk: &Desk,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(StatusCode, Value, bool), Fault> {
    if !key_of(headers).is_some_and(|key| equal(&key, &desk.secret_key)) {
        return Err(Fault::unauthorized());
    }
    let form = match *method {
        Method::POST => Form::parse(body)?,
        _ => Form::parse(uri.query().unwrap_or_default().as_bytes())?,
    };
    let mut shop = desk.shop();
    checkout::close_what_is_over(&mut shop);
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let key = key.filter(|_| *method == Method::POST);
    if key.is_some_and(|key| key.is_empty() || key.len() > LONGEST_KEY) {
        return Err(Fault::invalid("An idempotency key has 1 to 255 characters.", None));
    }
    let request = format!("{} {}", uri.path(), form.fingerprint());
    if let Some(kept) = key.and_then(|key| shop.kept.get(key)) {
        return match kept.request == request {
            true => Ok((kept.status, kept.body.clone(), true)),
            false => Err(Fault::idempotency()),
        };
    }
    let (status, body) = match route(&mut shop, method, uri.path(), &form) {
        Ok(body) => (StatusCode::OK, body),
        // What was never begun may be sent again, put right.
        Err(fault) if fault.status == StatusCode::BAD_REQUEST => return Err(fault),
        Err(fault) => (fault.status, fault.body()),
    };
    if let Some(key) = key {
        let kept = Kept {
            request,
            status,
            body: body.clone(),
        };
        shop.kept.insert(key.to_owned(), kept);
    }
    Ok((status, body, false))
}

/// The key that a request brings: as a bearer, or as the name in basic authentication.
fn key_of(headers: &HeaderMap) -> Option<String> {
    let (scheme, value) = headers.get("authorization")?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.to_owned());
    }
    let login = STANDARD
        .decode(value)
        .ok()
        .filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let login = String::from_utf8(login).ok()?;
    Some(login.split(':').next().unwrap_or_default().to_owned())
}

fn route(shop: &mut Shop, method: &Method, path: &str, form: &Form) -> Result<Value, Fault> {
    let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    match (method.as_str(), parts.as_slice()) {
        ("POST", ["checkout", "sessions"]) => checkout::create(shop, form),
        ("GET", ["checkout", "sessions"]) => list(shop, SESSIONS, form, &["payment_intent", "status"]),
        ("GET", ["checkout", "sessions", id]) => retrieve(shop, SESSIONS, id, form),
        ("POST", ["checkout", "sessions", id, "expire"]) => checkout::expire(shop, id),
        ("GET", ["checkout", "sessions", id, "line_items"]) => checkout::line_items(shop, id, form),
        ("POST", ["payment_intents"]) => intents::create(shop, form),
        ("GET", ["payment_intents"]) => list(shop, INTENTS, form, &["customer"]),
        ("GET", ["payment_intents", id]) => retrieve(shop, INTENTS, id, form),
        ("POST", ["payment_intents", id, "confirm"]) => intents::confirm(shop, id, form),
        ("POST", ["payment_intents", id, "cancel"]) => intents::cancel(shop, id, form),
        ("POST", ["refunds"]) => refunds::create(shop, form),
        ("GET", ["refunds"]) => list(shop, REFUNDS, form, &["payment_intent", "charge"]),
        ("GET", ["refunds", id]) => retrieve(shop, REFUNDS, id, form),
        ("POST", ["products"]) => catalogue::create_product(shop, form),
        ("GET", ["products"]) => list(shop, PRODUCTS, form, &["active"]),
        ("GET", ["products", id]) => retrieve(shop, PRODUCTS, id, form),
        ("POST", ["products", id]) => catalogue::update(shop, PRODUCTS, id, form),
        ("POST", ["prices"]) => catalogue::create_price(shop, form),
        ("GET", ["prices"]) => list(shop, PRICES, form, &["active", "product", "currency"]),
        ("GET", ["prices", id]) => retrieve(shop, PRICES, id, form),
        ("POST", ["prices", id]) => catalogue::update(shop, PRICES, id, form),
        ("GET", ["events"]) => list(shop, EVENTS, form, &["type"]),
        ("GET", ["events", id]) => retrieve(shop, EVENTS, id, form),
        (method, _) => Err(Fault::no_address(method, path)),
    }
}

fn retrieve(shop: &Shop, kind: Kind, id: &str, form: &Form) -> Result<Value, Fault> {
    form.only(&[])?;
    shop.get(kind, id).cloned()
}

/// A page of what has the values that the form asks for.
fn list(shop: &Shop, kind: Kind, form: &Form, filters: &[&str]) -> Result<Value, Fault> {
    form.only(&[filters, &PAGING].concat())?;
    let matches = |object: &&Value| {
        filters.iter().all(|name| match (form.text(name), &object[*name]) {
            (None, _) => true,
            (Some(wanted), Value::String(text)) => wanted == text,
            (Some(wanted), Value::Bool(is_so)) => wanted == if *is_so { "true" } else { "false" },
            (Some(_), _) => false,
        })
    };
    page(form, kind.url, shop.all(kind).iter().filter(matches))
}
