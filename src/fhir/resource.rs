//! A resource as bytes: what is accepted as JSON, how numbers keep their digits, and how stored text is served.
//!
//! FHIR's JSON rules: <https://hl7.org/fhir/R4/json.html>. On top of them we refuse what other systems read in different
//! ways (a key that occurs twice) or cannot hold (NUL, numbers of thousands of digits): a record that two readers may
//! understand differently is not safe to keep. Numbers keep every digit, of the exponent too, which is spelt `e+3` or
//! `e-3` however it came.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::content::Held;
use super::error::FhirError;

/// Levels of nesting that a request may have. HL7's deepest example has 17; a stack is safe far beyond 96.
pub const MAX_DEPTH: usize = 96;

/// Digits and decimal exponent beyond which a number is refused. FHIR asks for 18 digits.
const MAX_NUMBER_LENGTH: usize = 256;
const MAX_EXPONENT: i32 = 256;

/// How serde_json hands over a number whose digits it kept.
const NUMBER_TOKEN: &str = "$serde_json::private::Number";

/// The interaction that made a version, as history reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// The number in the `method` columns.
    pub fn number(self) -> i16 {
        match self {
            Method::Post => 1,
            Method::Put => 2,
            Method::Patch => 3,
            Method::Delete => 4,
        }
    }

    /// The inverse of [`Method::number`]; numbers that are not there are deletions of unknown origin.
    pub fn from_number(number: i16) -> Method {
        match number {
            1 => Method::Post,
            2 => Method::Put,
            3 => Method::Patch,
            _ => Method::Delete,
        }
    }

    /// As `Bundle.entry.request.method` writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// One version of one resource.
#[derive(Clone, Debug)]
pub struct StoredResource {
    pub rid: i64,
    pub resource_type: &'static str,
    pub id: String,
    pub version: i32,
    pub last_updated: Timestamp,
    pub deleted: bool,
    pub method: Method,
    /// Complete JSON with `resourceType`, `id` and `meta` first; empty when deleted. That of a Binary whose content lies elsewhere is
    /// without its `data` until that is given back.
    pub json: String,
    /// The object that holds the content of a Binary ([`content`](super::content)).
    pub content: Option<Held>,
}

/// Reads a request body. Errors name line and column; the text of the body is never part of them.
///
/// # Errors
/// 400 for anything but one JSON value in UTF-8, for a key that occurs twice in an object, for NUL in a string, for
/// nesting beyond [`MAX_DEPTH`] and for numbers beyond 256 characters or an exponent beyond ±256.
pub fn parse(bytes: &[u8]) -> Result<Value, FhirError> {
    // A byte order mark is not JSON, but editors on Windows write it and it carries no meaning.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        FhirError::malformed(format!("The body is not UTF-8: see byte {}.", error.valid_up_to() + 1))
    })?;
    if text.trim_ascii().is_empty() {
        return Err(FhirError::malformed("The body is empty. Send a resource as JSON."));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    // serde_json's own limit is 128 and ours is checked below, with a better message.
    let value = AnyValue { depth: 0 }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| FhirError::malformed(describe(&error)))
}

/// serde_json's message without what it may quote from the body.
fn describe(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let reason = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        _ if text.contains(TWICE) => TWICE,
        _ if text.contains(NUL) => NUL,
        _ if text.contains(DEEP) => DEEP,
        _ if text.contains(LONG) => LONG,
        _ if text.contains("trailing characters") => "something follows the end of the value",
        _ if text.contains("control character") => "a string holds a raw control character; write it as an escape",
        _ if text.contains("surrogate") || text.contains("escape") => "a string holds an escape that is no character",
        _ if text.contains("number") => "a number is not written as JSON writes it",
        _ => "it is not well-formed",
    };
    format!("The body cannot be read as JSON at line {line}, column {column}: {reason}.")
}

const TWICE: &str = "a key occurs twice in one object";
const NUL: &str = "a string holds the character NUL";
const DEEP: &str = "it is nested more than 96 levels deep";
const LONG: &str = "a number has too many digits or too large an exponent";

/// Builds a [`Value`] and refuses on the way what `Value`'s own reader lets pass.
#[derive(Clone, Copy)]
struct AnyValue {
    depth: usize,
}

impl AnyValue {
    fn inner<E: serde::de::Error>(self) -> Result<AnyValue, E> {
        if self.depth >= MAX_DEPTH {
            Err(E::custom(DEEP))
        } else {
            Ok(AnyValue { depth: self.depth + 1 })
        }
    }
}

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    // Small whole numbers come as such, all others as the text in which they were written.
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        checked_string(Cow::Borrowed(value)).map(Value::String)
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        checked_string(Cow::Owned(value)).map(Value::String)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        let Some(mut key) = entries.next_key::<Cow<'de, str>>()? else {
            return Ok(Value::Object(object));
        };
        if key == NUMBER_TOKEN {
            return number(&entries.next_value::<String>()?);
        }
        let inner = self.inner()?;
        loop {
            let value = entries.next_value_seed(inner)?;
            if object.insert(checked_string(key)?, value).is_some() {
                return Err(A::Error::custom(TWICE));
            }
            match entries.next_key()? {
                Some(next) => key = next,
                None => return Ok(Value::Object(object)),
            }
        }
    }
}

