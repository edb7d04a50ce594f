//! References inside a resource that a transaction must rewrite: <https://hl7.org/fhir/R4/http.html#trules>.
//!
//! Links are recognised by the *type* of the element, not by their text. A document's identifier, say, may well be the
//! string `urn:uuid:…` of an entry's `fullUrl` and must stay what it is.

use serde_json::Value;

use crate::knowledge::definitions::{Definitions, TypeId};

/// What sort of link a text is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkKind {
    /// `Reference.reference`: absolute, relative, a fragment or a conditional reference.
    Reference,
    /// An element of type uri, url, canonical, oid or uuid.
    Uri,
    /// `href` or `src` of a link or an image in a narrative.
    Narrative,
}

/// Answers what to put in the place of a link, or `None` to leave it.
pub type Replace<'r> = &'r mut dyn FnMut(LinkKind, &str) -> Option<String>;

/// Shows every link of `resource` to `replace`.
///
/// A Bundle inside a transaction keeps its links: they are its own.
pub fn rewrite(definitions: &'static Definitions, resource: &mut Value, replace: Replace<'_>) {
    if let Some(resource_type) = resource.get("resourceType").and_then(Value::as_str)
        && let Some(type_id) = definitions.type_id(resource_type)
    {
        walk(definitions, resource, type_id, replace);
    }
}

fn walk(definitions: &'static Definitions, value: &mut Value, type_id: TypeId, replace: Replace<'_>) {
    match value {
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| walk(definitions, item, type_id, replace)),
        Value::Object(object) => {
            let Some(definition) = (match object.get("resourceType").and_then(Value::as_str) {
                Some("Bundle") => None,
                Some(name) => definitions.type_id(name).map(|id| definitions.get(id)),
                None => Some(definitions.get(type_id)),
            }) else {
                return;
            };
            for (key, child) in object.iter_mut() {
                if key == "reference" && definition.name == "Reference" {
                    replace_text(child, |text| replace(LinkKind::Reference, text));
                } else if key.starts_with('_') {
                    // The sibling of a primitive: its extensions can hold links.
                    if let Some(element) = definitions.type_id("Element") {
                        walk(definitions, child, element, replace);
                    }
                } else if let Some((_, element_type)) = definition.property(key) {
                    walk(definitions, child, element_type.type_id, replace);
                }
            }
        }
        Value::String(_) => match definitions.get(type_id).name.as_str() {
            "uri" | "url" | "canonical" | "oid" | "uuid" => {
                replace_text(value, |text| replace(LinkKind::Uri, text));
            }
            "xhtml" => replace_text(value, |text| rewrite_narrative(text, replace)),
            _ => {}
        },
        _ => {}
    }
}

fn replace_text(value: &mut Value, replace: impl FnOnce(&str) -> Option<String>) {
    if let Value::String(text) = value
        && let Some(new) = replace(text)
    {
        *text = new;
    }
}

/// Replaces the values of `href` and `src` attributes. `None` if none changes.
fn rewrite_narrative(div: &str, replace: Replace<'_>) -> Option<String> {
    let mut result = String::new();
    let mut copied = 0;
    for (at, _) in div.match_indices(['"', '\'']) {
        let before = div[..at].trim_ascii_end();
        let Some(name) = before.strip_suffix('=').map(str::trim_ascii_end) else {
            continue;
        };
        if at < copied || !(name.ends_with("href") || name.ends_with("src")) {
            continue;
        }
        let start = at + 1;
        let Some(length) = div[start..].find(&div[at..start]) else {
            break;
        };
        if let Some(new) = replace(LinkKind::Narrative, &div[start..start + length]) {
            result.push_str(&div[copied..start]);
            result.push_str(&new);
            copied = start + length;
        }
    }
    if copied == 0 {
        return None;
    }
    result.push_str(&div[copied..]);
    Some(result)
}

