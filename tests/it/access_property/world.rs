//! Random patients, practitioners and all that is said about them, with what was said before.
//!
//! Of time there are three kinds, far from each other and from the terms of the built-in policies: long ago, around now (the
//! clock stands in March 2026) and long from now; so no answer hangs on a day.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Map, Value, json};

pub const PATIENTS: usize = 5;
pub const PRACTITIONERS: usize = 4;
const RESOURCE_TYPES: &str = "http://hl7.org/fhir/resource-types";

/// One version of a resource; without content, its deletion.
#[derive(Clone, Debug)]
pub struct Version {
    pub resource_type: &'static str,
    pub id: String,
    pub number: usize,
    pub content: Option<Value>,
}

/// All versions of all resources, in the order in which they were stored.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub versions: Vec<Version>,
}

impl World {
    pub fn random(rng: &mut Rng) -> World {
        let mut world = World::default();
        let mut names: Vec<(&'static str, String)> = Vec::new();
        for (resource_type, count) in COUNTS {
            names.extend((0..*count).map(|n| (*resource_type, format!("{}{n}", letter(resource_type)))));
        }
        for (resource_type, id) in &names {
            world.store(resource_type, id, Some(content(rng, resource_type, id)));
        }
        for _ in 0..names.len() / 2 {
            let (resource_type, id) = &names[rng.usize(0..names.len())];
            let is_deletion = rng.u8(0..5) == 0;
            let content = (!is_deletion).then(|| content(rng, resource_type, id));
            if is_deletion
                && world
                    .current(resource_type, id)
                    .is_none_or(|version| version.content.is_none())
            {
                continue;
            }
            world.store(resource_type, id, content);
        }
        world
    }

    pub fn store(&mut self, resource_type: &'static str, id: &str, content: Option<Value>) {
        let current = self.current(resource_type, id);
        if current.is_some_and(|version| version.content == content) {
            return;
        }
        let number = current.map_or(1, |version| version.number + 1);
        self.versions.push(Version {
            resource_type,
            id: id.to_owned(),
            number,
            content,
        });
    }

    /// The world with one more version.
    pub fn with(&self, resource_type: &'static str, id: &str, content: Option<Value>) -> World {
        let mut world = self.clone();
        world.store(resource_type, id, content);
        world
    }

    pub fn current(&self, resource_type: &str, id: &str) -> Option<&Version> {
        let is_it = |version: &&Version| version.resource_type == resource_type && version.id == id;
        self.versions.iter().rfind(is_it)
    }

    /// The content of what is there, by type and id.
    pub fn live(&self) -> BTreeMap<(&'static str, &str), &Value> {
        let mut live = BTreeMap::new();
        for version in &self.versions {
            let key = (version.resource_type, version.id.as_str());
            match &version.content {
                Some(content) => _ = live.insert(key, content),
                None => _ = live.remove(&key),
            }
        }
        live
    }

    /// By the content that a version is judged by: its own, or that which its deletion removed.
    pub fn judged_by(&self, version: &Version) -> Option<&Value> {
        let same = |other: &&Version| other.resource_type == version.resource_type && other.id == version.id;
        let earlier = self
            .versions
            .iter()
            .filter(same)
            .filter(|other| other.number <= version.number);
        earlier.filter_map(|other| other.content.as_ref()).next_back()
    }
}

const COUNTS: &[(&str, usize)] = &[
    ("Patient", PATIENTS),
    ("Practitioner", PRACTITIONERS),
    ("Organization", 2),
    ("PractitionerRole", 4),
    ("RelatedPerson", 4),
    ("Person", 4),
    ("Appointment", 5),
    ("Encounter", 5),
    ("CareTeam", 4),
    ("Consent", 4),
    ("Observation", 14),
    ("Condition", 6),
    ("Communication", 5),
    ("QuestionnaireResponse", 4),
    ("Task", 4),
    ("Provenance", 3),
    ("AuditEvent", 3),
    ("Basic", 3),
    ("Binary", 4),
    ("Schedule", 3),
    ("Questionnaire", 2),
];

pub fn types() -> Vec<&'static str> {
    COUNTS.iter().map(|(name, _)| *name).collect()
}

