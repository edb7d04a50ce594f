//! The JSON files of this folder, with names and dates filled in.
//!
//! | in a file | |
//! |---|---|
//! | `{{nora}}` | what stands for that person: `Patient/…`; `{{nora.id}}` without the type |
//! | `{{referral.pdf}}` | what is in that file, in base64 |
//! | `{{-30}}` | the date of 30 days ago |
//! | `{{-30 09:15}}` | an instant of that day |

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

/// Reads a file that holds a list of resources.
///
/// # Errors
/// A name that nobody has, a date that is none, JSON that is none.
pub fn resources(text: &str, names: &BTreeMap<String, String>, now: Timestamp) -> Result<Vec<Value>> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (word, after) = after.split_once("}}").context("a {{ that does not end")?;
        filled.push_str(before);
        match names.get(word) {
            Some(reference) => filled.push_str(reference),
            None => filled
                .push_str(&moment(word, now).with_context(|| format!("{{{{{word}}}}} is neither a name nor a time"))?),
        }
        rest = after;
    }
    filled.push_str(rest);
    serde_json::from_str(&filled).context("a file of the demo is no list")
}

/// `-30` or `-30 09:15`.
fn moment(word: &str, now: Timestamp) -> Result<String> {
    let (days, time) = match word.split_once(' ') {
        Some((days, time)) => (days, Some(time.parse::<Time>()?)),
        None => (word, None),
    };
    let day = now
        .to_zoned(TimeZone::UTC)
        .date()
        .checked_add(days.parse::<i32>()?.days())?;
    Ok(match time {
        None => day.to_string(),
        Some(time) => format!("{}Z", day.to_datetime(time)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_dates_are_filled_in() {
        let now = "2026-03-01T20:00:00Z".parse().unwrap();
        let names = BTreeMap::from([("nora".to_owned(), "Patient/7".to_owned())]);
        let text = r#"[{"subject": "{{nora}}", "date": "{{-1}}", "at": "{{0 09:15}}"}]"#;
        let read = resources(text, &names, now).unwrap();
        assert_eq!(
            read[0],
            serde_json::json!({"subject": "Patient/7", "date": "2026-02-28", "at": "2026-03-01T09:15:00Z"})
        );
        assert!(resources(r#"["{{nobody}}"]"#, &names, now).is_err());
        assert!(resources(r#"["{{0"]"#, &names, now).is_err());
    }
}
