mod expressions;
mod invariants;

use serde_json::Value;

use super::values::DateTime;
use super::{Element, Environment, Item};
use crate::knowledge::definitions::Definitions;

/// The environment of every test: it is always the same moment.
fn environment<'a>() -> Environment<'a> {
    Environment::new(DateTime::parse("2026-03-01T10:15:30.500+01:00").expect("a moment"))
}

/// An item's type as tests write it, and its value as text.
fn describe(item: &Item<'_>, definitions: &'static Definitions) -> (String, String) {
    let text = |name: &str, value: &dyn ToString| (name.to_owned(), value.to_string());
    match item {
        Item::Boolean(value) => text("boolean", value),
        Item::Integer(value) => text("integer", value),
        Item::Decimal(value) => text("decimal", value),
        Item::String(value) => text("string", value),
        Item::Date(value) => text("date", &format!("@{value}")),
        Item::DateTime(value) => text("dateTime", &format!("@{value}")),
        Item::Time(value) => text("time", &format!("@T{value}")),
        Item::Quantity(value) => text("Quantity", value),
        Item::Type(value) => text("TypeInfo", value),
        Item::Element(Element { value, type_id, .. }) => {
            let name = definitions.get(*type_id).name.as_str();
            match value {
                Value::String(value) if matches!(name, "date" | "dateTime") => text(name, &format!("@{value}")),
                Value::String(value) => text(name, value),
                value => text(name, value),
            }
        }
    }
}
