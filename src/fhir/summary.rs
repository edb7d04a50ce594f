//! Parts of a resource: `_summary` and `_elements`
//! (<https://hl7.org/fhir/R4/search.html#summary>, <https://hl7.org/fhir/R4/search.html#elements>).
//!
//! | parameter | keeps |
//! |---|---|
//! | `_summary=true` | elements that R4 marks as summary, at every level, and mandatory ones |
//! | `_summary=text` | `text`, `id`, `meta` and mandatory elements of the resource |
//! | `_summary=data` | all but `text` |
//! | `_summary=count` | nothing: a search answers with its total alone |
//! | `_elements=a,b` | the elements named, `id`, `meta`, mandatory ones and modifiers |
//!
//! `_elements` keeps modifier elements unasked, because a reader who does not see them misunderstands the rest
//! (`Patient.active`, `status` = `entered-in-error`); the specification leaves more than what was asked for to the server.
//! What has been cut is tagged SUBSETTED, so that nobody takes it for the whole and writes it back.

use serde_json::{Map, Value, json};

use super::error::{FhirError, Result, excerpt};
use super::resource;
use crate::knowledge::definitions::{Definitions, TypeDefinition, TypeKind};

/// Which part of each resource to answer with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Projection {
    #[default]
    Whole,
    Summary,
    Text,
    Data,
    /// For a search only: the total and no resource.
    Count,
    /// Names of top-level elements, possibly with their type in front: `name`, `Patient.name`.
    Elements(Vec<String>),
}

impl Projection {
    /// From the values of the two parameters, as far as given.
    ///
    /// # Errors
    /// 400 for a value that R4 does not have and for both parameters at once, which R4 gives no meaning.
    pub fn from_parameters(summary: Option<&str>, elements: Option<&str>) -> Result<Projection> {
        let summary = match summary {
            None | Some("false") => Projection::Whole,
            Some("true") => Projection::Summary,
            Some("text") => Projection::Text,
            Some("data") => Projection::Data,
            Some("count") => Projection::Count,
            Some(other) => {
                let other = excerpt(other);
                let text = format!("_summary is true, text, data, count or false, not '{other}'.");
                return Err(FhirError::bad_value(text).at("http._summary"));
            }
        };
        let names = elements
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let names: Vec<String> = names.map(str::to_owned).collect();
        match (summary, names.is_empty()) {
            (summary, true) => Ok(summary),
            (Projection::Whole, false) => Ok(Projection::Elements(names)),
            (_, false) => {
                Err(FhirError::bad_request("Use either _summary or _elements, not both.").at("http._elements"))
            }
        }
    }

    /// The parameter that asks for it, for a link.
    pub fn pair(&self) -> Option<(&'static str, String)> {
        let summary = |value: &str| Some(("_summary", value.to_owned()));
        match self {
            Projection::Whole => None,
            Projection::Summary => summary("true"),
            Projection::Text => summary("text"),
            Projection::Data => summary("data"),
            Projection::Count => summary("count"),
            Projection::Elements(names) => Some(("_elements", names.join(","))),
        }
    }

    /// Whether resources are answered as they are stored, so that their text need not be read.
    pub fn is_whole(&self) -> bool {
        matches!(self, Projection::Whole)
    }

    /// The part of the stored `json` that this asks for, as JSON text.
    pub fn apply_to_text(&self, json: &str, definitions: &Definitions) -> Result<String> {
        if self.is_whole() {
            return Ok(json.to_owned());
        }
        let whole: Value =
            serde_json::from_str(json).map_err(|_| FhirError::internal("a stored resource is not JSON"))?;
        Ok(resource::to_json(&self.apply(whole, definitions)))
    }

    /// The part of `resource` that this asks for, tagged SUBSETTED when it is not all.
    pub fn apply(&self, resource: Value, definitions: &Definitions) -> Value {
        let Value::Object(mut members) = resource else {
            return resource;
        };
        let name = members.get("resourceType").and_then(Value::as_str).unwrap_or_default();
        let Some(ty) = definitions.resource_type(name) else {
            return Value::Object(members);
        };
        match self {
            Projection::Whole | Projection::Count => return Value::Object(members),
            Projection::Summary => summarise(&mut members, ty, definitions),
            Projection::Text => members.retain(|name, _| name == "text" || is_mandatory(ty, name)),
            Projection::Data => members.retain(|name, _| name != "text"),
            Projection::Elements(wanted) => members.retain(|name, _| {
                let plain = plain(name);
                let element = ty.property(plain).map(|(element, _)| element);
                is_mandatory(ty, name)
                    || element.is_some_and(|element| element.is_modifier)
                    || wanted.iter().any(|wanted| {
                        let wanted = wanted
                            .strip_prefix(&ty.name)
                            .and_then(|rest| rest.strip_prefix('.'))
                            .unwrap_or(wanted);
                        wanted == plain || element.is_some_and(|element| element.name == wanted)
                    })
            }),
        }
        tag_subsetted(&mut members);
        Value::Object(members)
    }
}

/// The name of an element whose JSON property may be that of its extensions.
fn plain(property: &str) -> &str {
    property.strip_prefix('_').unwrap_or(property)
}

