//! Random searches, most of whose values are taken from what is there, as those of clients are.

use fastrand::Rng;
use medconsult::knowledge::definitions::{SearchParameter, SearchParameterType as Kind};

use super::matching::{Found, local};
use super::naive::Naive;
use super::resources::{BASE, pick};
use super::searches::{Asked, Criterion, Filter, Include, Search, SortKey};

pub fn random_search(rng: &mut Rng, world: &Naive) -> Search {
    let resource_type = pick(rng, &world.types());
    let criteria = (0..pick(rng, &[0, 1, 1, 1, 1, 2, 2, 3]))
        .map(|_| criterion(rng, world, resource_type, 0))
        .collect();
    let mut sort: Vec<SortKey> = Vec::new();
    for _ in 0..pick(rng, &[0, 0, 0, 1, 1, 2, 3]) {
        let key = sort_key(rng, world, resource_type);
        sort.extend(key.filter(|key| sort.iter().all(|other| other.code != key.code)));
    }
    let count = pick(rng, &[1, 2, 3, 5, 7, 10, 50, 1_000]);
    // What a page includes depends on where it ends, so that it is only looked at where there is but one.
    let includes = if count < 1_000 { 0 } else { rng.usize(0..3) };
    Search {
        resource_type,
        criteria,
        sort,
        includes: (0..includes)
            .filter_map(|_| include(rng, world, resource_type))
            .collect(),
        count,
        accurate_total: rng.u8(0..4) == 0,
    }
}

/// A criterion on resources of a type, which stands behind `depth` links of a chain.
fn criterion(rng: &mut Rng, world: &Naive, resource_type: &'static str, depth: usize) -> Criterion {
    let special = match rng.u8(0..20) {
        0..=2 if depth < 2 => chain(rng, world, resource_type, depth),
        3..=4 if depth < 2 => has(rng, world, resource_type, depth),
        5..=6 if depth == 0 => Some(Criterion::Filter(filter(rng, world, resource_type, 0))),
        7..=8 => composite(rng, world, resource_type),
        _ => None,
    };
    special.unwrap_or_else(|| plain(rng, world, resource_type))
}

