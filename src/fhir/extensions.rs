//! Extensions (<https://hl7.org/fhir/R4/extensibility.html>), read from and written into JSON.

use serde_json::{Map, Value};

/// The first extension of that URL on an element or a resource.
pub fn find<'v>(element: &'v Value, url: &str) -> Option<&'v Value> {
    all(element, url).next()
}

/// Every extension of that URL on an element, a resource or, as its parts, a complex extension.
pub fn all<'v>(element: &'v Value, url: &str) -> impl Iterator<Item = &'v Value> {
    let extensions = element["extension"].as_array().into_iter().flatten();
    extensions.filter(move |extension| extension["url"] == url)
}

/// Puts `extension` in the place of those with its URL.
pub fn set(element: &mut Value, extension: Value) {
    let url = extension["url"].as_str().unwrap_or_default().to_owned();
    remove(element, &url);
    if let Value::Object(members) = element {
        let list = members.entry("extension").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(extension);
        }
    }
}

/// Takes out every extension of that URL, and the list with the last one: FHIR knows no empty lists.
pub fn remove(element: &mut Value, url: &str) {
    let Some(members) = element.as_object_mut() else { return };
    if let Some(Value::Array(list)) = members.get_mut("extension") {
        list.retain(|extension| extension["url"] != url);
    }
    drop_if_empty(members);
}

fn drop_if_empty(members: &mut Map<String, Value>) {
    if members
        .get("extension")
        .and_then(Value::as_array)
        .is_some_and(Vec::is_empty)
    {
        members.shift_remove("extension");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_extension_takes_the_place_of_its_like() {
        let mut element = json!({"extension": [{"url": "a", "valueCode": "1"}, {"url": "b", "valueCode": "2"}]});
        set(&mut element, json!({"url": "a", "valueCode": "3"}));
        assert_eq!(find(&element, "a").unwrap()["valueCode"], "3");
        assert_eq!(all(&element, "a").count(), 1);
        remove(&mut element, "a");
        remove(&mut element, "b");
        assert_eq!(element, json!({}));
    }
}
