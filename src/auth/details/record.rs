//! How details stand in resources. What a resource says besides is left as it is.

use serde_json::{Map, Value, json};

use super::{Details, LANGUAGES, PREFERENCE, TIME_ZONE, text};
use crate::auth::accounts::Account;

impl Details {
    /// What a Patient or Practitioner says; the names are those of the account.
    pub(super) fn read(profile: &Value, account: &Account) -> Details {
        let phone = list(&profile["telecom"]).find(|point| point["system"] == "phone");
        let address = &profile["address"][0];
        let lines: Vec<&str> = list(&address["line"]).map(text).collect();
        let language = match profile["resourceType"].as_str() {
            Some("Patient") => list(&profile["communication"])
                .find(|spoken| spoken["preferred"] == true)
                .map(|spoken| &spoken["language"]),
            _ => list(&profile["communication"]).next(),
        };
        let code = language.and_then(|concept| list(&concept["coding"]).find(|coding| coding["system"] == LANGUAGES));
        let zone = list(&profile["extension"]).find(|extension| extension["url"] == TIME_ZONE);
        let unwanted = list(&profile["extension"])
            .filter(|extension| extension["url"] == PREFERENCE)
            .filter(|extension| part(extension, "enabled")["valueBoolean"] == false)
            .map(|extension| text(&part(extension, "event")["valueCode"]).to_owned());
        Details {
            given: account.given.clone(),
            family: account.family.clone(),
            phone: phone.map_or("", |phone| text(&phone["value"])).to_owned(),
            street: lines.join("\n"),
            postal_code: text(&address["postalCode"]).to_owned(),
            city: text(&address["city"]).to_owned(),
            country: text(&address["country"]).to_owned(),
            language: code.map_or("", |coding| text(&coding["code"])).to_owned(),
            time_zone: zone.map_or("", |zone| text(&zone["valueCode"])).to_owned(),
            unwanted: unwanted.collect(),
        }
    }

