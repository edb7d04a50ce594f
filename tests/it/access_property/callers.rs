//! Random people and back ends with random tokens, and policies to judge them by.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fastrand::Rng;
use medconsult::fhir::access::policy::BUILT_IN;
use serde_json::{Value, json};

use super::naive::{at, is_member, name_of};
use super::world::{PATIENTS, letter, random_id, types};

/// Whoever asks.
#[derive(Clone, Debug)]
pub struct Asker {
    /// As policies call it.
    pub role: &'static str,
    /// `Practitioner/…`; `None` for a back end.
    pub user: Option<String>,
    pub person: String,
    /// Of the launch.
    pub patient: Option<String>,
    pub scopes: Vec<Scope>,
    /// Ids of Patients for whom the user broke the glass.
    pub broken_glass: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub struct Scope {
    /// `p`atient, `u`ser or `s`ystem.
    pub context: char,
    pub resource_type: Option<&'static str>,
    pub letters: String,
    pub filter: Option<Filter>,
}

/// A search that a resource must match: a code, a reference or an id at one place.
#[derive(Clone, Debug)]
pub struct Filter {
    pub query: String,
    path: &'static str,
    value: String,
    negated: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    All,
    Own,
    CaredFor,
    BreakGlass,
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub letters: String,
    pub types: BTreeSet<String>,
    pub reach: Reach,
    pub filter: Option<Filter>,
}

/// Policies of all roles, as the server reads them and as they are read here.
#[derive(Debug)]
pub struct Policy {
    pub text: String,
    pub rules: BTreeMap<String, Vec<Rule>>,
}

fn pick<T: Clone>(rng: &mut Rng, among: &[T]) -> T {
    among[rng.usize(0..among.len())].clone()
}

impl Asker {
    pub fn random(rng: &mut Rng) -> Asker {
        let role = pick(
            rng,
            &[
                "patient",
                "patient",
                "practitioner",
                "practitioner",
                "practitioner",
                "admin",
                "system",
            ],
        );
        let user_type = match role {
            "patient" => Some("Patient"),
            "system" => None,
            _ => Some("Practitioner"),
        };
        let user = user_type.map(|ty| format!("{ty}/{}", random_id(rng, ty)));
        let patient = |rng: &mut Rng| format!("{}{}", letter("Patient"), rng.usize(0..PATIENTS));
        let broken = user_type == Some("Practitioner") && rng.u8(0..3) == 0;
        Asker {
            role,
            person: random_id(rng, "Person"),
            patient: (rng.u8(0..4) > 0).then(|| patient(rng)),
            scopes: (0..1 + rng.usize(0..4))
                .map(|_| Scope::random(rng, user.is_some()))
                .collect(),
            broken_glass: if broken { [patient(rng)].into() } else { BTreeSet::new() },
            user,
        }
    }

    pub fn is_user(&self) -> bool {
        self.user.is_some()
    }

    pub fn user_and_person(&self) -> Option<((String, String), String)> {
        let (ty, id) = self.user.as_ref()?.split_once('/')?;
        Some(((ty.to_owned(), id.to_owned()), self.person.clone()))
    }
}

impl Scope {
    fn random(rng: &mut Rng, of_user: bool) -> Scope {
        let usual = if of_user { 'u' } else { 's' };
        let context = pick(rng, &[usual, usual, usual, 'p', 'p', 's', 'u']);
        let resource_type = (rng.u8(0..5) < 2).then(|| pick(rng, &types()));
        let letters = pick(rng, &["cruds", "rs", "rs", "rs", "r", "s", "cud"]);
        let filter = resource_type
            .filter(|_| rng.bool())
            .and_then(|ty| Filter::random(rng, ty));
        Scope {
            context,
            resource_type,
            letters: letters.to_owned(),
            filter,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filter = self
            .filter
            .as_ref()
            .map(|filter| format!("?{}", filter.query))
            .unwrap_or_default();
        write!(
            f,
            "{}/{}.{}{filter}",
            self.context,
            self.resource_type.unwrap_or("*"),
            self.letters
        )
    }
}

/// Where a parameter looks, by code.
fn path_of(resource_type: &str, code: &str) -> &'static str {
    match (resource_type, code) {
        (_, "status") => "status",
        (_, "active") => "active",
        (_, "category") => "category.coding.code",
        (_, "code") => "code.coding.code",
        (_, "performer") => "performer",
        (_, "subject") if resource_type == "Task" => "for",
        (_, "subject") => "subject",
        (_, "author") => "author",
        (_, "sender") => "sender",
        (_, "owner") => "owner",
        (_, "requester") => "requester",
        (_, "actor") => "actor",
        (_, "asserter") => "asserter",
        (_, "practitioner") => "practitioner",
        (_, "organization") => "organization",
        (_, "target") => "target",
        (_, "general-practitioner") => "generalPractitioner",
        ("Patient", "family") => "name.family",
        (_, "name") => "name",
        (_, "_id") => "id",
        _ => panic!("{code} of {resource_type} has no naive reading"),
    }
}

impl Filter {
    /// `code=value` or `code:not=value`, where the value may stand for the user.
    pub fn read(resource_type: &str, query: &str) -> Filter {
        let (name, value) = query.split_once('=').unwrap();
        let (code, negated) = match name.strip_suffix(":not") {
            Some(code) => (code, true),
            None => (name, false),
        };
        Filter {
            query: query.to_owned(),
            path: path_of(resource_type, code),
            value: value.to_owned(),
            negated,
        }
    }