/// Whether some `reference` in `value` looks like a search, `Practitioner?identifier=…`. Quick, and may be wrong in
/// favour of a closer look.
pub fn may_hold_conditional(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.iter().any(|(key, child)| match child {
            Value::String(text) => key == "reference" && text.contains('?'),
            child => may_hold_conditional(child),
        }),
        Value::Array(items) => items.iter().any(may_hold_conditional),
        _ => false,
    }
}

/// Splits a conditional reference into type and criteria; `None` for any other reference.
pub fn conditional(reference: &str) -> Option<(&str, &str)> {
    let (resource_type, criteria) = reference.split_once('?')?;
    let is_name = resource_type.starts_with(|c: char| c.is_ascii_uppercase())
        && resource_type.bytes().all(|b| b.is_ascii_alphanumeric());
    is_name.then_some((resource_type, criteria))
}

/// The base in front of `Type/id` of a RESTful absolute URL, with its slash: what relative references in an entry with
/// this `fullUrl` are relative to.
pub fn base_of(full_url: &str) -> Option<&str> {
    if !full_url.starts_with("http://") && !full_url.starts_with("https://") {
        return None;
    }
    let (front, _id) = full_url.rsplit_once('/')?;
    let (base, resource_type) = front.rsplit_once('/')?;
    let is_name = resource_type.starts_with(|c: char| c.is_ascii_uppercase());
    is_name.then_some(&full_url[..base.len() + 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rewritten(mut resource: Value) -> Value {
        rewrite(Definitions::r4(), &mut resource, &mut |_, text| {
            (text == "urn:uuid:1").then(|| "Patient/p".to_owned())
        });
        resource
    }

    #[test]
    fn rewrites_links_wherever_their_type_is_one() {
        let link = "urn:uuid:1";
        let before = json!({
            "resourceType": "Observation",
            "contained": [{"resourceType": "Practitioner", "extension": [{"url": "http://x", "valueUri": link}]}],
            "_status": {"extension": [{"url": "http://x", "valueReference": {"reference": link}}]},
            "text": {"status": "generated", "div": format!("<div><a href=\"{link}\">{link}</a><img src = '{link}'/></div>")},
            "identifier": [{"system": "urn:ietf:rfc:3986", "value": link}],
            "subject": {"reference": link, "display": link},
            "note": [{"text": link}]
        });
        let after = rewritten(before);
        assert_eq!(after["subject"], json!({"reference": "Patient/p", "display": link}));
        assert_eq!(
            after["identifier"][0]["value"], link,
            "an identifier's value is no link"
        );
        assert_eq!(after["note"][0]["text"], link);
        assert_eq!(after["contained"][0]["extension"][0]["valueUri"], "Patient/p");
        assert_eq!(
            after["_status"]["extension"][0]["valueReference"]["reference"],
            "Patient/p"
        );
        assert_eq!(
            after["text"]["div"],
            format!("<div><a href=\"Patient/p\">{link}</a><img src = 'Patient/p'/></div>")
        );
    }

    #[test]
    fn a_bundle_keeps_its_own_links() {
        let bundle = json!({"resourceType": "Bundle", "type": "document", "entry": [{"fullUrl": "urn:uuid:1"}]});
        assert_eq!(rewritten(bundle.clone()), bundle);
    }

    #[test]
    fn knows_a_conditional_reference() {
        assert_eq!(
            conditional("Practitioner?identifier=a|b"),
            Some(("Practitioner", "identifier=a|b"))
        );
        assert_eq!(conditional("http://example.org/Practitioner?x=y"), None);
        assert_eq!(conditional("Practitioner/1"), None);
        assert!(may_hold_conditional(&json!({"a": [{"reference": "Patient?x=y"}]})));
        assert!(!may_hold_conditional(
            &json!({"a": [{"reference": "Patient/1"}], "url": "http://x?y"})
        ));
    }

    #[test]
    fn knows_the_base_of_a_full_url() {
        assert_eq!(
            base_of("http://example.org/fhir/Patient/1"),
            Some("http://example.org/fhir/")
        );
        assert_eq!(base_of("urn:uuid:1"), None);
        assert_eq!(base_of("http://example.org/other/thing"), None);
    }
}
