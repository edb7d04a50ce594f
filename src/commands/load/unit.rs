//! What is stored at one time: a whole transaction, or a group of resources that stand for themselves.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use super::source::GROUP;
use crate::fhir::error::FhirError;
use crate::fhir::resource::parse;

/// A file, known by its content as well.
#[derive(Clone, Debug)]
pub struct FileId {
    pub path: PathBuf,
    pub hash: [u8; 32],
}

/// A unit's place: the hash of its file in hexadecimal, and its number there.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct UnitKey {
    pub file: String,
    pub number: usize,
}

/// Part of a file, still as text.
#[derive(Debug)]
pub struct Unit {
    pub key: UnitKey,
    pub path: PathBuf,
    /// All or nothing.
    pub atomic: bool,
    /// Length of the text.
    pub bytes: usize,
    /// The share of the memory that the text may take; given back when the unit is done.
    pub reserved: Option<OwnedSemaphorePermit>,
    content: Content,
    file_hash: [u8; 32],
}

#[derive(Debug)]
enum Content {
    /// `Bundle.entry` elements with a request each.
    Entries(Vec<Part>),
    /// Resources, and what the file calls them: `fullUrl` to `Type/id`.
    Resources(Vec<Part>, Arc<HashMap<String, String>>),
    /// The file is not one that can be loaded.
    Unreadable(FhirError),
}

/// One entry or resource.
#[derive(Debug)]
struct Part {
    /// Its place in the file, from 0.
    index: usize,
    full_url: Option<String>,
    json: Vec<u8>,
}

/// An entry that is ready to be sent.
#[derive(Debug)]
pub struct Entry {
    pub index: usize,
    pub value: Value,
}

#[derive(Deserialize)]
struct BundleText<'a> {
    #[serde(rename = "resourceType")]
    resource_type: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(borrow, default)]
    entry: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct EntryText<'a> {
    #[serde(rename = "fullUrl")]
    full_url: Option<String>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Identity {
    #[serde(rename = "resourceType")]
    resource_type: String,
    id: Option<String>,
}

/// Cuts a JSON file. A file that is neither a Bundle nor a resource becomes a unit that says so when it is stored.
pub fn cut_json(file: &FileId, bytes: &[u8]) -> Vec<Unit> {
    match try_cut_json(file, bytes) {
        Ok(units) => units,
        Err(error) => vec![Unit::new(file, 0, true, bytes.len(), Content::Unreadable(error))],
    }
}

fn try_cut_json(file: &FileId, bytes: &[u8]) -> Result<Vec<Unit>, FhirError> {
    let not_loadable = |_| FhirError::malformed("The file is neither a Bundle nor a resource in JSON.");
    let bundle: BundleText = serde_json::from_slice(bytes).map_err(not_loadable)?;
    if bundle.resource_type != "Bundle" {
        let part = Part {
            index: 0,
            full_url: None,
            json: bytes.to_vec(),
        };
        return Ok(vec![Unit::new(
            file,
            0,
            false,
            bytes.len(),
            Content::Resources(vec![part], Arc::default()),
        )]);
    }
    match bundle.kind.as_deref() {
        Some("transaction") => {
            let parts = entries(&bundle.entry);
            Ok(vec![Unit::new(file, 0, true, bytes.len(), Content::Entries(parts))])
        }
        Some("batch") => Ok(groups(file, entries(&bundle.entry), Content::Entries)),
        Some("collection" | "searchset" | "document") => {
            let (parts, names) = resources(&bundle.entry)?;
            Ok(groups(file, parts, |parts| Content::Resources(parts, names.clone())))
        }
        kind => Err(FhirError::bad_value(format!(
            "A Bundle of type '{}' cannot be loaded; transaction, batch, collection, searchset and document can.",
            kind.unwrap_or_default()
        ))),
    }
}

fn entries(texts: &[&RawValue]) -> Vec<Part> {
    let part = |(index, text): (usize, &&RawValue)| Part {
        index,
        full_url: None,
        json: text.get().into(),
    };
    texts.iter().enumerate().map(part).collect()
}

/// An entry by its place in the file, and why it cannot be sent.
type Refused = (usize, FhirError);

/// What each `fullUrl` of a collection stands for.
type FullUrls = Arc<HashMap<String, String>>;

/// The resources of a collection. Its groups are stored apart from each other, so that no server could tell what the
/// `fullUrl` of an entry in another group stands for: all of them are noted here.
fn resources(texts: &[&RawValue]) -> Result<(Vec<Part>, FullUrls), FhirError> {
    let mut parts = Vec::with_capacity(texts.len());
    let mut names = HashMap::new();
    for (index, text) in texts.iter().enumerate() {
        let not_an_entry = |_| FhirError::malformed(format!("Bundle.entry[{index}] is not an entry."));
        let entry: EntryText = serde_json::from_str(text.get()).map_err(not_an_entry)?;
        let Some(resource) = entry.resource else { continue };
        if let Some(full_url) = &entry.full_url
            && let Ok(Identity { resource_type, id }) = serde_json::from_str(resource.get())
            && let Some(id) = id.or_else(|| id_in_urn(full_url))
        {
            names.insert(full_url.clone(), format!("{resource_type}/{id}"));
        }
        parts.push(Part {
            index,
            full_url: entry.full_url,
            json: resource.get().into(),
        });
    }
    Ok((parts, Arc::new(names)))
}

