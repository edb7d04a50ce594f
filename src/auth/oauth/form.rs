//! The form that a client sends. A parameter that comes twice is refused, since which one counts would be anybody's guess.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header;

use super::error::OAuthError;

/// Longest form, in bytes: an assertion has one or two thousand.
const LONGEST: usize = 32 * 1024;

/// A form, each name at most once. Empty values count as absent (<https://www.rfc-editor.org/rfc/rfc6749#section-3.2>).
#[derive(Debug, Default)]
pub struct OAuthForm(Vec<(String, String)>);

impl OAuthForm {
    pub fn parse(body: &[u8]) -> Result<OAuthForm, OAuthError> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(body).into_owned() {
            if fields.iter().any(|(seen, _)| *seen == name) {
                return Err(OAuthError::InvalidRequest("A parameter comes twice.".to_owned()));
            }
            fields.push((name, value));
        }
        fields.retain(|(_, value)| !value.is_empty());
        Ok(OAuthForm(fields))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// # Errors
    /// `invalid_request` when it is not there.
    pub fn require(&self, name: &str) -> Result<&str, OAuthError> {
        let missing = || OAuthError::InvalidRequest(format!("The parameter {name} is missing."));
        self.get(name).ok_or_else(missing)
    }
}

impl<S: Sync> FromRequest<S> for OAuthForm {
    type Rejection = OAuthError;

    async fn from_request(request: Request<Body>, _: &S) -> Result<OAuthForm, OAuthError> {
        let content_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let media_type = content_type
            .and_then(|value| value.split(';').next())
            .unwrap_or_default();
        if !media_type
            .trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        {
            return Err(OAuthError::NotAForm);
        }
        let body = to_bytes(request.into_body(), LONGEST).await;
        OAuthForm::parse(&body.map_err(|_| OAuthError::InvalidRequest("The form is too long.".to_owned()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_comes_once_and_an_empty_one_not_at_all() {
        let form = OAuthForm::parse(b"a=1&b=&c=x%20y").unwrap();
        assert_eq!(
            (form.get("a"), form.get("b"), form.get("c")),
            (Some("1"), None, Some("x y"))
        );
        assert!(form.require("b").is_err());
        for repeated in ["a=1&a=1", "a=&a=1", "%61=1&a=2"] {
            assert!(OAuthForm::parse(repeated.as_bytes()).is_err(), "{repeated}");
        }
    }
}