/// A parameter, of those that find something in a random resource if there are any.
fn parameter(rng: &mut Rng, world: &Naive, resource_type: &'static str) -> &'static SearchParameter {
    let parameters = world.parameters(resource_type);
    let example = world.random_resource(rng, resource_type);
    let used: Vec<_> = parameters
        .iter()
        .copied()
        .filter(|parameter| !world.found(example, parameter).is_empty())
        .collect();
    if used.is_empty() || rng.u8(0..6) == 0 {
        pick(rng, parameters)
    } else {
        pick(rng, &used)
    }
}

fn plain(rng: &mut Rng, world: &Naive, resource_type: &'static str) -> Criterion {
    let parameter = parameter(rng, world, resource_type);
    let plain = |modifier: Option<&str>, values| Criterion::Plain {
        code: parameter.code.clone(),
        modifier: modifier.map(str::to_owned),
        values,
    };
    if rng.u8(0..10) == 0 && !matches!(parameter.code.as_str(), "_id" | "_lastUpdated") {
        return plain(Some("missing"), vec![Asked::new([pick(rng, &["true", "false"])])]);
    }
    let modifier = modifier(rng, world, resource_type, parameter);
    let count = pick(rng, &[1, 1, 1, 2, 3, 12]);
    let values = (0..count)
        .map(|_| value(rng, world, resource_type, parameter, modifier))
        .collect();
    plain(modifier, values)
}

/// `subject.name=x`, with or without the type of the subject.
fn chain(rng: &mut Rng, world: &Naive, resource_type: &'static str, depth: usize) -> Option<Criterion> {
    let link = reference_parameter(rng, world, resource_type)?;
    let targets: Vec<&'static str> = world
        .types()
        .into_iter()
        .filter(|ty| link.targets.iter().any(|target| target == ty))
        .collect();
    if targets.is_empty() {
        return None;
    }
    let target = pick(rng, &targets);
    let rest = criterion(rng, world, target, depth + 1);
    // Where the type is left out, what follows must mean the same for all types that have it.
    let alike = |code: &str| {
        let kind_in = |ty: &str| world.parameter_of(ty, code).map(|parameter| parameter.kind);
        link.targets
            .iter()
            .all(|ty| kind_in(ty).is_none_or(|kind| Some(kind) == kind_in(target)))
    };
    let is_general = match &rest {
        Criterion::Plain { code, modifier, .. } => {
            let modifiers = [None, Some("missing"), Some("not"), Some("exact"), Some("contains")];
            modifiers.contains(&modifier.as_deref()) && alike(code)
        }
        _ => false,
    };
    let target = (!is_general || rng.bool()).then_some(target);
    Some(Criterion::Chain {
        code: link.code.clone(),
        target,
        rest: Box::new(rest),
    })
}

/// `_has:Observation:subject:code=x`
fn has(rng: &mut Rng, world: &Naive, resource_type: &'static str, depth: usize) -> Option<Criterion> {
    let source = pick(rng, &world.types());
    let link = reference_parameter(rng, world, source)?;
    let leads_here = link.targets.iter().any(|target| target == resource_type);
    leads_here.then(|| Criterion::Has {
        source,
        code: link.code.clone(),
        rest: Box::new(criterion(rng, world, source, depth + 1)),
    })
}

/// A parameter that finds a Reference in some resource of the type.
fn reference_parameter(rng: &mut Rng, world: &Naive, resource_type: &'static str) -> Option<&'static SearchParameter> {
    let example = world.random_resource(rng, resource_type);
    let is_reference = |parameter: &&'static SearchParameter| {
        let found = world.found(example, parameter);
        parameter.kind == Kind::Reference && found.iter().any(|found| found.type_name == "Reference")
    };
    let references: Vec<_> = world
        .parameters(resource_type)
        .iter()
        .copied()
        .filter(is_reference)
        .collect();
    (!references.is_empty()).then(|| pick(rng, &references))
}

fn composite(rng: &mut Rng, world: &Naive, resource_type: &'static str) -> Option<Criterion> {
    let composites = world.composites(resource_type);
    if composites.is_empty() {
        return None;
    }
    let composite = pick(rng, composites);
    let components = world.components(composite);
    let value = |rng: &mut Rng| {
        // Several attempts: not every resource has a place with all parts.
        let complete = (0..8).find_map(|_| {
            let instances = world.instances(world.random_resource(rng, resource_type), composite);
            instances
                .into_iter()
                .find(|instance| instance.iter().all(|found| !found.is_empty()))
        });
        let part = |(n, component): (usize, &&'static SearchParameter)| {
            let found = complete
                .as_ref()
                .map(|instance| pick(rng, &instance[n].iter().collect::<Vec<_>>()));
            let asked = found.and_then(|found| value_of(rng, found, component, None));
            // The text of a part needs a letter or a digit.
            let has_letter = |asked: &Asked| asked.text().chars().any(char::is_alphanumeric);
            let asked = asked.filter(|asked| component.kind != Kind::String || has_letter(asked));
            asked.unwrap_or_else(|| other_value(rng, component, None))
        };
        components.iter().enumerate().map(part).collect()
    };
    let values: Vec<Vec<Asked>> = (0..pick(rng, &[1, 1, 2])).map(|_| value(rng)).collect();
    Some(Criterion::Composite {
        code: composite.code.clone(),
        values,
    })
}

fn filter(rng: &mut Rng, world: &Naive, resource_type: &'static str, depth: usize) -> Filter {
    match rng.u8(0..6) {
        0 if depth < 3 => Filter::Not(Box::new(filter(rng, world, resource_type, depth + 1))),
        1 | 2 if depth < 2 => {
            let first = filter(rng, world, resource_type, depth + 1);
            let others = (0..rng.usize(1..3)).map(|_| (rng.bool(), filter(rng, world, resource_type, depth + 1)));
            Filter::Sequence(Box::new(first), others.collect())
        }
        _ => comparison(rng, world, resource_type),
    }
}

fn comparison(rng: &mut Rng, world: &Naive, resource_type: &'static str) -> Filter {
    let parameter = parameter(rng, world, resource_type);
    let operators: &[&'static str] = match parameter.kind {
        _ if parameter.code == "_id" => &["eq", "ne"],
        Kind::String | Kind::Token => &["eq", "ne", "co", "sw", "ew", "pr"],
        // Without `ne`: the index has a canonical with its version twice, and one of the two always differs.
        Kind::Reference => &["eq", "re", "pr"],
        Kind::Uri => &["eq", "co", "sw", "ew", "pr"],
        Kind::Date => &["eq", "ne", "gt", "lt", "ge", "le", "ap", "sa", "eb", "po"],
        _ => &["eq", "ne", "gt", "lt", "ge", "le", "ap", "sa", "eb"],
    };
    let operator = pick(rng, operators);
    let modifier = (parameter.kind == Kind::String).then_some("contains");
    let mut value = value(rng, world, resource_type, parameter, modifier);
    value.prefix = "";
    if operator == "pr" {
        value = Asked::new([pick(rng, &["true", "false"])]);
    } else if parameter.kind == Kind::Token && matches!(operator, "co" | "sw" | "ew") {
        // A part of a code, without its system.
        let code = value
            .parts
            .iter()
            .rfind(|part| !part.is_empty())
            .cloned()
            .unwrap_or_default();
        let start = rng.usize(0..code.chars().count().max(1));
        value = Asked::new([&code.chars().skip(start).collect::<String>()]);
    }
    let is_text = matches!(parameter.kind, Kind::String) || matches!(operator, "co" | "sw" | "ew");
    Filter::Compare {
        code: parameter.code.clone(),
        operator,
        value,
        is_text,
    }
}

fn include(rng: &mut Rng, world: &Naive, resource_type: &'static str) -> Option<Include> {
    let reverse = rng.bool();
    let source = if reverse {
        pick(rng, &world.types())
    } else {
        resource_type
    };
    let link = reference_parameter(rng, world, source)?;
    let leads_here = link.targets.iter().any(|target| target == resource_type);
    (!reverse || leads_here).then(|| Include {
        source,
        code: link.code.clone(),
        reverse,
    })
}

fn modifier(
    rng: &mut Rng,
    world: &Naive,
    resource_type: &'static str,
    parameter: &'static SearchParameter,
) -> Option<&'static str> {
    let modifiers: &[&str] = match parameter.kind {
        _ if parameter.code == "_id" => &["not"],
        Kind::String => &["exact", "contains"],
        Kind::Token if world.finds(resource_type, parameter, &["Identifier"]) => &["not", "text", "of-type"],
        Kind::Token if world.finds(resource_type, parameter, &["Coding", "CodeableConcept"]) => &["not", "text"],
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
    let asked = found.and_then(|found| value_of(rng, &found, parameter, modifier));
    asked.unwrap_or_else(|| other_value(rng, parameter, modifier))
}

/// A value that this one meets, or nearly.
fn value_of(rng: &mut Rng, found: &Found, parameter: &SearchParameter, modifier: Option<&str>) -> Option<Asked> {
    match (parameter.kind, modifier) {
        (Kind::String, _) => string(rng, &found.texts(), modifier),
        // An id has no system that could be named.
        (Kind::Token, _) if parameter.code == "_id" => Some(Asked::new([found.value.as_str()?])),
        (Kind::Token, Some("text")) => string(rng, &found.labels(), None),
        (Kind::Token, Some("of-type")) => of_type(rng, found),
        (Kind::Token, _) => token(rng, found),
        (Kind::Reference, Some("identifier")) => token(rng, &found.identifier()?),
        (Kind::Reference, _) => reference(rng, found, parameter, modifier),
        (Kind::Date, _) => date(rng, found),
        (Kind::Number | Kind::Quantity, _) => quantity(rng, found, parameter.kind),
        (Kind::Uri, _) => Some(Asked::new([found.value.as_str()?])),
        (Kind::Composite | Kind::Special, _) => None,
    }
}

/// A value that may be met by nothing.
fn other_value(rng: &mut Rng, parameter: &SearchParameter, modifier: Option<&str>) -> Asked {
    let with_prefix = |rng: &mut Rng, asked: Asked| Asked {
        prefix: prefix(rng),
        ..asked
    };
    match parameter.kind {
        Kind::Number => with_prefix(rng, Asked::new(["5"])),
        Kind::Quantity => with_prefix(rng, Asked::new(["5", "urn:units", "TAB"])),
        Kind::Date => with_prefix(rng, Asked::new(["2013-01"])),
        Kind::Reference if modifier == Some("identifier") => Asked::new(["urn:s", "7"]),
        Kind::Reference if parameter.targets.is_empty() => Asked::new(["Patient/I3"]),
        Kind::Reference => Asked::new([pick(rng, &["i1", "Patient/I3", "http://elsewhere.org/fhir/Patient/i1"])]),
        Kind::Token if modifier == Some("of-type") => Asked::new(["urn:s", "a", "7"]),
        _ => Asked::new([pick(rng, &["ann", "final", "nobody", "http://x.org/a"])]),
    }
}

fn prefix(rng: &mut Rng) -> &'static str {
    pick(rng, &["", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"])
}

fn string(rng: &mut Rng, texts: &[&str], modifier: Option<&str>) -> Option<Asked> {
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

/// `system|code|value` or `code|value`, of an Identifier with a type.
fn of_type(rng: &mut Rng, found: &Found) -> Option<Asked> {
    let types = found.types_of_identifier();
    let (system, code) = types.get(rng.usize(0..types.len().max(1)))?;
    let value = found.value["value"].as_str()?;
    Some(if rng.bool() {
        Asked::new([system, code, value])
    } else {
        Asked::new([code, value])
    })
}

fn reference(rng: &mut Rng, found: &Found, parameter: &SearchParameter, modifier: Option<&str>) -> Option<Asked> {
    let literal = found.literal()?;
    let Some((resource_type, id)) = local(literal) else {
        return Some(Asked::new([literal]));
    };
    let whole = format!("{resource_type}/{id}");
    // An id alone says enough where the parameter names the types that it can be of.
    let typed = modifier.is_some() || !parameter.targets.is_empty() && rng.bool();
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