    /// Writes them into a resource. A Person has no language, and needs no preferences.
    pub(super) fn write(&self, resource: &mut Value, is_profile: bool) {
        let is_patient = resource["resourceType"] == "Patient";
        let Some(resource) = resource.as_object_mut() else {
            return;
        };
        let official = |name: &Value| name["use"] == "official";
        change_one(resource, "name", official, |name| {
            name.insert("use".to_owned(), json!("official"));
            name.insert("family".to_owned(), json!(self.family));
            name.insert("given".to_owned(), json!([self.given]));
            // It would tell the old one.
            name.remove("text");
            true
        });
        change_one(
            resource,
            "telecom",
            |point| point["system"] == "phone",
            |point| {
                point.insert("system".to_owned(), json!("phone"));
                put(point, "value", &self.phone);
                !self.phone.is_empty()
            },
        );
        let lines: Vec<&str> = self.street.lines().collect();
        change_one(
            resource,
            "address",
            |_| true,
            |address| {
                match lines.is_empty() {
                    true => address.remove("line"),
                    false => address.insert("line".to_owned(), json!(lines)),
                };
                address.remove("text");
                put(address, "postalCode", &self.postal_code);
                put(address, "city", &self.city);
                put(address, "country", &self.country);
                ["line", "postalCode", "city", "country"]
                    .iter()
                    .any(|key| address.contains_key(*key))
            },
        );
        if is_profile {
            let language = json!({"coding": [{"system": LANGUAGES, "code": self.language}]});
            let is_preferred = |spoken: &Value| !is_patient || spoken["preferred"] == true;
            change_one(resource, "communication", is_preferred, |spoken| {
                *spoken = match is_patient {
                    true => Map::from_iter([("language".to_owned(), language), ("preferred".to_owned(), json!(true))]),
                    false => language.as_object().cloned().unwrap_or_default(),
                };
                !self.language.is_empty()
            });
        }
        let mut extensions: Vec<Value> = resource.remove("extension").iter().flat_map(list).cloned().collect();
        extensions.retain(|extension| extension["url"] != TIME_ZONE && extension["url"] != PREFERENCE);
        if !self.time_zone.is_empty() {
            extensions.push(json!({"url": TIME_ZONE, "valueCode": self.time_zone}));
        }
        if is_profile {
            extensions.extend(self.unwanted.iter().map(|event| {
                json!({"url": PREFERENCE, "extension": [
                    {"url": "event", "valueCode": event},
                    {"url": "channel", "valueCode": "email"},
                    {"url": "enabled", "valueBoolean": false},
                ]})
            }));
        }
        if !extensions.is_empty() {
            resource.insert("extension".to_owned(), json!(extensions));
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A part of an extension that has parts.
fn part<'v>(extension: &'v Value, url: &str) -> &'v Value {
    list(&extension["extension"])
        .find(|part| part["url"] == url)
        .unwrap_or(&Value::Null)
}

/// Sets a key, or removes it where there is nothing to say.
fn put(object: &mut Map<String, Value>, key: &str, value: &str) {
    match value.is_empty() {
        true => object.remove(key),
        false => object.insert(key.to_owned(), json!(value)),
    };
}

/// Changes the first element of the list under `key` that is the one, or adds one; removes it if `change` says that nothing
/// is left to say.
fn change_one(
    resource: &mut Map<String, Value>,
    key: &str,
    is_the_one: impl Fn(&Value) -> bool,
    change: impl FnOnce(&mut Map<String, Value>) -> bool,
) {
    let mut elements: Vec<Value> = resource.remove(key).iter().flat_map(list).cloned().collect();
    let at = elements.iter().position(is_the_one);
    let mut element = at.and_then(|at| elements[at].as_object().cloned()).unwrap_or_default();
    match (change(&mut element), at) {
        (true, Some(at)) => elements[at] = Value::Object(element),
        (true, None) => elements.push(Value::Object(element)),
        (false, Some(at)) => drop(elements.remove(at)),
        (false, None) => {}
    }
    if !elements.is_empty() {
        resource.insert(key.to_owned(), Value::Array(elements));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::details;
    use super::*;

    #[test]
    fn a_resource_keeps_what_it_says_besides() {
        let mut patient = json!({
            "resourceType": "Patient", "id": "p",
            "extension": [{"url": "https://other.example", "valueCode": "x"}],
            "name": [{"use": "maiden", "family": "Byron"}, {"use": "official", "family": "Lovelace", "text": "Ada Lovelace", "prefix": ["Lady"]}],
            "telecom": [{"system": "email", "value": "ada@home.example"}],
            "communication": [{"language": {"text": "Latin"}}],
        });
        details().write(&mut patient, true);
        assert_eq!(
            patient,
            json!({
                "resourceType": "Patient", "id": "p",
                "name": [
                    {"use": "maiden", "family": "Byron"},
                    {"use": "official", "family": "King", "prefix": ["Lady"], "given": ["Ada"]},
                ],
                "telecom": [{"system": "email", "value": "ada@home.example"}, {"system": "phone", "value": "+49 30 123456"}],
                "address": [{"line": ["Some Street 1", "Back house"], "postalCode": "10115", "city": "Berlin", "country": "Germany"}],
                "communication": [
                    {"language": {"text": "Latin"}},
                    {"language": {"coding": [{"system": LANGUAGES, "code": "de"}]}, "preferred": true},
                ],
                "extension": [
                    {"url": "https://other.example", "valueCode": "x"},
                    {"url": TIME_ZONE, "valueCode": "Europe/Berlin"},
                    {"url": PREFERENCE, "extension": [
                        {"url": "event", "valueCode": "payment-succeeded"},
                        {"url": "channel", "valueCode": "email"},
                        {"url": "enabled", "valueBoolean": false},
                    ]},
                ],
            })
        );
        let account = Account {
            id: String::new(),
            email: String::new(),
            role: crate::auth::accounts::Role::Patient,
            given: "Ada".to_owned(),
            family: "King".to_owned(),
            person: String::new(),
            profile: String::new(),
            has_totp: false,
            passkeys: 0,
            mail_codes: false,
        };
        assert_eq!(Details::read(&patient, &account), details());
        // Taken back, nothing of it is left.
        let nothing = Details {
            given: "Ada".to_owned(),
            family: "King".to_owned(),
            ..Details::default()
        };
        nothing.write(&mut patient, true);
        let keys: Vec<&String> = patient.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            ["resourceType", "id", "name", "telecom", "communication", "extension"]
        );
        assert_eq!(patient["communication"], json!([{"language": {"text": "Latin"}}]));
        assert_eq!(patient["telecom"].as_array().unwrap().len(), 1);
    }
}
