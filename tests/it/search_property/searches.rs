//! Random searches: what is asked, and how it is written as a query.

use std::fmt;

use fastrand::Rng;
use form_urlencoded::Serializer;
use medconsult::knowledge::definitions::{SearchParameter, SearchParameterType as Kind};

use super::matching::{Found, local};
use super::naive::Naive;
use super::resources::{BASE, pick};

/// A search of one type.
#[derive(Clone, Debug)]
pub struct Search {
    pub resource_type: &'static str,
    /// All must be met.
    pub criteria: Vec<Criterion>,
    pub sort: Vec<SortKey>,
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
    /// The values of which one must match.
    pub fn values_mut(&mut self) -> &mut Vec<Asked> {
        match self {
            Criterion::Plain { values, .. } => values,
        }
    }

    /// Its name and value in a query.
    fn pair(&self) -> (String, String) {
        match self {
            Criterion::Plain { code, modifier, values } => {
                let name = modifier
                    .iter()
                    .fold(code.clone(), |name, modifier| format!("{name}:{modifier}"));
                (name, join(values))
            }
        }
    }
}

fn join(values: &[Asked]) -> String {
    values.iter().map(Asked::to_string).collect::<Vec<_>>().join(",")
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
        if self.accurate_total {
            query.append_pair("_total", "accurate");
        }
        query.append_pair("_count", &self.count.to_string());
        write!(f, "{}?{}", self.resource_type, query.finish())
    }
}

/// A search of which most criteria are taken from what is there, as those of clients are.
pub fn random_search(rng: &mut Rng, world: &Naive) -> Search {
    let types = world.types();
    let resource_type = types[rng.usize(0..types.len())];
    let criteria = (0..pick(rng, &[0, 1, 1, 1, 1, 2, 2, 3]))
        .map(|_| criterion(rng, world, resource_type))
        .collect();
    let mut sort: Vec<SortKey> = Vec::new();
    for _ in 0..pick(rng, &[0, 0, 0, 1, 1, 2, 3]) {
        let key = sort_key(rng, world, resource_type);
        sort.extend(key.filter(|key| sort.iter().all(|other| other.code != key.code)));
    }
    Search {
        resource_type,
        criteria,
        sort,
        count: pick(rng, &[1, 2, 3, 5, 7, 10, 50, 1_000]),
        accurate_total: rng.u8(0..4) == 0,
    }
}

fn criterion(rng: &mut Rng, world: &Naive, resource_type: &'static str) -> Criterion {
    let parameters = world.parameters(resource_type);
    // A parameter that finds something in a random resource, or any.
    let example = world.random_resource(rng, resource_type);
    let used: Vec<_> = parameters
        .iter()
        .filter(|parameter| !world.found(example, parameter).is_empty())
        .collect();
    let parameter = match used.len() {
        0 => parameters[rng.usize(0..parameters.len())],
        count if rng.u8(0..6) > 0 => used[rng.usize(0..count)],
        _ => parameters[rng.usize(0..parameters.len())],
    };
    let plain = |modifier: Option<&str>, values| Criterion::Plain {
        code: parameter.code.clone(),
        modifier: modifier.map(str::to_owned),
        values,
    };
    if rng.u8(0..10) == 0 && !matches!(parameter.code.as_str(), "_id" | "_lastUpdated") {
        return plain(Some("missing"), vec![Asked::new([pick(rng, &["true", "false"])])]);
    }
    let modifier = modifier(rng, parameter);
    let count = pick(rng, &[1, 1, 1, 2, 3, 12]);
    let values = (0..count)
        .map(|_| value(rng, world, resource_type, parameter, modifier))
        .collect();
    plain(modifier, values)
}

fn modifier<'p>(rng: &mut Rng, parameter: &'p SearchParameter) -> Option<&'p str> {
    let modifiers: &[&str] = match parameter.kind {
        Kind::String => &["exact", "contains"],
        Kind::Token => &["not"],
        Kind::Reference => &["identifier", ":"],
        _ => &[],
    };
    if modifiers.is_empty() || rng.bool() {
        return None;
    }
    match pick(rng, modifiers) {
        ":" => parameter
            .targets
            .get(rng.usize(0..parameter.targets.len().max(1)))
            .map(String::as_str),
        name => Some(name),
    }
}

/// A value to search for: one that a resource has, whole, in part or a little different.
fn value(
    rng: &mut Rng,
    world: &Naive,
    resource_type: &'static str,
    parameter: &'static SearchParameter,
    modifier: Option<&str>,
) -> Asked {
    // Several attempts: not every resource has one.
    let found = (0..5).find_map(|_| {
        let found = world.found(world.random_resource(rng, resource_type), parameter);
        (!found.is_empty()).then(|| found[rng.usize(0..found.len())].clone())
    });
    let asked = found.and_then(|found| match parameter.kind {
        Kind::String => string(rng, &found, modifier),
        // An id has no system that could be named.
        Kind::Token if parameter.code == "_id" => Some(Asked::new([found.value.as_str()?])),
        Kind::Token => token(rng, &found),
        Kind::Reference if modifier == Some("identifier") => token(rng, &found.identifier()?),
        Kind::Reference => reference(rng, &found, modifier),
        Kind::Date => date(rng, &found),
        Kind::Number | Kind::Quantity => quantity(rng, &found, parameter.kind),
        Kind::Uri => Some(Asked::new([found.value.as_str()?])),
        Kind::Composite | Kind::Special => None,
    });
    asked.unwrap_or_else(|| match parameter.kind {
        Kind::Number => Asked {
            prefix: prefix(rng),
            ..Asked::new(["5"])
        },
        Kind::Quantity => Asked {
            prefix: prefix(rng),
            ..Asked::new(["5", "urn:units", "TAB"])
        },
        Kind::Date => Asked {
            prefix: prefix(rng),
            ..Asked::new(["2013-01"])
        },
        Kind::Reference if modifier == Some("identifier") => Asked::new(["urn:s", "7"]),
        Kind::Reference => Asked::new([pick(rng, &["i1", "Patient/I3", "http://elsewhere.org/fhir/Patient/i1"])]),
        _ => Asked::new([pick(rng, &["ann", "final", "nobody", "http://x.org/a"])]),
    })
}

