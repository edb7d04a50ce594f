//! Which client sends a request, proved in the one way that it was registered with.
//!
//! | registered | sends |
//! |---|---|
//! | with keys | an [`assertion`](super::assertion), and nothing else |
//! | with a secret | `Authorization: Basic`, or `client_secret` in the form; not both |
//! | public | its `client_id` |

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

use super::assertion;
use super::error::OAuthError;
use super::form::OAuthForm;
use crate::auth::AuthServer;
use crate::auth::clients::{Client, Proof};
use crate::base::crypto;
use crate::base::limits::Counted;

/// The client that sent this request.
///
/// # Errors
/// `invalid_client` when it proves nothing, the wrong thing, or in two ways at once; `invalid_request` when it names nobody.
pub async fn authenticate(auth: &AuthServer, headers: &HeaderMap, form: &OAuthForm) -> Result<Client, OAuthError> {
    let basic = basic(headers)?;
    let secret = form.get("client_secret");
    let assertion = form.get("client_assertion").or(form.get("client_assertion_type"));
    if [basic.is_some(), secret.is_some(), assertion.is_some()]
        .into_iter()
        .filter(|way| *way)
        .count()
        > 1
    {
        return Err(OAuthError::InvalidClient);
    }
    if assertion.is_some() {
        return assertion::authenticate(auth, form).await;
    }
    let (id, secret) = match &basic {
        Some((id, _)) if form.get("client_id").is_some_and(|named| named != id) => {
            return Err(OAuthError::InvalidClient);
        }
        Some((id, secret)) => (id.as_str(), Some(secret.as_str())),
        None => (form.require("client_id")?, secret),
    };
    // Hashed before it is known whether there is anything to compare with.
    let secret = secret.map(crypto::digest);
    let client = Client::find(&auth.pool, id).await?.ok_or(OAuthError::InvalidClient)?;
    let proved = match (&client.proof, secret) {
        (Proof::Public, None) => true,
        (Proof::Secret(hash), Some(secret)) => crypto::same_digest(&secret, hash),
        _ => false,
    };
    proved.then_some(client).ok_or(OAuthError::InvalidClient)
}

/// Whether the request says in no way which client sends it.
pub fn names_nobody(headers: &HeaderMap, form: &OAuthForm) -> bool {
    let named = [
        "client_id",
        "client_secret",
        "client_assertion",
        "client_assertion_type",
    ];
    !headers.contains_key(header::AUTHORIZATION) && named.iter().all(|name| form.get(name).is_none())
}

/// The same, of a client that wants a token. How many it gets is counted, unless anybody can say that they are this client:
/// then strangers could use up what it may have.
///
/// # Errors
/// Those of [`authenticate`], and `temporarily_unavailable` to a client that had too many.
pub async fn authenticate_for_token(
    auth: &AuthServer,
    headers: &HeaderMap,
    form: &OAuthForm,
) -> Result<Client, OAuthError> {
    let client = authenticate(auth, headers, form).await?;
    if !matches!(client.proof, Proof::Public) {
        let counted = auth.limits.count(Counted::TokensByClient, &client.id).await;
        counted.map_err(|exceeded| OAuthError::TooManyRequests(exceeded.retry_after))?;
    }
    Ok(client)
}

/// Id and secret of the header, each of which is percent-encoded (<https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1>).
fn basic(headers: &HeaderMap) -> Result<Option<(String, String)>, OAuthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let decoded = value.to_str().ok().and_then(|value| {
        let (scheme, encoded) = value.split_once(' ')?;
        let decoded = STANDARD
            .decode(encoded.trim())
            .ok()
            .filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let decoded = String::from_utf8(decoded).ok()?;
        let (id, secret) = decoded.split_once(':')?;
        let plain = |text: &str| {
            percent_decode_str(&text.replace('+', " "))
                .decode_utf8()
                .ok()
                .map(|text| text.into_owned())
        };
        plain(id).zip(plain(secret))
    });
    match decoded.filter(|_| values.next().is_none()) {
        Some(decoded) => Ok(Some(decoded)),
        None => Err(OAuthError::InvalidClient),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic_of(values: &[&str]) -> Result<Option<(String, String)>, OAuthError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        basic(&headers)
    }

    #[test]
    fn the_header_holds_id_and_secret() {
        let pair = |id: &str, secret: &str| Ok(Some((id.to_owned(), secret.to_owned())));
        assert_eq!(basic_of(&[]), Ok(None));
        assert_eq!(
            basic_of(&[&format!("Basic {}", STANDARD.encode("app:a:b"))]),
            pair("app", "a:b")
        );
        assert_eq!(
            basic_of(&[&format!("basic {}", STANDARD.encode("my+app:100%25"))]),
            pair("my app", "100%")
        );
        let good = format!("Basic {}", STANDARD.encode("app:x"));
        for wrong in [
            "Basic",
            "Basic x",
            "Bearer abc",
            &format!("Basic {}", STANDARD.encode("app")),
        ] {
            assert_eq!(basic_of(&[wrong]), Err(OAuthError::InvalidClient), "{wrong}");
        }
        assert_eq!(basic_of(&[&good, &good]), Err(OAuthError::InvalidClient));
    }
}