/// Whether a resource is never answered without this property. `meta` carries the tag that says what was done.
fn is_mandatory(ty: &TypeDefinition, property: &str) -> bool {
    matches!(property, "resourceType" | "id" | "meta")
        || ty.property(plain(property)).is_some_and(|(element, _)| element.min > 0)
}

/// Keeps summary elements and mandatory ones, at every level. What the element model does not know is left out.
fn summarise(members: &mut Map<String, Value>, ty: &TypeDefinition, definitions: &Definitions) {
    members.retain(|name, value| {
        if matches!(name.as_str(), "resourceType" | "id" | "meta") {
            return true;
        }
        let Some((element, element_type)) = ty.property(plain(name)) else {
            return false;
        };
        if !element.is_summary && element.min == 0 {
            return false;
        }
        let child = definitions.get(element_type.type_id);
        // The extensions of a kept primitive stay: one of them may say why its value is absent.
        if child.kind != TypeKind::Primitive {
            summarise_value(value, child, definitions);
        }
        true
    });
}

fn summarise_value(value: &mut Value, ty: &TypeDefinition, definitions: &Definitions) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| summarise_value(item, ty, definitions)),
        Value::Object(members) => {
            // A resource inside a resource (an entry of a Bundle) says itself which type it has.
            let inner = members.get("resourceType").and_then(Value::as_str);
            let ty = inner.and_then(|name| definitions.resource_type(name)).unwrap_or(ty);
            // An extension without its value would be malformed, so one that is kept is kept whole.
            if ty.name != "Extension" {
                summarise(members, ty, definitions);
            }
        }
        _ => {}
    }
}

/// Adds the tag SUBSETTED, once.
pub(super) fn tag_subsetted(members: &mut Map<String, Value>) {
    const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";
    let meta = members.entry("meta").or_insert_with(|| json!({}));
    let Value::Object(meta) = meta else { return };
    let tags = meta.entry("tag").or_insert_with(|| json!([]));
    let Value::Array(tags) = tags else { return };
    if !tags
        .iter()
        .any(|tag| tag["system"] == SYSTEM && tag["code"] == "SUBSETTED")
    {
        tags.push(json!({"system": SYSTEM, "code": "SUBSETTED"}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation() -> Value {
        json!({
            "resourceType": "Observation", "id": "o", "meta": {"versionId": "1"},
            "text": {"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"},
            "status": "final", "code": {"text": "weight", "extension": [{"url": "http://x", "valueCode": "y"}]},
            "valueQuantity": {"value": 1.50, "unit": "kg"}, "note": [{"text": "n"}],
            "component": [{"code": {"text": "c"}, "valueString": "v", "interpretation": [{"text": "i"}]}]
        })
    }

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    fn part(summary: Option<&str>, elements: Option<&str>) -> Value {
        Projection::from_parameters(summary, elements)
            .unwrap()
            .apply(observation(), Definitions::r4())
    }

    #[test]
    fn summary_keeps_what_is_marked_at_every_level() {
        let part = part(Some("true"), None);
        assert_eq!(
            keys(&part),
            [
                "resourceType",
                "id",
                "meta",
                "status",
                "code",
                "valueQuantity",
                "component"
            ]
        );
        assert_eq!(keys(&part["component"][0]), ["code", "valueString"]);
        assert_eq!(keys(&part["code"]), ["text"]);
        assert_eq!(part["meta"]["tag"][0]["code"], "SUBSETTED");
        assert_eq!(part["valueQuantity"].to_string(), r#"{"value":1.5,"unit":"kg"}"#);
    }

    #[test]
    fn text_and_data_are_the_two_halves() {
        assert_eq!(
            keys(&part(Some("text"), None)),
            ["resourceType", "id", "meta", "text", "status", "code"]
        );
        let data = part(Some("data"), None);
        assert!(!keys(&data).contains(&"text") && keys(&data).contains(&"note"));
    }

    #[test]
    fn elements_are_named_with_or_without_type_and_choice() {
        for names in ["value,note", "Observation.value,note", "valueQuantity, note"] {
            assert_eq!(
                keys(&part(None, Some(names))),
                ["resourceType", "id", "meta", "status", "code", "valueQuantity", "note"],
                "{names}"
            );
        }
    }

    #[test]
    fn modifiers_and_extensions_of_primitives_stay() {
        let patient = json!({"resourceType": "Patient", "active": false, "birthDate": "1970", "_birthDate": {"id": "b"}, "gender": "male"});
        let elements = Projection::from_parameters(None, Some("birthDate")).unwrap();
        let part = elements.apply(patient, Definitions::r4());
        assert_eq!(
            keys(&part),
            ["resourceType", "active", "birthDate", "_birthDate", "meta"]
        );
    }

    #[test]
    fn the_whole_is_not_touched_and_the_tag_is_not_doubled() {
        assert_eq!(part(None, None), observation());
        assert_eq!(part(Some("false"), None), observation());
        let once = part(Some("data"), None);
        assert_eq!(Projection::Data.apply(once.clone(), Definitions::r4()), once);
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(Projection::from_parameters(Some("yes"), None).unwrap_err().status, 400);
        assert_eq!(
            Projection::from_parameters(Some("true"), Some("name"))
                .unwrap_err()
                .status,
            400
        );
        assert_eq!(
            Projection::from_parameters(Some("false"), Some("name")).unwrap(),
            Projection::Elements(vec!["name".into()])
        );
    }
}