/// What ids of a type begin with.
pub fn letter(resource_type: &str) -> String {
    let upper: String = resource_type.chars().filter(char::is_ascii_uppercase).collect();
    format!("{}{}", upper.to_lowercase(), resource_type.len())
}

pub fn random_id(rng: &mut Rng, resource_type: &str) -> String {
    let count = COUNTS
        .iter()
        .find(|(name, _)| *name == resource_type)
        .map_or(1, |(_, count)| *count);
    format!("{}{}", letter(resource_type), rng.usize(0..count))
}

fn pick<T: Copy>(rng: &mut Rng, among: &[T]) -> T {
    among[rng.usize(0..among.len())]
}

/// A reference to something of one of these types, which may have been deleted or never have been there.
fn to(rng: &mut Rng, types: &[&'static str]) -> Value {
    let resource_type = pick(rng, types);
    let id = match rng.u8(0..20) {
        0 => "nobody".to_owned(),
        _ => random_id(rng, resource_type),
    };
    let base = if rng.u8(0..8) == 0 {
        "http://localhost/fhir/"
    } else {
        ""
    };
    json!({"reference": format!("{base}{resource_type}/{id}")})
}

fn period(rng: &mut Rng) -> Value {
    let mut period = Map::new();
    match rng.u8(0..4) {
        0 => _ = period.insert("start".to_owned(), "2040-01-01".into()),
        1 => {}
        _ => _ = period.insert("start".to_owned(), "2020-01-01".into()),
    }
    match rng.u8(0..5) {
        0 => _ = period.insert("end".to_owned(), "2024-06-01".into()),
        1 => _ = period.insert("end".to_owned(), "2010-06-01".into()),
        2 => _ = period.insert("end".to_owned(), "2060-06-01".into()),
        _ => {}
    }
    Value::Object(period)
}

/// Half of the time.
fn perhaps(rng: &mut Rng, into: &mut Value, name: &str, value: impl FnOnce(&mut Rng) -> Value) {
    if rng.bool() {
        into[name] = value(rng);
    }
    // FHIR knows no empty objects.
    if into[name].as_object().is_some_and(Map::is_empty) || into[name].is_null() {
        into.as_object_mut().map(|object| object.remove(name));
    }
}

fn coding(code: &str) -> Value {
    json!({"coding": [{"system": "urn:codes", "code": code}]})
}

fn several(rng: &mut Rng, make: impl Fn(&mut Rng) -> Value) -> Value {
    (0..1 + rng.usize(0..2)).map(|_| make(rng)).collect()
}

pub fn content(rng: &mut Rng, resource_type: &'static str, id: &str) -> Value {
    let mut it = body(rng, resource_type);
    it["resourceType"] = resource_type.into();
    it["id"] = id.into();
    it
}

fn body(rng: &mut Rng, resource_type: &str) -> Value {
    let who = &[
        "Patient",
        "Practitioner",
        "PractitionerRole",
        "Organization",
        "RelatedPerson",
    ];
    match resource_type {
        "Patient" => {
            let mut it = json!({"name": [{"family": pick(rng, &["Lind", "Berg", "Dahl"])}]});
            perhaps(rng, &mut it, "generalPractitioner", |rng| {
                json!([to(rng, &["Practitioner", "PractitionerRole", "Organization"])])
            });
            perhaps(rng, &mut it, "active", |rng| (rng.u8(0..3) > 0).into());
            perhaps(
                rng,
                &mut it,
                "link",
                |rng| json!([{"other": to(rng, &["Patient"]), "type": "seealso"}]),
            );
            it
        }
        "Practitioner" => json!({"active": rng.bool()}),
        "Organization" | "Questionnaire" => {
            json!({"name": pick(rng, &["Lind", "Berg"]), "status": pick(rng, &["active", "draft"])})
                .as_object()
                .map(|it| {
                    let keep = if resource_type == "Organization" {
                        "name"
                    } else {
                        "status"
                    };
                    json!({keep: it[keep]})
                })
                .unwrap_or_default()
        }
        "PractitionerRole" => {
            let mut it = json!({"practitioner": to(rng, &["Practitioner"])});
            perhaps(rng, &mut it, "organization", |rng| to(rng, &["Organization"]));
            perhaps(rng, &mut it, "active", |rng| (rng.u8(0..3) > 0).into());
            perhaps(rng, &mut it, "period", period);
            it
        }
        "RelatedPerson" => {
            let mut it = json!({"patient": to(rng, &["Patient"])});
            perhaps(rng, &mut it, "active", |rng| (rng.u8(0..3) > 0).into());
            perhaps(rng, &mut it, "period", period);
            it
        }
        "Person" => {
            let link = |rng: &mut Rng| json!({"target": to(rng, &["Patient", "Practitioner", "RelatedPerson"])});
            json!({"link": several(rng, link)})
        }
        "Appointment" => {
            let participant = |rng: &mut Rng| {
                let actor = to(
                    rng,
                    &[
                        "Patient",
                        "Practitioner",
                        "Practitioner",
                        "PractitionerRole",
                        "RelatedPerson",
                    ],
                );
                json!({"actor": actor, "status": pick(rng, &["accepted", "accepted", "declined"])})
            };
            let mut participants = vec![json!({"actor": to(rng, &["Patient"]), "status": "accepted"})];
            participants.extend((0..2).map(|_| participant(rng)));
            let mut it = json!({"status": pick(rng, &["booked", "booked", "fulfilled", "cancelled"]), "participant": participants});
            if rng.bool() {
                let year = pick(rng, &["2010", "2026", "2026", "2040"]);
                it["start"] = format!("{year}-02-01T10:00:00Z").into();
                it["end"] = format!("{year}-02-01T10:30:00Z").into();
            }
            it
        }
        "Encounter" => {
            let participant =
                |rng: &mut Rng| json!({"individual": to(rng, &["Practitioner", "PractitionerRole", "RelatedPerson"])});
            let mut it = json!({
                "status": pick(rng, &["in-progress", "finished", "finished", "entered-in-error"]),
                "class": {"code": "VR"}, "subject": to(rng, &["Patient"]), "participant": several(rng, participant),
            });
            perhaps(rng, &mut it, "period", period);
            it
        }
        "CareTeam" => {
            let participant = |rng: &mut Rng| {
                let mut it = json!({"member": to(rng, who)});
                perhaps(rng, &mut it, "period", period);
                it
            };
            let mut it = json!({"status": pick(rng, &["active", "active", "inactive"]), "participant": several(rng, participant)});
            perhaps(rng, &mut it, "subject", |rng| to(rng, &["Patient"]));
            perhaps(rng, &mut it, "period", period);
            it
        }
        "Consent" => json!({
            "status": pick(rng, &["active", "active", "active", "inactive"]), "patient": to(rng, &["Patient"]),
            "scope": {"coding": [{"code": pick(rng, &["patient-privacy", "patient-privacy", "research"])}]},
            "category": [{"text": "privacy"}], "policyRule": {"text": "as it says"}, "provision": provision(rng, 0),
        }),
        "Observation" => {
            let mut it =
                json!({"status": pick(rng, &["final", "preliminary"]), "code": coding(pick(rng, &["a", "b"]))});
            perhaps(rng, &mut it, "category", |rng| {
                json!([coding(pick(rng, &["laboratory", "vital-signs"]))])
            });
            if rng.u8(0..5) > 0 {
                it["subject"] = to(rng, &["Patient"]);
            }
            perhaps(rng, &mut it, "performer", |rng| {
                several(rng, |rng| to(rng, &["Patient", "Practitioner", "Organization"]))
            });
            it
        }
        "Condition" => {
            let mut it = json!({"subject": to(rng, &["Patient"]), "code": coding(pick(rng, &["a", "b"]))});
            perhaps(rng, &mut it, "asserter", |rng| to(rng, &["Patient", "Practitioner"]));
            it
        }
        "Communication" => {
            let mut it = json!({"status": pick(rng, &["completed", "in-progress"])});
            perhaps(rng, &mut it, "subject", |rng| to(rng, &["Patient"]));
            perhaps(rng, &mut it, "sender", |rng| to(rng, &["Patient", "Practitioner"]));
            perhaps(rng, &mut it, "recipient", |rng| {
                several(rng, |rng| to(rng, &["Patient", "Practitioner"]))
            });
            it
        }
        "QuestionnaireResponse" => {
            let mut it = json!({"status": pick(rng, &["completed", "in-progress"])});
            perhaps(rng, &mut it, "subject", |rng| to(rng, &["Patient", "Practitioner"]));
            perhaps(rng, &mut it, "author", |rng| to(rng, &["Patient", "Practitioner"]));
            it
        }
        "Task" => {
            let mut it = json!({"status": pick(rng, &["requested", "completed"]), "intent": "order"});
            perhaps(rng, &mut it, "for", |rng| to(rng, &["Patient", "Practitioner"]));
            it
        }
        "Provenance" => json!({
            "target": several(rng, |rng| to(rng, &["Patient", "Observation"])), "recorded": "2026-01-01T00:00:00Z",
            "agent": [{"who": to(rng, &["Practitioner"])}],
        }),
        "AuditEvent" => json!({
            "type": {"system": "urn:codes", "code": "a"}, "recorded": "2026-01-01T00:00:00Z",
            "agent": [{"who": to(rng, &["Patient", "Practitioner"]), "requestor": true}],
            "source": {"observer": {"display": "here"}}, "entity": [{"what": to(rng, &["Patient", "Observation"])}],
        }),
        "Basic" => {
            let mut it = json!({"code": coding("a")});
            perhaps(rng, &mut it, "subject", |rng| to(rng, &["Patient", "Practitioner"]));
            perhaps(rng, &mut it, "author", |rng| to(rng, &["Patient", "Practitioner"]));
            it
        }
        "Binary" => {
            let mut it = json!({"contentType": "text/plain", "data": "aGVsbG8="});
            perhaps(rng, &mut it, "securityContext", |rng| {
                to(rng, &["Patient", "Observation", "Practitioner", "Binary"])
            });
            it
        }
        "Schedule" => json!({"actor": several(rng, |rng| to(rng, &["Practitioner", "Patient"]))}),
        other => panic!("no {other} is made here"),
    }
}

/// Permissions and denials in one another, some of which say more than the server understands.
fn provision(rng: &mut Rng, depth: usize) -> Value {
    let mut it = json!({"type": pick(rng, &["permit", "deny", "deny"])});
    perhaps(rng, &mut it, "actor", |rng| {
        let actor = |rng: &mut Rng| {
            let types = &[
                "Practitioner",
                "Practitioner",
                "PractitionerRole",
                "Organization",
                "RelatedPerson",
            ];
            let reference = if rng.u8(0..8) == 0 {
                json!({"display": "somebody"})
            } else {
                to(rng, types)
            };
            json!({"role": {"text": "role"}, "reference": reference})
        };
        several(rng, actor)
    });
    perhaps(rng, &mut it, "class", |rng| {
        let class = |rng: &mut Rng| match rng.u8(0..6) {
            0 => json!({"system": "urn:codes", "code": "letters"}),
            _ => json!({"system": RESOURCE_TYPES, "code": pick(rng, &["Observation", "Condition", "Patient", "Task"])}),
        };
        several(rng, class)
    });
    if rng.u8(0..3) == 0 {
        perhaps(rng, &mut it, "period", period);
    }
    if depth < 2 && rng.u8(0..3) > 0 {
        it["provision"] = several(rng, |rng| provision(rng, depth + 1));
    }
    it
}