fn groups(file: &FileId, parts: Vec<Part>, content: impl Fn(Vec<Part>) -> Content) -> Vec<Unit> {
    let mut parts = parts.into_iter();
    let mut units = Vec::new();
    loop {
        let group: Vec<Part> = parts.by_ref().take(GROUP).collect();
        if group.is_empty() {
            return units;
        }
        let bytes = group.iter().map(|part| part.json.len()).sum();
        units.push(Unit::new(file, units.len(), false, bytes, content(group)));
    }
}

/// A unit of `lines`, each with its number from 0.
pub fn from_lines(file: &FileId, lines: Vec<(usize, Vec<u8>)>) -> Unit {
    let bytes = lines.iter().map(|(_, line)| line.len()).sum();
    let first = lines.first().map_or(0, |(index, _)| *index);
    let parts = lines
        .into_iter()
        .map(|(index, json)| Part {
            index,
            full_url: None,
            json,
        })
        .collect();
    Unit::new(file, first, false, bytes, Content::Resources(parts, Arc::default()))
}

impl Unit {
    fn new(file: &FileId, number: usize, atomic: bool, bytes: usize, content: Content) -> Unit {
        let key = UnitKey {
            file: hexadecimal(&file.hash),
            number,
        };
        Unit {
            key,
            path: file.path.clone(),
            atomic,
            bytes,
            reserved: None,
            content,
            file_hash: file.hash,
        }
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        match &self.content {
            Content::Entries(parts) | Content::Resources(parts, _) => parts.len(),
            Content::Unreadable(_) => 1,
        }
    }

    /// Whether a reference of it is a search, whose target other files may bring. May be wrong on the safe side.
    pub fn has_conditional_references(&self) -> bool {
        let Content::Entries(parts) = &self.content else {
            return false;
        };
        parts.iter().any(|part| {
            let text = String::from_utf8_lossy(&part.json);
            text.split("\"reference\"").skip(1).any(|rest| {
                let value = rest
                    .trim_start_matches([' ', '\n', '\r', '\t', ':'])
                    .strip_prefix('"')
                    .unwrap_or_default();
                value.split('"').next().is_some_and(|value| value.contains('?'))
            })
        })
    }

    /// The entries as the server takes them, and those that cannot be made into one.
    ///
    /// # Errors
    /// When the file is not one that can be loaded.
    pub fn entries(&self) -> Result<(Vec<Entry>, Vec<Refused>), FhirError> {
        let (mut ready, mut refused) = (Vec::with_capacity(self.len()), Vec::new());
        let mut sort = |part: &Part, made: Result<Value, FhirError>| match made {
            Ok(value) => ready.push(Entry {
                index: part.index,
                value,
            }),
            Err(error) => refused.push((part.index, error)),
        };
        match &self.content {
            Content::Unreadable(error) => return Err(error.clone()),
            Content::Entries(parts) => parts.iter().for_each(|part| sort(part, self.repeatable(part))),
            Content::Resources(parts, names) => parts.iter().for_each(|part| sort(part, self.update(part, names))),
        }
        Ok((ready, refused))
    }

    /// An entry of a transaction or batch, so that sending it twice stores it once.
    fn repeatable(&self, part: &Part) -> Result<Value, FhirError> {
        let mut entry = parse(&part.json)?;
        let text = |entry: &Value, path: &str| entry.pointer(path).and_then(Value::as_str).map(str::to_owned);
        if text(&entry, "/request/method").as_deref() != Some("POST") || text(&entry, "/request/ifNoneExist").is_some()
        {
            return Ok(entry);
        }
        let Some(resource_type) = text(&entry, "/resource/resourceType") else {
            return Ok(entry);
        };
        let id = text(&entry, "/fullUrl")
            .and_then(|url| id_in_urn(&url))
            .unwrap_or_else(|| self.made_up_id(part));
        entry["request"] = json!({ "method": "PUT", "url": format!("{resource_type}/{id}") });
        entry["resource"]["id"] = id.into();
        Ok(entry)
    }

    /// A resource as an update of its id.
    fn update(&self, part: &Part, names: &HashMap<String, String>) -> Result<Value, FhirError> {
        let mut resource = parse(&part.json)?;
        let Some(resource_type) = resource.get("resourceType").and_then(Value::as_str).map(str::to_owned) else {
            return Err(FhirError::malformed("The resource does not say its resourceType."));
        };
        let id = resource.get("id").and_then(Value::as_str).map(str::to_owned);
        let id = id
            .or_else(|| id_in_urn(part.full_url.as_deref()?))
            .unwrap_or_else(|| self.made_up_id(part));
        resource["id"] = id.as_str().into();
        if !names.is_empty() {
            rename_references(&mut resource, names);
        }
        let mut entry = Map::new();
        if let Some(full_url) = &part.full_url {
            entry.insert("fullUrl".into(), full_url.as_str().into());
        }
        entry.insert("resource".into(), resource);
        entry.insert(
            "request".into(),
            json!({ "method": "PUT", "url": format!("{resource_type}/{id}") }),
        );
        Ok(entry.into())
    }

