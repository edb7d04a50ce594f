//! JSON Schemas of the primitive types (<https://hl7.org/fhir/R4/datatypes.html>).
//!
//! Written here rather than taken from the definitions' own regular expressions, because those let pass what the
//! specification's text refuses: a 30th of February, a string of blanks, an empty `uri`, a number beyond 32 bits. The
//! patterns keep to what ECMA 262 and Rust's `regex` both understand, so that any JSON Schema tool can use the files.

use serde_json::{Value, json};

/// Any year but 0000.
const YEAR: &str = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)";
const LEAP_YEAR: &str = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)";
/// Month and day as they exist in every year.
const MONTH_DAY: &str = "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|\
                         02-(?:0[1-9]|1[0-9]|2[0-8]))";
/// A second of 60 is a leap second.
const TIME: &str = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\\.[0-9]+)?";
const ZONE: &str = "(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))";

/// Allowed in a string: everything but control characters other than tab, line feed and carriage return.
const CHARACTER: &str = "[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f]";
/// Allowed, and not white space.
const VISIBLE: &str =
    "[^\\u0000-\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff]";
/// A string may hold this many characters.
const MAX_LENGTH: u32 = 1024 * 1024;

/// The schema of one primitive type; `None` for a name we do not know, which R4 does not have.
pub fn schema(name: &str) -> Option<Value> {
    let full_date = format!("(?:{YEAR}-{MONTH_DAY}|{LEAP_YEAR}-02-29)");
    let month = "(?:0[1-9]|1[0-2])";
    Some(match name {
        "boolean" => json!({"type": "boolean"}),
        // JSON's own grammar of numbers is that of the specification, exponents included.
        "decimal" => json!({"type": "number"}),
        "integer" => integer(i32::MIN),
        "unsignedInt" => integer(0),
        "positiveInt" => integer(1),
        "date" => pattern(&format!("{YEAR}(?:-{month})?|{full_date}")),
        "dateTime" => pattern(&format!("{YEAR}(?:-{month})?|{full_date}(?:T{TIME}{ZONE})?")),
        "instant" => pattern(&format!("{full_date}T{TIME}{ZONE}")),
        "time" => pattern(TIME),
        "string" | "markdown" => {
            let mut schema = pattern(&format!("{CHARACTER}*{VISIBLE}{CHARACTER}*"));
            schema["maxLength"] = json!(MAX_LENGTH);
            schema
        }
        // What the markup may contain is the invariant txt-1's affair.
        "xhtml" => pattern("\\s*<div(?:[\\s/][^>]*)?>(?:[\\s\\S]*</div>)?\\s*"),
        "code" => pattern("\\S+(?: \\S+)*"),
        "id" => pattern("[A-Za-z0-9.-]{1,64}"),
        "uri" | "url" | "canonical" => pattern("\\S+"),
        "oid" => pattern("urn:oid:[0-2](?:\\.(?:0|[1-9][0-9]*))+"),
        "uuid" => pattern("urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
        "base64Binary" => {
            pattern("\\s*(?:[A-Za-z0-9+/]{4}\\s*)*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)\\s*")
        }
        _ => return None,
    })
}

/// A string that matches `inner` from its first to its last character.
fn pattern(inner: &str) -> Value {
    json!({"type": "string", "pattern": format!("^(?:{inner})$")})
}

/// A whole number of 32 bits. JSON Schema takes `1.0` and `1e0` for integers; FHIR does not, which `wholeNumeral` says
/// to our validator and which other tools ignore.
fn integer(minimum: i32) -> Value {
    json!({"type": "integer", "minimum": minimum, "maximum": i32::MAX, "wholeNumeral": true})
}

#[cfg(test)]
mod tests {
    use super::schema;

    fn accepts(name: &str, text: &str) -> bool {
        let schema = schema(name).unwrap();
        regex::Regex::new(schema["pattern"].as_str().unwrap())
            .unwrap()
            .is_match(text)
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for year in 1..=9999_i32 {
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            assert_eq!(accepts_cached(&format!("{year:04}-02-29")), is_leap, "{year}");
        }
        for text in ["2020", "2020-12", "2020-01-31", "0001", "1900-04-30"] {
            assert!(accepts("date", text), "{text}");
        }
        for text in [
            "0000",
            "20",
            "2020-13",
            "2020-00",
            "2020-04-31",
            "2020-02-30",
            "2020-1-1",
            "2020-01-01T00:00:00Z",
        ] {
            assert!(!accepts("date", text), "{text}");
        }
    }

    fn accepts_cached(text: &str) -> bool {
        use std::sync::LazyLock;
        static DATE: LazyLock<regex::Regex> =
            LazyLock::new(|| regex::Regex::new(schema("date").unwrap()["pattern"].as_str().unwrap()).unwrap());
        DATE.is_match(text)
    }

    #[test]
    fn each_pattern_takes_what_the_specification_allows() {
        let good = [
            ("dateTime", "2015-02-07T13:28:17.239+02:00"),
            ("dateTime", "2016-12-31T23:59:60Z"),
            ("instant", "2015-02-07T13:28:17-14:00"),
            ("time", "23:59:59.9"),
            ("string", "\u{a0}x"),
            ("string", "two\nlines"),
            ("code", "two words"),
            ("id", "a.B-9"),
            ("uri", "urn:x"),
            ("oid", "urn:oid:1.2.840"),
            ("uuid", "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"),
            ("base64Binary", "AAAA AA=="),
            ("xhtml", "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>x</p></div>"),
        ];
        for (name, text) in good {
            assert!(accepts(name, text), "{name} {text:?}");
        }
    }

    #[test]
    fn each_pattern_refuses_what_the_specification_forbids() {
        let bad = [
            ("dateTime", "2015-02-07T13:28Z"),
            ("dateTime", "2015-02-07T13:28:17"),
            ("dateTime", "2015-02-30T13:28:17Z"),
            ("dateTime", "2015-02-07T24:00:00Z"),
            ("instant", "2015-02-07"),
            ("time", "24:00:00"),
            ("time", "12:30"),
            ("string", ""),
            ("string", " \t\n"),
            ("string", "bell \u{7}"),
            ("code", " x"),
            ("code", "two  blanks"),
            ("id", "a_b"),
            (
                "id",
                "0123456789012345678901234567890123456789012345678901234567890123x",
            ),
            ("uri", "a b"),
            ("oid", "1.2.3"),
            ("uuid", "urn:uuid:C757873D-ec9a-4326-a141-556f43239520"),
            ("base64Binary", "AAA"),
            ("base64Binary", "===="),
            ("xhtml", "<p>x</p>"),
        ];
        for (name, text) in bad {
            assert!(!accepts(name, text), "{name} {text:?}");
        }
    }
}
