//! Errors as Stripe has them (<https://docs.stripe.com/api/errors>), and lists
//! (<https://docs.stripe.com/api/pagination>).

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::form::Form;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub status: StatusCode,
    /// The object `error`.
    pub error: Value,
}

impl Fault {
    fn new(status: StatusCode, kind: &str, message: &str) -> Fault {
        Fault {
            status,
            error: json!({"type": kind, "message": message}),
        }
    }

    /// 400: the request is wrong.
    pub fn invalid(message: &str, param: Option<&str>) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, "invalid_request_error", message).with("param", param.map(Value::from))
    }

    /// 401: not with this key.
    pub fn unauthorized() -> Fault {
        Fault::new(
            StatusCode::UNAUTHORIZED,
            "invalid_request_error",
            "Invalid API Key provided.",
        )
    }

    /// 404: there is no such object.
    pub fn missing(what: &str, id: &str) -> Fault {
        let message = format!("No such {what}: '{id}'");
        Fault::new(StatusCode::NOT_FOUND, "invalid_request_error", &message)
            .with_code("resource_missing")
            .with("param", Some(json!("id")))
    }

    /// 404: there is no such address.
    pub fn no_address(method: &str, path: &str) -> Fault {
        let message = format!("Unrecognized request URL ({method}: {path}).");
        Fault::new(StatusCode::NOT_FOUND, "invalid_request_error", &message)
    }

    /// 400: a key was used before, for something else.
    pub fn idempotency() -> Fault {
        let message =
            "Keys for idempotent requests can only be used with the same parameters they were first used with.";
        Fault::new(StatusCode::BAD_REQUEST, "idempotency_error", message)
    }

    /// 402: the card was refused.
    pub fn card(code: &str, decline_code: Option<&str>, message: &str) -> Fault {
        Fault::new(StatusCode::PAYMENT_REQUIRED, "card_error", message)
            .with_code(code)
            .with("decline_code", decline_code.map(Value::from))
    }

    pub fn with_code(self, code: &str) -> Fault {
        self.with("code", Some(json!(code)))
    }

    pub fn with(mut self, name: &str, value: Option<Value>) -> Fault {
        if let Some(value) = value {
            self.error[name] = value;
        }
        self
    }

    pub fn body(&self) -> Value {
        json!({"error": self.error})
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        (self.status, Json(self.body())).into_response()
    }
}

/// The names that every list takes.
pub const PAGING: [&str; 3] = ["limit", "starting_after", "ending_before"];

/// A page of `all`, which are in the order of their making: the newest first.
pub fn page<'o>(form: &Form, url: &str, all: impl DoubleEndedIterator<Item = &'o Value>) -> Result<Value, Fault> {
    let limit = form.number("limit")?.unwrap_or(10);
    if !(1..=100).contains(&limit) {
        return Err(Fault::invalid("This value must be between 1 and 100.", Some("limit")));
    }
    let mut rest: Vec<&Value> = all.rev().collect();
    for (name, keeps_what_follows) in [("starting_after", true), ("ending_before", false)] {
        if let Some(id) = form.text(name) {
            let at = rest.iter().position(|object| object["id"] == id);
            let at = at.ok_or_else(|| Fault::missing("object", id))?;
            match keeps_what_follows {
                true => drop(rest.drain(..=at)),
                false => rest.truncate(at),
            }
        }
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let data: Vec<&Value> = rest.iter().take(limit).copied().collect();
    Ok(json!({"object": "list", "url": url, "has_more": rest.len() > limit, "data": data}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_comes_first_a_page_at_a_time() {
        let all: Vec<Value> = (1..=5).map(|id| json!({"id": format!("x_{id}")})).collect();
        let ids = |query: &str| {
            let page = page(&Form::parse(query.as_bytes()).unwrap(), "/v1/x", all.iter()).unwrap();
            let data = page["data"].as_array().unwrap();
            let ids: Vec<&str> = data.iter().map(|object| object["id"].as_str().unwrap()).collect();
            (ids.join(" "), page["has_more"] == true)
        };
        assert_eq!(ids(""), ("x_5 x_4 x_3 x_2 x_1".to_owned(), false));
        assert_eq!(ids("limit=2"), ("x_5 x_4".to_owned(), true));
        assert_eq!(ids("limit=2&starting_after=x_4"), ("x_3 x_2".to_owned(), true));
        assert_eq!(ids("ending_before=x_4"), ("x_5".to_owned(), false));
        let wrong = Form::parse(b"limit=0").unwrap();
        assert_eq!(page(&wrong, "/v1/x", all.iter()).unwrap_err().status, 400);
    }
}