    /// One that means something for a type.
    pub fn random(rng: &mut Rng, resource_type: &str) -> Option<Filter> {
        let queries: &[&str] = match resource_type {
            "Observation" => &[
                "status=final",
                "status:not=final",
                "category=laboratory",
                "category:not=laboratory",
                "code=a",
            ],
            "Communication" | "QuestionnaireResponse" | "Task" => &["status=completed", "status:not=completed"],
            "Appointment" => &["status=booked"],
            "Encounter" => &["status=finished"],
            "Condition" => &["code=b", "code:not=b"],
            "Patient" => &["family=Lind", "active=true"],
            "Practitioner" => &["active=true"],
            "Organization" => &["name=Lind"],
            "Questionnaire" => &["status=draft"],
            _ => &[],
        };
        match rng.u8(0..4) {
            0 => Some(Filter::read(
                resource_type,
                &format!("_id={}", random_id(rng, resource_type)),
            )),
            1 if matches!(
                resource_type,
                "Observation" | "Condition" | "Communication" | "Task" | "Encounter"
            ) =>
            {
                Some(Filter::read(
                    resource_type,
                    &format!("subject=Patient/{}", random_id(rng, "Patient")),
                ))
            }
            _ if queries.is_empty() => None,
            _ => Some(Filter::read(resource_type, pick(rng, queries))),
        }
    }

    /// Whether a resource matches it, for a user.
    pub fn is_met(&self, asker: &Asker, content: &Value) -> bool {
        let user = asker.user.as_deref().unwrap_or_default();
        let id = user.split_once('/').map_or("", |(_, id)| id);
        let value = self.value.replace("{user.id}", id).replace("{user}", user);
        self.is_value(&value, content) != self.negated
    }

    fn is_value(&self, value: &str, content: &Value) -> bool {
        at(content, self.path).into_iter().any(|found| match found {
            Value::String(text) => text == value,
            Value::Bool(truth) => truth.to_string() == value,
            reference => name_of(reference).is_some_and(|(ty, id)| format!("{ty}/{id}") == value),
        })
    }
}

impl Policy {
    pub fn built_in() -> Policy {
        Policy::read(BUILT_IN.to_owned())
    }

    /// The rules of a role as they are written.
    pub fn of_role(&self, role: &str) -> String {
        let file: Value = serde_json::from_str(&self.text).unwrap();
        let policies = file["policies"].as_array().unwrap();
        policies
            .iter()
            .find(|policy| policy["role"] == role)
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    /// The terms and sets of the built-in ones, with random rules.
    pub fn random(rng: &mut Rng) -> Policy {
        let mut file: Value = serde_json::from_str(BUILT_IN).unwrap();
        for policy in file["policies"].as_array_mut().unwrap() {
            let is_system = policy["role"] == "system";
            policy["rules"] = (0..1 + rng.usize(0..5)).map(|_| random_rule(rng, is_system)).collect();
        }
        Policy::read(file.to_string())
    }

    fn read(text: String) -> Policy {
        let file: Value = serde_json::from_str(&text).unwrap();
        let mut rules = BTreeMap::new();
        for policy in file["policies"].as_array().unwrap() {
            let of_role = policy["rules"]
                .as_array()
                .unwrap()
                .iter()
                .map(|rule| read_rule(&file["sets"], rule));
            rules.insert(policy["role"].as_str().unwrap().to_owned(), of_role.collect());
        }
        Policy { text, rules }
    }
}

fn random_rule(rng: &mut Rng, is_system: bool) -> Value {
    let to = match is_system {
        true => "all",
        false => pick(rng, &["all", "own", "cared-for", "cared-for", "break-glass"]),
    };
    let may = pick(rng, &["rs", "rs", "rs", "r", "s", "cruds"]);
    let members: Vec<&str> = types()
        .into_iter()
        .filter(|ty| is_member(ty) || *ty == "Binary")
        .collect();
    let among = if to == "all" { types() } else { members };
    let only = pick(rng, &among);
    let mut rule = match rng.u8(0..3) {
        0 => json!({"types": ["*"], "except": [pick(rng, &types())]}),
        1 => json!({"types": [only, pick(rng, &among), pick(rng, &among)]}),
        _ => {
            let mut rule = json!({"types": [only]});
            if let Some(filter) = Filter::random(rng, only) {
                rule["where"] = filter.query.into();
            }
            rule
        }
    };
    rule["may"] = may.into();
    rule["to"] = to.into();
    rule
}

fn read_rule(sets: &Value, rule: &Value) -> Rule {
    let expand = |names: &Value| -> BTreeSet<String> {
        let names = names
            .as_array()
            .into_iter()
            .flatten()
            .map(|name| name.as_str().unwrap());
        let all = names.flat_map(|name| match name.strip_prefix('@') {
            _ if name == "*" => types().into_iter().map(str::to_owned).collect(),
            Some(set) => sets[set]
                .as_array()
                .unwrap()
                .iter()
                .map(|name| name.as_str().unwrap().to_owned())
                .collect(),
            None => vec![name.to_owned()],
        });
        all.collect()
    };
    let except = expand(&rule["except"]);
    let mut types: BTreeSet<String> = expand(&rule["types"]);
    types.retain(|name| !except.contains(name));
    let reach = match rule["to"].as_str().unwrap() {
        "all" => Reach::All,
        "own" => Reach::Own,
        "cared-for" => Reach::CaredFor,
        _ => Reach::BreakGlass,
    };
    if reach != Reach::All {
        types.retain(|name| is_member(name) || name == "Binary");
    }
    let first = types.first().cloned().unwrap_or_default();
    Rule {
        letters: rule["may"].as_str().unwrap().to_owned(),
        reach,
        filter: rule["where"].as_str().map(|query| Filter::read(&first, query)),
        types,
    }
}