fn checked_string<E: serde::de::Error>(value: Cow<'_, str>) -> Result<String, E> {
    if value.as_bytes().contains(&0) {
        Err(E::custom(NUL))
    } else {
        Ok(value.into_owned())
    }
}

fn number<E: serde::de::Error>(text: &str) -> Result<Value, E> {
    let exponent = match text.find(['e', 'E']) {
        Some(at) => text[at + 1..].parse::<i32>().unwrap_or(i32::MAX),
        None => 0,
    };
    if text.len() > MAX_NUMBER_LENGTH || exponent.unsigned_abs() > MAX_EXPONENT as u32 {
        return Err(E::custom(LONG));
    }
    text.parse::<Number>().map(Value::Number).map_err(E::custom)
}

/// Whether Postgres' jsonb would give every number of `value` back as it is written. It keeps trailing zeros, but writes
/// exponents out and forgets the sign of zero.
pub fn survives_jsonb(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            let text = number.as_str();
            let is_negative_zero = text.starts_with('-') && text.bytes().all(|b| matches!(b, b'-' | b'0' | b'.'));
            !text.contains(['e', 'E']) && !is_negative_zero
        }
        Value::Array(items) => items.iter().all(survives_jsonb),
        Value::Object(object) => object.values().all(survives_jsonb),
        _ => true,
    }
}

/// Sets what belongs to the server: `id`, `meta.versionId` and `meta.lastUpdated`. The rest of `meta` is the client's.
pub fn stamp(resource: &mut Value, id: &str, version: i32, last_updated: Timestamp) {
    let Value::Object(object) = resource else { return };
    object.insert("id".to_owned(), Value::String(id.to_owned()));
    let meta = object.entry("meta").or_insert_with(|| Value::Object(Map::new()));
    if !meta.is_object() {
        *meta = Value::Object(Map::new());
    }
    if let Value::Object(meta) = meta {
        meta.insert("versionId".to_owned(), Value::String(version.to_string()));
        meta.insert("lastUpdated".to_owned(), Value::String(instant(last_updated)));
        // A sibling would say something about a value that is no longer there.
        meta.shift_remove("_versionId");
        meta.shift_remove("_lastUpdated");
    }
}

/// Whether two versions say the same: all but `meta.versionId` and `meta.lastUpdated` is equal, digit for digit.
pub fn same_content(a: &Value, b: &Value) -> bool {
    let (Value::Object(a), Value::Object(b)) = (a, b) else {
        return a == b;
    };
    let clients_part = |object: &Map<String, Value>| {
        let mut meta = object
            .get("meta")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        meta.shift_remove("versionId");
        meta.shift_remove("lastUpdated");
        meta
    };
    let others = |object: &Map<String, Value>| object.len() - usize::from(object.contains_key("meta"));
    others(a) == others(b)
        && a.iter().all(|(key, value)| key == "meta" || b.get(key) == Some(value))
        && clients_part(a) == clients_part(b)
}

/// An instant as `meta.lastUpdated` writes it: UTC, milliseconds.
pub fn instant(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// `resource` as JSON text with `resourceType`, `id` and `meta` first, whatever order they have in memory.
pub fn to_json(resource: &Value) -> String {
    let Value::Object(object) = resource else {
        return resource.to_string();
    };
    let first = ["resourceType", "id", "meta"]
        .into_iter()
        .filter_map(|key| object.get_key_value(key));
    let rest = object.iter().filter(|(key, _)| !is_first(key));
    let mut text = Vec::with_capacity(1024);
    text.push(b'{');
    for (key, value) in first.chain(rest) {
        if text.len() > 1 {
            text.push(b',');
        }
        // Writing to a Vec cannot fail, and neither can a key or a value that came out of JSON.
        let _ = serde_json::to_writer(&mut text, key);
        text.push(b':');
        let _ = serde_json::to_writer(&mut text, value);
    }
    text.push(b'}');
    String::from_utf8(text).unwrap_or_default()
}

fn is_first(key: &str) -> bool {
    matches!(key, "resourceType" | "id" | "meta")
}

/// The text of a stored resource, which jsonb has in an order of its own, with `resourceType`, `id` and `meta` first.
/// Only the top level is looked at: values are copied, not read.
pub fn first_things_first(stored: String) -> String {
    match serde_json::from_str::<TopLevel>(&stored) {
        Ok(top) => top.render(stored.len()),
        // What the database holds is JSON; should it ever not be, the bytes are still the best answer there is.
        Err(_) => stored,
    }
}

/// Keys (as written, with quotes and escapes) and values of an object, in order.
struct TopLevel<'a>(Vec<(&'a str, &'a RawValue)>);

impl TopLevel<'_> {
    fn render(&self, length: usize) -> String {
        let mut text = String::with_capacity(length);
        let first = ["resourceType", "id", "meta"]
            .into_iter()
            .filter_map(|wanted| self.0.iter().find(|(key, _)| *key == wanted));
        let rest = self.0.iter().filter(|(key, _)| !is_first(key));
        for (key, value) in first.chain(rest) {
            text.push(if text.is_empty() { '{' } else { ',' });
            text.push('"');
            text.push_str(key);
            text.push_str("\":");
            text.push_str(value.get());
        }
        text.push_str(if text.is_empty() { "{}" } else { "}" });
        text
    }
}

