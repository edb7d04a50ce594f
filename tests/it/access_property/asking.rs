//! Random requests, and what is wrong with an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fastrand::Rng;
use serde_json::Value;

use super::callers::{Asker, Filter};
use super::naive::{Naive, name_of, names, patients};
use super::world::{Version, World, letter, random_id, types};

/// A request to read something.
#[derive(Clone, Debug)]
pub enum Ask {
    Read(&'static str, String),
    Vread(&'static str, String, usize),
    History(&'static str, String),
    /// Of a type, or of all.
    Histories(Option<&'static str>),
    Search(&'static str, Option<Filter>),
    Count(&'static str, Option<Filter>),
    Types(BTreeSet<&'static str>),
    /// Of whose targets some condition holds.
    Chain(Link, Filter),
    /// Referred to by something of which some condition holds.
    Has(Link, Filter),
    Include(Link),
    Revinclude(Link),
    Compartment(String, &'static str),
    Everything(String),
}

/// A reference parameter that leads from one type to another.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    from: &'static str,
    code: &'static str,
    path: &'static str,
    to: &'static str,
}

const fn link(from: &'static str, code: &'static str, path: &'static str, to: &'static str) -> Link {
    Link { from, code, path, to }
}

const LINKS: &[Link] = &[
    link("Observation", "subject", "subject", "Patient"),
    link("Observation", "performer", "performer", "Practitioner"),
    link("Condition", "subject", "subject", "Patient"),
    link("Condition", "asserter", "asserter", "Practitioner"),
    link("Communication", "sender", "sender", "Patient"),
    link("Encounter", "subject", "subject", "Patient"),
    link("PractitionerRole", "practitioner", "practitioner", "Practitioner"),
    link("PractitionerRole", "organization", "organization", "Organization"),
    link("Patient", "general-practitioner", "generalPractitioner", "Practitioner"),
    link("Task", "subject", "for", "Patient"),
    link("Provenance", "target", "target", "Observation"),
    link("Schedule", "actor", "actor", "Practitioner"),
];

fn pick<T: Copy>(rng: &mut Rng, among: &[T]) -> T {
    among[rng.usize(0..among.len())]
}

impl Ask {
    pub fn random(rng: &mut Rng, world: &World) -> Ask {
        let version = &world.versions[rng.usize(0..world.versions.len())];
        let (resource_type, id) = (version.resource_type, version.id.clone());
        let ty = pick(rng, &types());
        let link = pick(rng, LINKS);
        let filter = |rng: &mut Rng, ty: &str| (0..9).find_map(|_| Filter::random(rng, ty));
        let simple = Filter::random(rng, ty);
        match rng.u8(0..26) {
            0..=3 => Ask::Read(resource_type, id),
            4..=5 => Ask::Vread(resource_type, id, version.number),
            6..=7 => Ask::History(resource_type, id),
            8 => Ask::Histories(rng.bool().then_some(ty)),
            9..=12 => Ask::Search(ty, simple),
            13 if !WITH_STRANGERS.contains(&ty) => Ask::Count(ty, simple),
            13 => Ask::Search(ty, simple),
            14 => Ask::Types((0..3).map(|_| pick(rng, &types())).collect()),
            15..=17 => filter(rng, link.to).map_or(Ask::Search(ty, None), |filter| Ask::Chain(link, filter)),
            18..=19 => filter(rng, link.from).map_or(Ask::Search(ty, None), |filter| Ask::Has(link, filter)),
            20..=21 if !WITH_STRANGERS.contains(&link.from) => Ask::Include(link),
            20..=21 => Ask::Search(ty, simple),
            22 => Ask::Revinclude(link),
            23..=24 => Ask::Compartment(random_id(rng, "Patient"), pick(rng, COMPARTMENT)),
            _ => Ask::Everything(random_id(rng, "Patient")),
        }
    }
}

/// Types of R4's compartment of a patient: what is in a patient's record, but for tasks.
const COMPARTMENT: &[&str] = &[
    "Observation",
    "Condition",
    "Appointment",
    "Communication",
    "Encounter",
    "Provenance",
    "Basic",
];

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = |filter: &Option<Filter>| {
            filter
                .as_ref()
                .map(|filter| format!("&{}", filter.query))
                .unwrap_or_default()
        };
        match self {
            Ask::Read(ty, id) => write!(f, "{ty}/{id}"),
            Ask::Vread(ty, id, number) => write!(f, "{ty}/{id}/_history/{number}"),
            Ask::History(ty, id) => write!(f, "{ty}/{id}/_history?_count=1000"),
            Ask::Histories(Some(ty)) => write!(f, "{ty}/_history?_count=1000"),
            Ask::Histories(None) => write!(f, "_history?_count=1000"),
            Ask::Search(ty, filter) => write!(f, "{ty}?_count=1000{}", query(filter)),
            Ask::Count(ty, filter) => write!(f, "{ty}?_summary=count{}", query(filter)),
            Ask::Types(types) => {
                let types: Vec<&str> = types.iter().copied().collect();
                write!(f, "?_count=1000&_type={}", types.join(","))
            }
            Ask::Chain(link, filter) => {
                write!(
                    f,
                    "{}?_count=1000&{}:{}.{}",
                    link.from, link.code, link.to, filter.query
                )
            }
            Ask::Has(link, filter) => {
                write!(
                    f,
                    "{}?_count=1000&_has:{}:{}:{}",
                    link.to, link.from, link.code, filter.query
                )
            }
            Ask::Include(link) => write!(f, "{0}?_count=1000&_include={0}:{1}", link.from, link.code),
            Ask::Revinclude(link) => write!(f, "{}?_count=1000&_revinclude={}:{}", link.to, link.from, link.code),
            Ask::Compartment(patient, ty) => write!(f, "Patient/{patient}/{ty}?_count=1000"),
            Ask::Everything(patient) => write!(f, "Patient/{patient}/$everything?_count=1000"),
        }
    }
}

/// `Observation/o1` of all that a Bundle holds in one mode.
fn entries(bundle: &Value, mode: &str) -> BTreeSet<String> {
    let entries = bundle["entry"].as_array().into_iter().flatten();
    let of_mode = entries.filter(|entry| entry["search"]["mode"] == mode);
    of_mode
        .map(|entry| name(&entry["resource"]))
        .filter(|name| is_of_world(name))
        .collect()
}

/// The server stores things by itself: definitions, and a Provenance for each write. Their ids are other ones.
fn is_of_world(name: &str) -> bool {
    types()
        .iter()
        .any(|ty| name.starts_with(&format!("{ty}/{}", letter(ty))))
}

/// Types of which it does.
const WITH_STRANGERS: &[&str] = &["Provenance", "Questionnaire"];

fn name(resource: &Value) -> String {
    let text = |name: &str| resource[name].as_str().unwrap_or("?").to_owned();
    format!("{}/{}", text("resourceType"), text("id"))
}

type Live<'w> = BTreeMap<(&'static str, &'w str), &'w Value>;

fn of_type<'w>(all: &Live<'w>, resource_type: &str) -> Vec<&'w Value> {
    let same = all.iter().filter(|((ty, _), _)| *ty == resource_type);
    same.map(|(_, content)| *content).collect()
}

fn set<'w>(contents: impl IntoIterator<Item = &'w Value>) -> BTreeSet<String> {
    contents.into_iter().map(name).collect()
}

/// What is wrong with the entry of a batch's answer; `None` if nothing is. Counts in `shown` what was rightly shown.
pub fn fault(ask: &Ask, naive: &Naive<'_>, asker: &Asker, answer: &Value, shown: &mut usize) -> Option<String> {
    let status = answer["response"]["status"].as_str().unwrap_or_default();
    let resource = &answer["resource"];
    let visible = naive.visible('s');
    let meets =
        |filter: &Option<Filter>, content: &Value| filter.as_ref().is_none_or(|filter| filter.is_met(asker, content));
    let leads = |link: &Link, from: &Value, to: &Value| {
        let target = name_of(&serde_json::json!({"reference": name(to)}));
        names(from, link.path).into_iter().any(|name| Some(name) == target)
    };
    let mut check = |expected: BTreeSet<String>, found: BTreeSet<String>| {
        *shown += found.len();
        (expected != found).then(|| {
            let missed: Vec<_> = expected.difference(&found).collect();
            let leaked: Vec<_> = found.difference(&expected).collect();
            format!("{status}: missed {missed:?}, leaked {leaked:?}")
        })
    };
    match ask {
        Ask::Read(ty, id) => {
            let current = naive.world.current(ty, id)?;
            let is_there = current.content.as_ref().is_some_and(|content| naive.may('r', content));
            let expected: BTreeSet<String> = is_there.then(|| format!("{ty}/{id}")).into_iter().collect();
            check(expected, one(status, resource))
        }
        Ask::Vread(ty, id, number) => {
            let same = |version: &&Version| version.resource_type == *ty && version.id == *id;
            let version = naive
                .world
                .versions
                .iter()
                .filter(same)
                .find(|version| version.number == *number)?;
            let is_there = version.content.as_ref().is_some_and(|content| naive.may('r', content));
            let expected: BTreeSet<String> = is_there.then(|| format!("{ty}/{id}")).into_iter().collect();
            check(expected, one(status, resource))
        }
        Ask::History(ty, id) => {
            let expected = versions(naive, 'r', |version| version.resource_type == *ty && version.id == *id);
            check(expected, history(resource))
        }
        Ask::Histories(ty) => {
            // What was moved out of the caller's reach, or deleted, need not be among them; its own history tells.
            let is_meant = |version: &Version| ty.is_none_or(|ty| version.resource_type == ty);
            let is_seen = |version: &Version| visible.contains_key(&(version.resource_type, version.id.as_str()));
            let allowed = versions(naive, 's', is_meant);
            let expected = versions(naive, 's', |version| is_meant(version) && is_seen(version));
            let found = history(resource);
            *shown += found.len();
            let missed: Vec<_> = expected.difference(&found).collect();
            let leaked: Vec<_> = found.difference(&allowed).collect();
            (!missed.is_empty() || !leaked.is_empty())
                .then(|| format!("{status}: missed {missed:?}, leaked {leaked:?}"))
        }
        Ask::Search(ty, filter) => {
            let found = of_type(&visible, ty)
                .into_iter()
                .filter(|content| meets(filter, content));
            check(set(found), entries(resource, "match"))
        }
        Ask::Count(ty, filter) => {
            let found = of_type(&visible, ty)
                .into_iter()
                .filter(|content| meets(filter, content))
                .count() as u64;
            let told = resource["total"].as_u64().unwrap_or_default();
            (told != found).then(|| format!("{status}: counted {told} instead of {found}"))
        }
        Ask::Types(types) => {
            let found = visible
                .iter()
                .filter(|((ty, _), _)| types.contains(ty))
                .map(|(_, content)| *content);
            check(set(found), entries(resource, "match"))
        }
        Ask::Chain(link, filter) => {
            let targets: Vec<_> = of_type(&visible, link.to)
                .into_iter()
                .filter(|to| filter.is_met(asker, to))
                .collect();
            let found = of_type(&visible, link.from)
                .into_iter()
                .filter(|from| targets.iter().any(|to| leads(link, from, to)));
            check(set(found), entries(resource, "match"))
        }
        Ask::Has(link, filter) => {
            let sources: Vec<_> = of_type(&visible, link.from)
                .into_iter()
                .filter(|from| filter.is_met(asker, from))
                .collect();
            let found = of_type(&visible, link.to)
                .into_iter()
                .filter(|to| sources.iter().any(|from| leads(link, from, to)));
            check(set(found), entries(resource, "match"))
        }
        Ask::Include(link) => {
            let matches = of_type(&visible, link.from);
            let readable = naive.visible('r');
            let is_named = |to: &Value| matches.iter().any(|from| leads(link, from, to));
            let included = readable.values().copied().filter(|to| is_named(to));
            let fault = check(set(included), entries(resource, "include"));
            fault.or_else(|| check(set(matches.iter().copied()), entries(resource, "match")))
        }
        Ask::Revinclude(link) => {
            let matches = of_type(&visible, link.to);
            let readable = of_type(&naive.visible('r'), link.from);
            let included = readable
                .into_iter()
                .filter(|from| matches.iter().any(|to| leads(link, from, to)));
            let fault = check(set(included), entries(resource, "include"));
            fault.or_else(|| check(set(matches.iter().copied()), entries(resource, "match")))
        }
        Ask::Compartment(patient, ty) => {
            let found = of_type(&visible, ty)
                .into_iter()
                .filter(|content| patients(content).contains(patient));
            check(set(found), entries(resource, "match"))
        }
        Ask::Everything(patient) => {
            let found: BTreeSet<String> = resource["entry"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|entry| name(&entry["resource"]))
                .filter(|name| is_of_world(name))
                .collect();
            let allowed: BTreeSet<String> = set(visible.values().copied().chain(naive.visible('r').into_values()));
            let leaked: Vec<_> = found.difference(&allowed).collect();
            *shown += found.len();
            let owner = naive
                .world
                .current("Patient", patient)
                .and_then(|version| version.content.as_ref());
            let is_open = owner.is_some_and(|owner| naive.may('r', owner) && naive.may('s', owner));
            let both = |content: &&Value| naive.may('r', content) && naive.may('s', content);
            let record = visible
                .values()
                .copied()
                .filter(|content| patients(content).contains(patient))
                .filter(both);
            let expected: BTreeSet<String> = record
                .filter(|content| COMPARTMENT.contains(&content["resourceType"].as_str().unwrap_or_default()))
                .map(name)
                .collect();
            let missed: Vec<_> = expected.difference(&found).filter(|_| is_open).collect();
            (!leaked.is_empty() || !missed.is_empty())
                .then(|| format!("{status}: missed {missed:?}, leaked {leaked:?}"))
        }
    }
}

/// The resource of an answer, if it holds one that was asked for. A refusal must say nothing about what is there.
fn one(status: &str, resource: &Value) -> BTreeSet<String> {
    match status.starts_with("200") || !matches!(resource["resourceType"].as_str(), None | Some("OperationOutcome")) {
        true => [name(resource)].into(),
        false => BTreeSet::new(),
    }
}

/// `Observation/o1/2` of all versions that a caller may see, deletions too.
fn versions(naive: &Naive<'_>, letter: char, is_meant: impl Fn(&Version) -> bool) -> BTreeSet<String> {
    let meant = naive.world.versions.iter().filter(|version| is_meant(version));
    let seen = meant.filter(|version| {
        naive
            .world
            .judged_by(version)
            .is_some_and(|content| naive.may(letter, content))
    });
    seen.map(|version| format!("{}/{}/{}", version.resource_type, version.id, version.number))
        .collect()
}

fn history(bundle: &Value) -> BTreeSet<String> {
    let entries = bundle["entry"].as_array().into_iter().flatten();
    entries
        .map(|entry| {
            let etag = entry["response"]["etag"].as_str().unwrap_or_default();
            let number = etag.trim_start_matches("W/").trim_matches('"');
            let url = entry["request"]["url"].as_str().unwrap_or_default();
            let known = match entry["resource"].is_object() {
                true => name(&entry["resource"]),
                false => url.split("/_history").next().unwrap_or_default().to_owned(),
            };
            format!("{known}/{number}")
        })
        // Ids tell our own from what the server stored by itself.
        .filter(|known| {
            types()
                .iter()
                .any(|ty| known.starts_with(&format!("{ty}/{}", letter(ty))))
        })
        .collect()
}
