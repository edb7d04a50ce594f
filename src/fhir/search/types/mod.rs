//! The types of search parameter (<https://hl7.org/fhir/R4/search.html#ptypes>).
//!
//! A file per type holds both sides of a match: which index rows a value makes (`index`, `Row`, `Columns`) and which
//! SQL over those rows a searched value becomes (`parse`, `Match`, `branches`). They only make sense together. The rows of
//! `concept` are those of `token`.

pub mod composite;
pub mod concept;
pub mod date;
pub mod quantity;
pub mod reference;
pub mod string;
pub mod token;
pub mod uri;

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::sql::{Alias, Sql};

/// How a value compares with the searched one (<https://hl7.org/fhir/R4/search.html#prefix>).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Prefix {
    Eq,
    Ne,
    Gt,
    Lt,
    Ge,
    Le,
    /// Starts after.
    Sa,
    /// Ends before.
    Eb,
    /// Approximately.
    Ap,
}

impl Prefix {
    /// Splits `ge2013` into (`Ge`, `2013`); a value without prefix means `Eq`.
    pub fn split(text: &str) -> (Prefix, &str) {
        let prefix = match text.get(..2) {
            Some("eq") => Prefix::Eq,
            Some("ne") => Prefix::Ne,
            Some("gt") => Prefix::Gt,
            Some("lt") => Prefix::Lt,
            Some("ge") => Prefix::Ge,
            Some("le") => Prefix::Le,
            Some("sa") => Prefix::Sa,
            Some("eb") => Prefix::Eb,
            Some("ap") => Prefix::Ap,
            _ => return (Prefix::Eq, text),
        };
        (prefix, &text[2..])
    }
}

/// One way to match, over the rows of one index table. A criterion matches a resource when any of its branches does.
///
/// Each branch becomes a scan of its own, so that an equality keeps the order of its index (see `plan`).
pub struct Branch<'m> {
    /// Further tables that the condition reads, written after the index table: `", unnest($1) AS v(low)"`.
    pub joins: Option<Writer<'m>>,
    /// The condition, over the columns of the index table's alias.
    pub condition: Writer<'m>,
    /// Whether an index has the rows of the condition in order of rid, as those of an equality. Then one plan is the best,
    /// whatever the value.
    pub is_ordered: bool,
}

/// Writes a piece of SQL for the given alias of the index table.
pub type Writer<'m> = Box<dyn Fn(&mut Sql, Alias) + Send + Sync + 'm>;

impl<'m> Branch<'m> {
    pub fn new(condition: impl Fn(&mut Sql, Alias) + Send + Sync + 'm) -> Branch<'m> {
        Branch {
            joins: None,
            condition: Box::new(condition),
            is_ordered: false,
        }
    }

    /// One whose rows an index has in order of rid: it says what the leading columns of that index equal.
    pub fn ordered(condition: impl Fn(&mut Sql, Alias) + Send + Sync + 'm) -> Branch<'m> {
        Branch {
            is_ordered: true,
            ..Branch::new(condition)
        }
    }
}

/// Up to this many values of an OR list are matched by a scan each; a longer list is matched as one array.
pub const MAX_BRANCHES: usize = 8;

/// Longest text, in bytes, that goes into an index as it is. A btree of Postgres refuses entries over 2,704 bytes.
const MAX_KEY: usize = 1_000;

/// Text as it stands in an index: itself, or when it is too long for one, its start and a digest of the whole. Equal
/// texts give equal keys, which is all that an equality needs.
pub fn key(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.len() <= MAX_KEY {
        return text;
    }
    let start = &text[..text.floor_char_boundary(MAX_KEY - 64)];
    let mut key = String::with_capacity(MAX_KEY);
    key.push_str(start);
    for byte in Sha256::digest(text.as_bytes()) {
        key.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        key.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    Cow::Owned(key)
}

/// Splits at each `separator` that no backslash escapes (<https://hl7.org/fhir/R4/search.html#escaping>). The parts
/// still hold their escapes.
pub fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == separator {
            parts.push(&text[start..at]);
            start = at + c.len_utf8();
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Takes the backslash off `\,`, `\|`, `\$` and `\\`; any other backslash stands for itself.
pub fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(&next @ (',' | '|' | '$' | '\\'))) => {
                plain.push(next);
                chars.next();
            }
            _ => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_hide_separators() {
        assert_eq!(split(r"a\,b,c", ','), [r"a\,b", "c"]);
        assert_eq!(split(r"a\\,b", ','), [r"a\\", "b"]);
        assert_eq!(split("|x", '|'), ["", "x"]);
        assert_eq!(unescape(r"a\,b\|c\$d\\e\f"), r"a,b|c$d\e\f");
    }

    #[test]
    fn a_prefix_is_split_off_only_when_it_is_one() {
        assert_eq!(Prefix::split("ge2013-01"), (Prefix::Ge, "2013-01"));
        assert_eq!(Prefix::split("2013"), (Prefix::Eq, "2013"));
        assert_eq!(Prefix::split("zz2013"), (Prefix::Eq, "zz2013"));
        assert_eq!(Prefix::split("é"), (Prefix::Eq, "é"));
    }

    #[test]
    fn long_texts_keep_their_identity_in_a_key() {
        let long = "é".repeat(5_000);
        let longer = format!("{long}x");
        assert!(key(Cow::Borrowed(long.as_str())).len() <= MAX_KEY);
        assert_eq!(key(Cow::Borrowed(long.as_str())), key(Cow::Borrowed(long.as_str())));
        assert_ne!(key(Cow::Borrowed(long.as_str())), key(Cow::Borrowed(longer.as_str())));
        assert_eq!(key(Cow::Borrowed("short")), "short");
    }
}