impl<'de> serde::Deserialize<'de> for TopLevel<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = TopLevel<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<TopLevel<'de>, A::Error> {
                // Element names of FHIR have no escapes, so they can be borrowed; a key that has some is refused here and
                // the caller serves the text as it is.
                let mut top = Vec::with_capacity(24);
                while let Some(key) = entries.next_key::<&'de str>()? {
                    top.push((key, entries.next_value::<&'de RawValue>()?));
                }
                Ok(TopLevel(top))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(bytes: &[u8]) -> String {
        parse(bytes).unwrap_err().issues[0].diagnostics.clone()
    }

    #[test]
    fn refuses_what_readers_understand_differently() {
        assert!(refusal(br#"{"a":1,"b":{"c":1,"c":2}}"#).contains(TWICE));
        assert!(refusal(br#"{"a":"x\u0000y"}"#).contains(NUL));
        assert!(refusal(br#"{"a\u0000":1}"#).contains(NUL));
        assert!(refusal(br#"{"a":"\ud800"}"#).contains("no character"));
        assert!(refusal(b"{\"a\":\"\xff\"}").contains("not UTF-8: see byte 7"));
        assert!(refusal(br#"{"a":1} {"#).contains("follows the end"));
        assert!(refusal(b"  ").contains("empty"));
        assert!(refusal(b"{\"a\":\n [1,").contains("line 2"));
        assert!(refusal(br#"{"a":01}"#).contains("line 1, column"));
        assert!(refusal(br#"{"a":1e999999}"#).contains(LONG));
        assert!(refusal(format!("[{}]", "9".repeat(300)).as_bytes()).contains(LONG));
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(refusal(deep.as_bytes()).contains(DEEP));
        let absurd = "[".repeat(1_000_000);
        assert!(parse(absurd.as_bytes()).is_err());
    }

    #[test]
    fn messages_do_not_quote_the_body() {
        assert!(!refusal(br#"{"name":"Mallory" secret}"#).contains("secret"));
        assert!(!refusal(br#"{"Mallory":1,"Mallory":2}"#).contains("Mallory"));
    }

    #[test]
    fn numbers_keep_their_digits() {
        // serde_json spells every exponent one way: its sign is written and its letter is small.
        let long = "0.1000000000000000000000000000001";
        for (sent, kept) in [
            ("1.50", "1.50"),
            ("-0.0", "-0.0"),
            (long, long),
            ("1E3", "1e+3"),
            ("1.0e-5", "1.0e-5"),
        ] {
            let value = parse(format!("{{\"v\":{sent}}}").as_bytes()).unwrap();
            assert_eq!(value["v"].to_string(), kept);
        }
    }

    #[test]
    fn knows_which_numbers_jsonb_rewrites() {
        for (text, survives) in [
            ("1.50", true),
            ("-1.0", true),
            ("0.0", true),
            ("1e3", false),
            ("1E-3", false),
            ("-0", false),
            ("-0.00", false),
            ("-0.01", true),
        ] {
            let value = parse(format!("{{\"a\":[{{\"v\":{text}}}]}}").as_bytes()).unwrap();
            assert_eq!(survives_jsonb(&value), survives, "{text}");
        }
    }

    #[test]
    fn serves_type_id_and_meta_first() {
        let stored = r#"{"id": "1", "meta": {"versionId": "1"}, "name": [{"family": "A\"b"}], "active": true, "resourceType": "Patient"}"#;
        let served = first_things_first(stored.to_owned());
        assert_eq!(
            served,
            r#"{"resourceType":"Patient","id":"1","meta":{"versionId": "1"},"name":[{"family": "A\"b"}],"active":true}"#
        );
        let value: Value = serde_json::from_str(stored).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&to_json(&value)).unwrap(), value);
        assert!(to_json(&value).starts_with(r#"{"resourceType":"Patient","id":"1","meta":"#));
        assert_eq!(first_things_first("{}".to_owned()), "{}");
    }

    #[test]
    fn compares_versions_without_what_the_server_sets() {
        let one = json!({"resourceType": "Patient", "id": "1", "meta": {"versionId": "1", "lastUpdated": "2026-01-01T00:00:00Z"}, "active": true});
        let two = json!({"active": true, "resourceType": "Patient", "id": "1"});
        assert!(same_content(&one, &two));
        let tagged = json!({"resourceType": "Patient", "id": "1", "active": true, "meta": {"tag": [{"code": "x"}]}});
        assert!(!same_content(&one, &tagged));
        let longer = json!({"resourceType": "Patient", "id": "1", "active": true, "gender": "male"});
        assert!(!same_content(&two, &longer) && !same_content(&longer, &two));
    }
}
