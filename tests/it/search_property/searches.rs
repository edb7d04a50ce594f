//! Searches: what is asked, and how it is written as a query.

use std::fmt;

use form_urlencoded::Serializer;
use serde_json::json;

/// A search of one type.
#[derive(Clone, Debug)]
pub struct Search {
    pub resource_type: &'static str,
    /// All must be met.
    pub criteria: Vec<Criterion>,
    pub sort: Vec<SortKey>,
    pub includes: Vec<Include>,
    pub count: usize,
    pub accurate_total: bool,
}

/// One parameter of a search.
#[derive(Clone, Debug)]
pub enum Criterion {
    /// `code:modifier=value,value`
    Plain {
        code: String,
        modifier: Option<String>,
        /// One of them must match.
        values: Vec<Asked>,
    },
    /// `code=part$part,part$part`
    Composite { code: String, values: Vec<Vec<Asked>> },
    /// `code.…` or `code:Type.…`
    Chain {
        code: String,
        target: Option<&'static str>,
        rest: Box<Criterion>,
    },
    /// `_has:Source:code:…`
    Has {
        source: &'static str,
        code: String,
        rest: Box<Criterion>,
    },
    /// `_filter=…`
    Filter(Filter),
}

/// <https://hl7.org/fhir/R4/search_filter.html>
#[derive(Clone, Debug)]
pub enum Filter {
    Compare {
        code: String,
        operator: &'static str,
        value: Asked,
        /// A text is written as it is, without the escapes of a query.
        is_text: bool,
    },
    Not(Box<Filter>),
    /// From left to right; `true` is `and`, `false` is `or`.
    Sequence(Box<Filter>, Vec<(bool, Filter)>),
}

/// A searched value: `ge2013`, `urn:s|x`, `5.4||mg`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub prefix: &'static str,
    /// What stands between bars, not escaped.
    pub parts: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct SortKey {
    pub code: String,
    pub descending: bool,
}

/// `_include=Source:code`, or `_revinclude`
#[derive(Clone, Debug)]
pub struct Include {
    pub source: &'static str,
    pub code: String,
    pub reverse: bool,
}

impl Asked {
    pub fn new<const N: usize>(parts: [&str; N]) -> Asked {
        Asked {
            prefix: "",
            parts: parts.map(str::to_owned).to_vec(),
        }
    }

    /// The only part of a value without bars.
    pub fn text(&self) -> &str {
        &self.parts[0]
    }
}

/// <https://hl7.org/fhir/R4/search.html#escaping>
impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix)?;
        for (n, part) in self.parts.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { "|" })?;
            for c in part.chars() {
                if matches!(c, '\\' | ',' | '|' | '$') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

impl Criterion {
    /// The values of which one must match, where there is a list of them.
    pub fn values_mut(&mut self) -> Option<&mut Vec<Asked>> {
        match self {
            Criterion::Plain { values, .. } => Some(values),
            Criterion::Chain { rest, .. } | Criterion::Has { rest, .. } => rest.values_mut(),
            Criterion::Composite { .. } | Criterion::Filter(_) => None,
        }
    }

    /// Its name and value in a query.
    fn pair(&self) -> (String, String) {
        match self {
            Criterion::Plain { code, modifier, values } => (with_suffix(code, modifier.as_deref()), join(values, ",")),
            Criterion::Composite { code, values } => {
                let values: Vec<String> = values.iter().map(|parts| join(parts, "$")).collect();
                (code.clone(), values.join(","))
            }
            Criterion::Chain { code, target, rest } => {
                let (name, value) = rest.pair();
                (format!("{}.{name}", with_suffix(code, *target)), value)
            }
            Criterion::Has { source, code, rest } => {
                let (name, value) = rest.pair();
                (format!("_has:{source}:{code}:{name}"), value)
            }
            Criterion::Filter(filter) => ("_filter".to_owned(), filter.to_string()),
        }
    }
}

fn with_suffix(code: &str, suffix: Option<&str>) -> String {
    suffix.map_or_else(|| code.to_owned(), |suffix| format!("{code}:{suffix}"))
}

fn join(values: &[Asked], separator: &str) -> String {
    values.iter().map(Asked::to_string).collect::<Vec<_>>().join(separator)
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::Compare {
                code,
                operator,
                value,
                is_text,
            } => {
                let value = if *is_text {
                    value.text().to_owned()
                } else {
                    value.to_string()
                };
                write!(f, "{code} {operator} {}", json!(value))
            }
            Filter::Not(filter) => write!(f, "not({filter})"),
            Filter::Sequence(first, others) => {
                write!(f, "({first})")?;
                others
                    .iter()
                    .try_for_each(|(and, filter)| write!(f, " {} ({filter})", if *and { "and" } else { "or" }))
            }
        }
    }
}

/// As a client sends it: `Patient?name=x`, percent-encoded.
impl fmt::Display for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.criteria.iter().map(Criterion::pair));
        if !self.sort.is_empty() {
            let sign = |key: &SortKey| if key.descending { "-" } else { "" };
            let keys: Vec<String> = self
                .sort
                .iter()
                .map(|key| format!("{}{}", sign(key), key.code))
                .collect();
            query.append_pair("_sort", &keys.join(","));
        }
        for Include { source, code, reverse } in &self.includes {
            query.append_pair(
                if *reverse { "_revinclude" } else { "_include" },
                &format!("{source}:{code}"),
            );
        }
        if self.accurate_total {
            query.append_pair("_total", "accurate");
        }
        query.append_pair("_count", &self.count.to_string());
        write!(f, "{}?{}", self.resource_type, query.finish())
    }
}