    /// The same at every run, and no other file's: from the content of the file and the place in it.
    fn made_up_id(&self, part: &Part) -> String {
        let hash = Sha256::new()
            .chain_update(self.file_hash)
            .chain_update(part.index.to_be_bytes())
            .finalize();
        hexadecimal(&hash[..16])
    }
}

/// The id that an entry gets whose `fullUrl` is a `urn:uuid:`.
fn id_in_urn(full_url: &str) -> Option<String> {
    let uuid = full_url.strip_prefix("urn:uuid:")?;
    uuid::Uuid::try_parse(uuid).is_ok().then(|| uuid.to_owned())
}

fn rename_references(value: &mut Value, names: &HashMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "reference" => {
                        if let Some(renamed) = names.get(text) {
                            text.clone_from(renamed);
                        }
                    }
                    member => rename_references(member, names),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename_references(item, names)),
        _ => {}
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> FileId {
        FileId {
            path: "records.json".into(),
            hash: [7; 32],
        }
    }

    fn entries_of(unit: &Unit) -> Vec<Value> {
        let (entries, refused) = unit.entries().unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        entries.into_iter().map(|entry| entry.value).collect()
    }

    const URN: &str = "urn:uuid:5d2a2d08-cf2e-b7ad-a0db-77551a2777ec";

    #[test]
    fn a_create_becomes_an_update_of_its_uuid() {
        let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [
            { "fullUrl": URN, "resource": { "resourceType": "Patient" }, "request": { "method": "POST", "url": "Patient" } },
            { "resource": { "resourceType": "Patient" }, "request": { "method": "POST", "url": "Patient" } },
            { "resource": { "resourceType": "Patient" }, "request": { "method": "POST", "url": "Patient", "ifNoneExist": "a=b" } },
        ] });
        let units = cut_json(&file(), bundle.to_string().as_bytes());
        let [unit] = units.as_slice() else {
            panic!("a transaction is one unit")
        };
        assert!(unit.atomic);
        let entries = entries_of(unit);
        assert_eq!(
            entries[0]["request"],
            json!({ "method": "PUT", "url": "Patient/5d2a2d08-cf2e-b7ad-a0db-77551a2777ec" })
        );
        assert_eq!(entries[0]["resource"]["id"], "5d2a2d08-cf2e-b7ad-a0db-77551a2777ec");
        assert_eq!(entries[1], entries_of(unit)[1], "a made-up id is the same each time");
        assert_eq!(entries[2], bundle["entry"][2]);
    }

    #[test]
    fn a_collection_is_cut_into_groups_whose_references_hold() {
        let mut entry = vec![json!({ "fullUrl": URN, "resource": { "resourceType": "Patient", "id": "p" } })];
        let observation = |n| json!({ "resource": { "resourceType": "Observation", "id": format!("o{n}"), "subject": { "reference": URN } } });
        entry.extend((0..250).map(observation));
        let bundle = json!({ "resourceType": "Bundle", "type": "collection", "entry": entry });
        let units = cut_json(&file(), bundle.to_string().as_bytes());
        assert_eq!(units.iter().map(Unit::len).collect::<Vec<_>>(), [100, 100, 51]);
        let last = entries_of(&units[2]).pop().unwrap();
        assert_eq!(last["resource"]["subject"]["reference"], "Patient/p");
        assert_eq!(last["request"]["url"], "Observation/o249");
    }

    #[test]
    fn numbers_keep_their_digits() {
        let line = br#"{"resourceType":"Observation","id":"a","valueQuantity":{"value":1.50}}"#;
        let unit = from_lines(&file(), vec![(0, line.to_vec())]);
        assert!(serde_json::to_string(&entries_of(&unit)).unwrap().contains("1.50"));
    }

    #[test]
    fn conditional_references_are_seen() {
        let unit = |reference: &str| {
            let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [
                { "resource": { "resourceType": "Encounter", "subject": { "reference": reference } } },
            ] });
            cut_json(&file(), serde_json::to_string_pretty(&bundle).unwrap().as_bytes()).remove(0)
        };
        assert!(unit("Practitioner?identifier=a|b").has_conditional_references());
        assert!(!unit("Practitioner/1").has_conditional_references());
    }

    #[test]
    fn what_is_not_a_bundle_or_resource_is_refused_when_it_is_stored() {
        for text in ["", "[]", "{\"resourceType\":\"Bundle\",\"type\":\"history\"}"] {
            assert!(cut_json(&file(), text.as_bytes())[0].entries().is_err(), "{text}");
        }
    }
}