fn prefix(rng: &mut Rng) -> &'static str {
    pick(rng, &["", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"])
}

fn string(rng: &mut Rng, found: &Found, modifier: Option<&str>) -> Option<Asked> {
    let texts = found.texts();
    let text: Vec<char> = texts.get(rng.usize(0..texts.len().max(1)))?.chars().collect();
    let (start, end) = match modifier {
        Some("exact") => (0, text.len()),
        Some("contains") => (rng.usize(0..text.len()), text.len()),
        _ => (0, 1 + rng.usize(0..text.len())),
    };
    let part: String = text[start..end.max(start + 1)].iter().collect();
    Some(Asked::new([&match rng.u8(0..6) {
        0 => part.to_uppercase(),
        1 => part.to_lowercase(),
        _ => part,
    }]))
}

fn token(rng: &mut Rng, found: &Found) -> Option<Asked> {
    let tokens = found.tokens();
    let (system, code) = tokens.get(rng.usize(0..tokens.len().max(1)))?.clone();
    let code = if rng.u8(0..5) == 0 { code.to_uppercase() } else { code };
    match (code.is_empty(), system.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Asked::new([&system, ""])),
        (false, true) => Some(if rng.bool() {
            Asked::new([&code])
        } else {
            Asked::new(["", &code])
        }),
        (false, false) => Some(match rng.u8(0..8) {
            0 => Asked::new(["", &code]),
            1 => Asked::new([&system, ""]),
            2..=4 => Asked::new([&code]),
            _ => Asked::new([&system, &code]),
        }),
    }
}

fn reference(rng: &mut Rng, found: &Found, modifier: Option<&str>) -> Option<Asked> {
    let literal = found.literal()?;
    let Some((resource_type, id)) = local(literal) else {
        return Some(Asked::new([literal]));
    };
    let whole = format!("{resource_type}/{id}");
    let typed = modifier.is_some() || rng.bool();
    Some(match rng.u8(0..4) {
        0 => Asked::new([&format!("{BASE}/{whole}")]),
        _ if typed => Asked::new([id]),
        _ => Asked::new([&whole]),
    })
}

/// The beginning or end of what is found, perhaps less precisely.
fn date(rng: &mut Rng, found: &Found) -> Option<Asked> {
    let ends = found.dates();
    let text = *ends.get(rng.usize(0..ends.len().max(1)))?;
    let zone = text
        .get(10..)
        .and_then(|time| time.find(['Z', '+', '-']).map(|at| &text[10 + at..]))
        .unwrap_or("");
    let mut precisions = vec![text.to_owned()];
    precisions.extend(
        [4, 7, 10]
            .iter()
            .filter_map(|&length| Some(text.get(..length)?.to_owned())),
    );
    precisions.extend(
        [16, 19]
            .iter()
            .filter_map(|&length| Some(format!("{}{zone}", text.get(..length)?))),
    );
    Some(Asked {
        prefix: prefix(rng),
        parts: vec![precisions[rng.usize(0..precisions.len())].clone()],
    })
}

/// The number that is found, perhaps in other digits, with its unit written in one of several ways.
fn quantity(rng: &mut Rng, found: &Found, kind: Kind) -> Option<Asked> {
    let quantities = found.quantities();
    let one = quantities.get(rng.usize(0..quantities.len().max(1)))?;
    let number = one.as_number().or_else(|| one["value"].as_number())?.to_string();
    let number = match rng.u8(0..8) {
        0 if !number.contains('e') => format!("{number}{}", if number.contains('.') { "0" } else { ".0" }),
        1 if number.contains('.') => number[..number.len() - 1].trim_end_matches('.').to_owned(),
        2 if !number.contains('e') => format!("{number}e0"),
        3 => format!("{number}1"),
        4 => pick(rng, &["5", "5.4", "100", "1e2", "-3", "0.0054"]).to_owned(),
        _ => number,
    };
    let [name, system, code] = ["unit", "system", "code"].map(|name| one[name].as_str().unwrap_or_default().to_owned());
    let mut parts = vec![number];
    if kind == Kind::Quantity {
        parts.extend(match rng.u8(0..6) {
            0 if !code.is_empty() => vec![String::new(), code],
            1 if !name.is_empty() => vec![String::new(), name],
            2 if system == "http://unitsofmeasure.org" => {
                vec![system, pick(rng, &["mg", "g", "kg", "mm[Hg]"]).to_owned()]
            }
            3 | 4 if !system.is_empty() && !code.is_empty() => vec![system, code],
            _ => vec![],
        });
    }
    Some(Asked {
        prefix: prefix(rng),
        parts,
    })
}

/// A key to sort by; `None` where the type has no such parameter.
fn sort_key(rng: &mut Rng, world: &Naive, resource_type: &'static str) -> Option<SortKey> {
    let parameters = world.parameters(resource_type);
    let parameter = parameters[rng.usize(0..parameters.len())];
    let sortable = !matches!(parameter.kind, Kind::Reference | Kind::Composite | Kind::Special);
    sortable.then(|| SortKey {
        code: parameter.code.clone(),
        descending: rng.bool(),
    })
}
