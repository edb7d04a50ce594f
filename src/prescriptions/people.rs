//! Names, addresses and ways of contact as lines of text.

use jiff::civil::Date;
use serde_json::Value;

use super::authority::is_during;

/// The name that somebody goes by, as it is written where they come from.
pub fn name(resource: &Value) -> Option<String> {
    let names = resource["name"].as_array()?;
    let rank = |name: &&Value| match name["use"].as_str() {
        Some("official") => 0,
        Some("usual") => 1,
        None => 2,
        Some("old" | "maiden") => 9,
        Some(_) => 3,
    };
    written(names.iter().min_by_key(rank)?)
}

fn written(name: &Value) -> Option<String> {
    let said = |text: &Value| {
        text.as_str()
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    if let Some(text) = said(&name["text"]) {
        return Some(text);
    }
    let list = |part: &str| -> Vec<String> {
        let parts = name[part].as_array().into_iter().flatten();
        parts.filter_map(said).collect()
    };
    let family = said(&name["family"]);
    let given = list("given");
    // The family comes first, and nothing between.
    if let Some(family) = family.as_ref().filter(|family| family.chars().all(is_east_asian)) {
        return Some(format!("{family}{}", given.concat()));
    }
    let mut parts = list("prefix");
    parts.extend(given);
    parts.extend(family);
    parts.extend(list("suffix"));
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn is_east_asian(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{20000}'..='\u{3ffff}')
}

/// Lines of an address: the one they live or work at.
pub fn address(resource: &Value, today: Date) -> Vec<String> {
    let addresses = resource["address"].as_array().into_iter().flatten();
    let mut present = addresses.filter(|address| address["use"] != "old" && is_during(&address["period"], today));
    let Some(address) = present.next() else {
        return Vec::new();
    };
    let text = |name: &str| address[name].as_str().map(str::trim).filter(|text| !text.is_empty());
    let lines = address["line"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    let place = match (country_code(address), text("city"), text("state"), text("postalCode")) {
        (Some("US" | "CA"), city, state, code) => [
            city.map(|city| format!("{city},")),
            state.map(str::to_owned),
            code.map(str::to_owned),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" "),
        (_, city, _, code) => [code, city].into_iter().flatten().collect::<Vec<_>>().join(" "),
    };
    lines.extend((!place.is_empty()).then_some(place));
    lines.extend(text("country").map(str::to_owned));
    if lines.is_empty() {
        lines.extend(text("text").into_iter().flat_map(str::lines).map(str::to_owned));
    }
    lines
}

/// The code of a country that is known by its code or by one of its names.
fn country_code(address: &Value) -> Option<&'static str> {
    let country = address["country"].as_str()?.trim();
    Some(match country.to_uppercase().as_str() {
        "US" | "USA" | "UNITED STATES" | "UNITED STATES OF AMERICA" => "US",
        "CA" | "CAN" | "CANADA" => "CA",
        "MX" | "MEX" | "MEXICO" | "MÉXICO" => "MX",
        "PH" | "PHL" | "PHILIPPINES" => "PH",
        "CO" | "COL" | "COLOMBIA" => "CO",
        "CL" | "CHL" | "CHILE" => "CL",
        "VE" | "VEN" | "VENEZUELA" => "VE",
        _ => return None,
    })
}

/// Whether paper there is Letter rather than A4.
pub fn uses_letter(resource: &Value) -> bool {
    let mut addresses = resource["address"].as_array().into_iter().flatten();
    addresses.any(|address| country_code(address).is_some())
}

/// Telephone and address for mail.
pub fn contact(resource: &Value) -> Vec<String> {
    let points = resource["telecom"].as_array().into_iter().flatten();
    let public = points.filter(|point| point["use"] != "home" && point["use"] != "old");
    let wanted = public.filter(|point| matches!(point["system"].as_str(), Some("phone" | "email" | "url")));
    let values = wanted.filter_map(|point| point["value"].as_str());
    values.map(str::to_owned).take(4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_written_as_people_write_them() {
        for (names, expected) in [
            (
                json!([{"family": "Lovelace", "given": ["Ada", "King"]}]),
                "Ada King Lovelace",
            ),
            (
                json!([{"prefix": ["Dr."], "given": ["Dora"], "family": "Bell", "suffix": ["MD"]}]),
                "Dr. Dora Bell MD",
            ),
            (json!([{"family": "王", "given": ["小明"]}]), "王小明"),
            (json!([{"text": "فاطمة الزهراء", "family": "x"}]), "فاطمة الزهراء"),
            (
                json!([{"use": "maiden", "family": "Byron"}, {"use": "official", "family": "King"}]),
                "King",
            ),
        ] {
            assert_eq!(name(&json!({"name": names})).as_deref(), Some(expected));
        }
        assert_eq!(name(&json!({"name": [{"use": "official"}]})), None);
    }

    #[test]
    fn addresses_follow_their_country() {
        let today = "2026-03-01".parse().unwrap();
        let of = |country: &str| {
            let place = json!({"line": ["5 Main St"], "city": "Town", "state": "CA", "postalCode": "90210", "country": country});
            json!({"address": [{"use": "old", "city": "Elsewhere"}, place]})
        };
        assert_eq!(address(&of("USA"), today), ["5 Main St", "Town, CA 90210", "USA"]);
        assert_eq!(address(&of("Germany"), today), ["5 Main St", "90210 Town", "Germany"]);
        assert!(uses_letter(&of("Canada")) && !uses_letter(&of("DE")));
        assert_eq!(
            address(&json!({"address": [{"text": "Here\nand there"}]}), today),
            ["Here", "and there"]
        );
    }
}
