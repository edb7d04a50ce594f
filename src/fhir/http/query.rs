//! The query of a URL or of a form, decoded, and what it says to every interaction.

use percent_encoding::percent_decode;

use crate::fhir::error::{FhirError, Result, excerpt};
use crate::fhir::summary::Projection;

/// Parameters that say how to answer and not what to find: they are no part of search criteria
/// (<https://hl7.org/fhir/R4/http.html#parameters>).
const PRESENTATION: [&str; 4] = ["_format", "_pretty", "_summary", "_elements"];

/// Names and values in the order in which they came, without percent-encoding.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    /// Reads `a=1&b=2`; `+` is a space.
    ///
    /// # Errors
    /// 400 for what is not UTF-8 when decoded, and for NUL, which nothing stored can contain.
    pub fn parse(raw: &str) -> Result<Query> {
        let parts = raw.split('&').filter(|part| !part.is_empty());
        parts
            .map(|part| {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                Ok((decode(name)?, decode(value)?))
            })
            .collect::<Result<_>>()
            .map(Query)
    }

    /// A path with this query behind it, encoded.
    pub fn behind(&self, path: String) -> String {
        if self.0.is_empty() {
            return path;
        }
        let mut text = path;
        text.push('?');
        let start = text.len();
        form_urlencoded::Serializer::for_suffix(text, start)
            .extend_pairs(&self.0)
            .finish()
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The part of each resource that is asked for.
    pub fn projection(&self) -> Result<Projection> {
        if self.0.is_empty() {
            return Ok(Projection::Whole);
        }
        Projection::from_parameters(self.get("_summary"), self.get("_elements"))
    }

    /// Drops `_format` and `_pretty`, which have done their work before an interaction starts.
    pub fn without_format(mut self) -> Query {
        self.0.retain(|(name, _)| name != "_format" && name != "_pretty");
        self
    }

    /// Refuses parameters that an interaction would silently ignore, other than those in `known`.
    pub fn allow_only(&self, known: &[&str]) -> Result<()> {
        let is_known = |name: &str| PRESENTATION.contains(&name) || known.contains(&name);
        match self.0.iter().find(|(name, _)| !is_known(name)) {
            None => Ok(()),
            Some((name, _)) => {
                let text = format!("The parameter '{}' means nothing here.", excerpt(name));
                Err(FhirError::not_supported(text).at(format!("http.{}", excerpt(name))))
            }
        }
    }
}

/// The search criteria in the raw query of a conditional interaction, still encoded.
pub fn criteria(raw: &str) -> String {
    let is_criterion = |part: &&str| {
        let name = part.split_once('=').map_or(*part, |(name, _)| name);
        !part.is_empty() && !PRESENTATION.contains(&name)
    };
    raw.split('&').filter(is_criterion).collect::<Vec<_>>().join("&")
}

fn decode(text: &str) -> Result<String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode(spaced.as_bytes()).decode_utf8();
    let decoded = decoded.map_err(|_| FhirError::bad_request("The query of the URL is not UTF-8 when decoded."))?;
    if decoded.contains('\0') {
        return Err(FhirError::bad_request("The query of the URL contains NUL."));
    }
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_in_order() {
        let query = Query::parse("name=J%C3%B6rg+M&&a&name=b%3Dc=d").unwrap();
        let pairs: Vec<_> = query
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(pairs, [("name", "Jörg M"), ("a", ""), ("name", "b=c=d")]);
    }

    #[test]
    fn a_query_stands_behind_a_path() {
        let query = Query::parse("name=J%C3%B6rg+M&a=1,2").unwrap();
        assert_eq!(query.behind("Patient".to_owned()), "Patient?name=J%C3%B6rg+M&a=1%2C2");
        assert_eq!(Query::default().behind("Patient".to_owned()), "Patient");
    }

    #[test]
    fn what_cannot_be_text_is_refused() {
        for raw in ["a=%FF", "a=%00", "%C3=1"] {
            assert_eq!(Query::parse(raw).unwrap_err().status, 400, "{raw}");
        }
    }

    #[test]
    fn criteria_leave_presentation_out() {
        assert_eq!(
            criteria("_format=json&identifier=a%7Cb&_pretty=true&&active"),
            "identifier=a%7Cb&active"
        );
        assert_eq!(criteria("_summary=true"), "");
    }
}
