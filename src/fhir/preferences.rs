//! The `Prefer` header: what a client would like to get back, and how strict the server should be
//! (<https://hl7.org/fhir/R4/http.html#return>, <https://hl7.org/fhir/R4/search.html#errors>).
//!
//! A preference is a wish: one that the server does not know (`respond-async`) is passed over, as RFC 7240 says.

use axum::http::HeaderMap;

/// What a write answers with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Returned {
    /// Headers alone.
    Minimal,
    /// The resource as it was stored.
    #[default]
    Representation,
    /// What the server has to say about it.
    OperationOutcome,
}

/// What becomes of a search parameter that the server does not know or support.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Handling {
    /// The search is refused.
    Strict,
    /// The parameter is ignored, and the answer says so.
    #[default]
    Lenient,
}

/// The wishes of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Preferences {
    pub returned: Returned,
    pub handling: Handling,
}

impl Preferences {
    /// Reads every `Prefer` header. Names are case-insensitive, as in RFC 7240; of two contradicting wishes the first one
    /// counts.
    pub fn from_headers(headers: &HeaderMap) -> Preferences {
        let mut returned = None;
        let mut handling = None;
        let values = headers
            .get_all("prefer")
            .into_iter()
            .filter_map(|value| value.to_str().ok());
        for wish in values.flat_map(|value| value.split([',', ';'])) {
            let (name, value) = wish.split_once('=').unwrap_or((wish, ""));
            let value = value.trim().trim_matches('"').to_ascii_lowercase();
            match (name.trim().to_ascii_lowercase().as_str(), value.as_str()) {
                ("return", "minimal") => returned = returned.or(Some(Returned::Minimal)),
                ("return", "representation") => returned = returned.or(Some(Returned::Representation)),
                ("return", "operationoutcome") => returned = returned.or(Some(Returned::OperationOutcome)),
                ("handling", "strict") => handling = handling.or(Some(Handling::Strict)),
                ("handling", "lenient") => handling = handling.or(Some(Handling::Lenient)),
                _ => {}
            }
        }
        Preferences {
            returned: returned.unwrap_or_default(),
            handling: handling.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&'static str]) -> Preferences {
        let mut headers = HeaderMap::new();
        values.iter().for_each(|value| {
            headers.append("prefer", value.parse().unwrap());
        });
        Preferences::from_headers(&headers)
    }

    #[test]
    fn wishes_are_read_from_one_header_or_several() {
        let both = Preferences {
            returned: Returned::Minimal,
            handling: Handling::Strict,
        };
        assert_eq!(read(&["return=minimal; handling=strict"]), both);
        assert_eq!(read(&["handling=strict", "respond-async, Return=\"minimal\""]), both);
        assert_eq!(read(&["return=OperationOutcome"]).returned, Returned::OperationOutcome);
        assert_eq!(
            read(&["return=minimal, return=representation"]).returned,
            Returned::Minimal
        );
    }

    #[test]
    fn nothing_asked_and_nonsense_give_the_defaults() {
        assert_eq!(read(&[]), Preferences::default());
        assert_eq!(read(&["return=everything; handling"]), Preferences::default());
    }
}
