//! Which format the client speaks: `Accept` and `_format`, `Content-Type`, and FHIR's version parameter
//! (<https://hl7.org/fhir/R4/http.html#mime-type>, <https://hl7.org/fhir/R4/http.html#version-parameter>).
//!
//! The server speaks JSON. `_format` overrides `Accept`; both may name `application/fhir+json`, `application/json` or
//! `text/json`, and `_format` just `json`. Anything else is 406, and as the type of a body 415.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::fhir::error::{FhirError, Result, excerpt};

/// Media types of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyType {
    /// `application/fhir+json`, `application/json`, `text/json`
    Fhir,
    /// `application/json-patch+json`
    JsonPatch,
    /// `application/merge-patch+json`
    MergePatch,
    /// `application/x-www-form-urlencoded`
    Form,
    /// Anything else, which only a Binary can be.
    Other,
}

/// Checks that the client takes JSON.
///
/// # Errors
/// 406 when it takes none of our formats, or FHIR in another version than 4.0.
pub fn check_accept(headers: &HeaderMap, format: Option<&str>) -> Result<()> {
    if let Some(format) = format {
        // An unencoded plus sign in a URL arrives as a space.
        let format = format.replace(' ', "+");
        return if accepts_json(&format) || format.split(';').next() == Some("json") {
            Ok(())
        } else {
            Err(not_acceptable(&format).at("http._format"))
        };
    }
    let accepts: Vec<&str> = values(headers, &header::ACCEPT).collect();
    if accepts.is_empty() || accepts.iter().any(|accept| accept.split(',').any(accepts_json)) {
        return Ok(());
    }
    Err(not_acceptable(&accepts.join(", ")).at("http.Accept"))
}

/// Whether the client asks for a Binary as a FHIR resource rather than for its content: it says so by name, since `*/*`
/// is what any client sends (<https://hl7.org/fhir/R4/binary.html#rest>).
pub fn wants_resource(headers: &HeaderMap, format: Option<&str>) -> bool {
    let names_fhir = |range: &str| {
        let media_type = media_type(range);
        matches!(
            media_type.as_str(),
            "application/fhir+json" | "application/json" | "text/json" | "json"
        )
    };
    match format {
        Some(format) => names_fhir(&format.replace(' ', "+")),
        None => values(headers, &header::ACCEPT)
            .flat_map(|accept| accept.split(','))
            .any(names_fhir),
    }
}

/// The values of a header that are text.
fn values<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
}

fn not_acceptable(asked: &str) -> FhirError {
    FhirError::not_acceptable(format!(
        "'{}' cannot be served; this server writes application/fhir+json of FHIR version 4.0.",
        excerpt(asked)
    ))
}

/// Whether one media range of an Accept header lets JSON of R4 through.
fn accepts_json(range: &str) -> bool {
    let names_json = matches!(
        media_type(range).as_str(),
        "*/*" | "application/*" | "application/fhir+json" | "application/json" | "text/json"
    );
    names_json
        && parameters(range).all(|(name, value)| match name.as_str() {
            "fhirversion" => is_r4(value),
            "q" => value.parse::<f32>().is_ok_and(|quality| quality > 0.0),
            _ => true,
        })
}

fn is_r4(version: &str) -> bool {
    version == "4.0" || version == "4.0.1"
}

/// The media type of a body.
///
/// # Errors
/// 415 when there is none, when its charset is not UTF-8, when it is FHIR of another version, or when the body is
/// compressed, which the server does not take.
pub fn body_type(headers: &HeaderMap) -> Result<BodyType> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        let text = "Compressed bodies are not accepted: send the body as it is.";
        return Err(FhirError::unsupported_media_type(text).at("http.Content-Encoding"));
    }
    let text = headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::to_str)
        .and_then(|text| text.ok())
        .ok_or_else(|| {
            FhirError::unsupported_media_type("The request needs a Content-Type, such as application/fhir+json.")
                .at("http.Content-Type")
        })?;
    let body_type = match media_type(text).as_str() {
        "application/fhir+json" | "application/json" | "text/json" => BodyType::Fhir,
        "application/json-patch+json" => BodyType::JsonPatch,
        "application/merge-patch+json" => BodyType::MergePatch,
        "application/x-www-form-urlencoded" => BodyType::Form,
        _ => return Ok(BodyType::Other),
    };
    for (name, value) in parameters(text) {
        let fits = match name.as_str() {
            "charset" => value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8"),
            "fhirversion" => is_r4(value),
            _ => true,
        };
        if !fits {
            let text = format!("{name}={} is not accepted: send FHIR 4.0 in UTF-8.", excerpt(value));
            return Err(FhirError::unsupported_media_type(text).at("http.Content-Type"));
        }
    }
    Ok(body_type)
}

/// The refusal of a body that has a type other than those named.
pub fn unsupported(headers: &HeaderMap, accepted: &str) -> FhirError {
    let sent = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let text = format!("The body has the Content-Type '{}'; send {accepted}.", excerpt(sent));
    FhirError::unsupported_media_type(text).at("http.Content-Type")
}

fn media_type(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Parameters of a media type: names in lower case, values without quotes.
fn parameters(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.split(';').skip(1).filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().trim_matches('"')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn accept_is_json_of_r4_or_anything() {
        for (accept, fits) in [
            ("*/*", true),
            ("application/fhir+json", true),
            ("application/fhir+json; fhirVersion=4.0", true),
            ("application/fhir+json; fhirVersion=5.0", false),
            ("application/json", true),
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("application/fhir+xml", false),
            ("application/fhir+xml, application/fhir+json;q=0.5", true),
            ("application/fhir+json;q=0", false),
            ("text/turtle", false),
        ] {
            let outcome = check_accept(&headers(header::ACCEPT, accept), None);
            assert_eq!(outcome.is_ok(), fits, "{accept}");
            assert!(fits || outcome.unwrap_err().status == 406);
        }
    }

    #[test]
    fn format_overrides_accept() {
        let xml = headers(header::ACCEPT, "application/fhir+xml");
        for (format, fits) in [
            ("json", true),
            ("application/fhir json", true),
            ("application/fhir+json;fhirVersion=4.0", true),
            ("text/json", true),
            ("xml", false),
            ("html", false),
            ("ttl", false),
        ] {
            assert_eq!(check_accept(&xml, Some(format)).is_ok(), fits, "{format}");
        }
    }

    #[test]
    fn a_body_says_what_it_is() {
        for (content_type, expected) in [
            ("application/fhir+json", Some(BodyType::Fhir)),
            (
                "application/fhir+json; charset=UTF-8; fhirVersion=4.0",
                Some(BodyType::Fhir),
            ),
            ("Application/JSON", Some(BodyType::Fhir)),
            ("application/fhir+json; fhirVersion=3.0", None),
            ("application/json; charset=latin1", None),
            ("application/json-patch+json", Some(BodyType::JsonPatch)),
            ("application/merge-patch+json", Some(BodyType::MergePatch)),
            ("application/fhir+xml", Some(BodyType::Other)),
        ] {
            let outcome = body_type(&headers(header::CONTENT_TYPE, content_type));
            assert_eq!(outcome.as_ref().ok().copied(), expected, "{content_type}");
            assert!(expected.is_some() || outcome.unwrap_err().status == 415);
        }
        assert_eq!(body_type(&HeaderMap::new()).unwrap_err().status, 415);
        assert_eq!(
            body_type(&headers(header::CONTENT_ENCODING, "gzip"))
                .unwrap_err()
                .status,
            415
        );
    }
}
