//! What a caller may do, told by looking at every resource in turn: no index, no table, no SQL.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::callers::{Asker, Filter, Policy, Reach, Rule, Scope};
use super::world::World;

/// Where resources of a type name the patients in whose record they are.
const MEMBERS: &[(&str, &[&str])] = &[
    ("Appointment", &["participant.actor"]),
    ("AuditEvent", &["agent.who", "entity.what"]),
    ("Basic", &["subject", "author"]),
    ("CareTeam", &["subject", "participant.member"]),
    ("Communication", &["subject", "sender", "recipient"]),
    ("Condition", &["subject", "asserter"]),
    ("Consent", &["patient"]),
    ("Encounter", &["subject"]),
    ("Observation", &["subject", "performer"]),
    ("Person", &["link.target"]),
    ("Provenance", &["target"]),
    ("QuestionnaireResponse", &["subject", "author"]),
    ("RelatedPerson", &["patient"]),
    ("Schedule", &["actor"]),
    ("Task", &["for"]),
];

/// The year in which the clock stands.
const NOW: i32 = 2026;

type Name = (String, String);

/// Every element at a path, through lists.
pub fn at<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    let mut found = vec![value];
    for part in path.split('.') {
        let next = found.iter().filter_map(|value| value.get(part));
        found = next
            .flat_map(|value| value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice))
            .collect();
    }
    found
}

/// Type and id that a Reference names here.
pub fn name_of(reference: &Value) -> Option<Name> {
    let text = reference.get("reference")?.as_str()?;
    let text = text.strip_prefix("http://localhost/fhir/").unwrap_or(text);
    let (resource_type, id) = text.split_once('/')?;
    Some((resource_type.to_owned(), id.to_owned()))
}

pub fn names(content: &Value, path: &str) -> Vec<Name> {
    at(content, path).into_iter().filter_map(name_of).collect()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// Whether a type is in anybody's record.
pub fn is_member(resource_type: &str) -> bool {
    resource_type == "Patient" || MEMBERS.iter().any(|(name, _)| *name == resource_type)
}

/// The ids of the Patients in whose record a resource is.
pub fn patients(content: &Value) -> BTreeSet<String> {
    let resource_type = text(content, "resourceType");
    if resource_type == "Patient" {
        return [text(content, "id").to_owned()].into();
    }
    let paths = MEMBERS
        .iter()
        .find(|(name, _)| *name == resource_type)
        .map_or(&[][..], |(_, paths)| *paths);
    let named = paths.iter().flat_map(|path| names(content, path));
    named.filter(|(ty, _)| ty == "Patient").map(|(_, id)| id).collect()
}

/// Whether a Period with these terms, in years, is now.
fn is_now(period: &Value, before: i32, after: i32) -> bool {
    let year = |name: &str| period[name].as_str().map(|date| date[..4].parse::<i32>().unwrap());
    year("start").is_none_or(|start| start - before <= NOW) && year("end").is_none_or(|end| NOW < end + after)
}

/// Whom a resource ties to which patients, now.
fn ties(content: &Value) -> Vec<(Name, String)> {
    let status = text(content, "status");
    let one_patient = |path: &str| {
        names(content, path)
            .into_iter()
            .filter(|(ty, _)| ty == "Patient")
            .map(|(_, id)| id)
            .next()
    };
    let of_types = |names: Vec<Name>, types: &[&str]| -> Vec<Name> {
        names
            .into_iter()
            .filter(|(ty, _)| types.contains(&ty.as_str()))
            .collect()
    };
    let professionals = &["Practitioner", "PractitionerRole"];
    match text(content, "resourceType") {
        "Appointment" if status != "cancelled" => {
            let start = content["start"].as_str().map(|date| date[..4].parse::<i32>().unwrap());
            if start.is_some_and(|year| year - 1 > NOW || NOW >= year + 10) {
                return Vec::new();
            }
            let participants = at(content, "participant");
            let present = participants
                .into_iter()
                .filter(|participant| text(participant, "status") != "declined");
            let present: Vec<Name> = present
                .filter_map(|participant| name_of(&participant["actor"]))
                .collect();
            let holders = of_types(present.clone(), professionals);
            let patients = of_types(present, &["Patient"]);
            let pairs = patients
                .iter()
                .flat_map(|(_, patient)| holders.iter().map(move |holder| (holder.clone(), patient.clone())));
            pairs.collect()
        }
        "Encounter" if status != "entered-in-error" => {
            let mut period = content["period"].clone();
            if status == "finished" && period.get("end").is_none() && period.get("start").is_some() {
                period["end"] = period["start"].clone();
            }
            let holders = of_types(names(content, "participant.individual"), professionals);
            match one_patient("subject").filter(|_| is_now(&period, 1, 10)) {
                Some(patient) => holders.into_iter().map(|holder| (holder, patient.clone())).collect(),
                None => Vec::new(),
            }
        }
        "CareTeam" if status == "active" && is_now(&content["period"], 0, 0) => {
            let Some(patient) = one_patient("subject") else {
                return Vec::new();
            };
            let now = at(content, "participant")
                .into_iter()
                .filter(|participant| is_now(&participant["period"], 0, 0));
            let members = now.filter_map(|participant| name_of(&participant["member"])).collect();
            let members = of_types(
                members,
                &["Practitioner", "PractitionerRole", "RelatedPerson", "Organization"],
            );
            members.into_iter().map(|holder| (holder, patient.clone())).collect()
        }
        "Patient" if content["active"] != false => {
            let practitioners = of_types(names(content, "generalPractitioner"), professionals);
            practitioners
                .into_iter()
                .map(|holder| (holder, text(content, "id").to_owned()))
                .collect()
        }
        "RelatedPerson" if content["active"] != false && is_now(&content["period"], 0, 0) => {
            let holder = ("RelatedPerson".to_owned(), text(content, "id").to_owned());
            one_patient("patient")
                .map(|patient| (holder, patient))
                .into_iter()
                .collect()
        }
        _ => Vec::new(),
    }
}

fn is_in_force(consent: &Value) -> bool {
    text(consent, "status") == "active" && consent["scope"]["coding"][0]["code"] == "patient-privacy"
}

/// Whether it denies (or else permits) a holder, named in the Consent or not, a type, named or not.
fn verdict(provision: &Value, holder: Option<&Name>, resource_type: Option<&str>) -> Option<bool> {
    let denies = provision["type"] == "deny";
    let actors = at(provision, "actor");
    let actors_known = actors.iter().all(|actor| name_of(&actor["reference"]).is_some());
    let named: Vec<Name> = actors.iter().filter_map(|actor| name_of(&actor["reference"])).collect();
    let classes = at(provision, "class");
    let classes_known = classes.iter().all(|class| class["system"] != "urn:codes");
    let types: Vec<&str> = classes
        .iter()
        .filter(|class| class["system"] != "urn:codes")
        .map(|class| text(class, "code"))
        .collect();
    let is_meant = actors.is_empty() || denies && !actors_known || holder.is_some_and(|holder| named.contains(holder));
    let is_type = classes.is_empty() || denies && !classes_known || resource_type.is_some_and(|ty| types.contains(&ty));
    if !is_meant || !is_type || !is_now(&provision["period"], 0, 0) {
        return None;
    }
    let inner: Vec<bool> = at(provision, "provision")
        .iter()
        .filter_map(|inner| verdict(inner, holder, resource_type))
        .collect();
    if !inner.is_empty() {
        return Some(inner.contains(&true));
    }
    // A permission that is not understood says nothing.
    (denies || actors_known && classes_known).then_some(denies)
}

/// Actors and types that provisions name, where the server understands them.
fn named(provision: &Value, actors: &mut BTreeSet<Name>, types: &mut BTreeSet<String>) {
    let of_provision = names(provision, "actor.reference");
    let denies = provision["type"] == "deny";
    if !denies || of_provision.len() == at(provision, "actor").len() {
        actors.extend(of_provision);
    }
    let classes = at(provision, "class");
    let known: Vec<&&Value> = classes.iter().filter(|class| class["system"] != "urn:codes").collect();
    if !denies || known.len() == classes.len() {
        types.extend(known.iter().map(|class| text(class, "code").to_owned()));
    }
    at(provision, "provision")
        .into_iter()
        .for_each(|inner| named(inner, actors, types));
}

/// A caller, the world and a policy, as they are now.
pub struct Naive<'w> {
    pub world: &'w World,
    live: BTreeMap<(&'static str, &'w str), &'w Value>,
    asker: &'w Asker,
    policy: &'w Policy,
    /// All whom the user stands behind.
    pub holders: BTreeSet<Name>,
    tied: BTreeSet<String>,
}

impl<'w> Naive<'w> {
    pub fn new(world: &'w World, asker: &'w Asker, policy: &'w Policy) -> Naive<'w> {
        let mut naive = Naive {
            world,
            live: world.live(),
            asker,
            policy,
            holders: BTreeSet::new(),
            tied: BTreeSet::new(),
        };
        naive.holders = naive.find_holders();
        naive.tied = naive.find_tied(None);
        naive
    }

    /// The same caller after a write, which makes them nobody else and ties them to nobody. What was there before goes on
    /// tying them, unless it now ties them to somebody new.
    pub fn after<'n>(&self, world: &'n World, written: (&str, &str)) -> Naive<'n>
    where
        'w: 'n,
    {
        let mut naive = Naive {
            world,
            live: world.live(),
            asker: self.asker,
            policy: self.policy,
            holders: self.holders.clone(),
            tied: BTreeSet::new(),
        };
        naive.tied = naive.find_tied(Some(written));
        let mine = |content: Option<&&'n Value>| -> BTreeSet<(Name, String)> {
            let all = content.map(|content| ties(content)).into_iter().flatten();
            all.filter(|(holder, _)| self.holders.contains(holder)).collect()
        };
        let (before, now) = (mine(self.live.get(&written)), mine(naive.live.get(&written)));
        if now.is_subset(&before) {
            naive.tied.extend(before.into_iter().map(|(_, patient)| patient));
        }
        naive
    }

    /// The patients to whom the caller is tied by resources, but for one.
    fn find_tied(&self, without: Option<(&str, &str)>) -> BTreeSet<String> {
        let sources = self.live.iter().filter(|(name, _)| without != Some(**name));
        let mut tied = BTreeSet::new();
        for ((resource_type, _), content) in sources {
            let mine = ties(content)
                .into_iter()
                .filter(|(holder, _)| self.holders.contains(holder));
            tied.extend(mine.map(|(_, patient)| patient));
            if *resource_type == "Consent" && is_in_force(content) && self.permits(content) {
                tied.extend(name_of(&content["patient"]).map(|(_, patient)| patient));
            }
        }
        tied
    }

    fn is_live(&self, name: &Name) -> bool {
        self.live
            .keys()
            .any(|(ty, id)| (*ty, *id) == (name.0.as_str(), name.1.as_str()))
    }

    fn find_holders(&self) -> BTreeSet<Name> {
        let Some((user, person)) = self.asker.user_and_person() else {
            return BTreeSet::new();
        };
        let mut behind: BTreeSet<Name> = [user].into();
        if let Some(person) = self.live.get(&("Person", person.as_str())) {
            behind.extend(names(person, "link.target"));
        }
        let roles = self.live.iter().filter(|((ty, _), role)| {
            let practitioner = name_of(&role["practitioner"]);
            *ty == "PractitionerRole"
                && practitioner.is_some_and(|practitioner| behind.contains(&practitioner))
                && role["active"] != false
                && is_now(&role["period"], 0, 0)
        });
        let of_roles = roles.flat_map(|((ty, id), role)| {
            let organization = name_of(&role["organization"]);
            std::iter::once(((*ty).to_owned(), (*id).to_owned())).chain(organization)
        });
        let of_roles: Vec<Name> = of_roles.collect();
        behind.extend(of_roles);
        behind.retain(|name| self.is_live(name));
        behind
    }

    fn consents(&self) -> impl Iterator<Item = &'w Value> {
        let consents = self
            .live
            .iter()
            .filter(|((ty, _), consent)| *ty == "Consent" && is_in_force(consent));
        consents.map(|(_, consent)| *consent)
    }

    /// Of those whom the user stands behind, whom the Consent names.
    fn meant<'n>(&'n self, actors: &'n BTreeSet<Name>) -> Vec<Option<&'n Name>> {
        let mine: Vec<_> = actors
            .iter()
            .filter(|actor| self.holders.contains(*actor))
            .map(Some)
            .collect();
        if mine.is_empty() { vec![None] } else { mine }
    }

    fn permits(&self, consent: &Value) -> bool {
        let (mut actors, mut types) = (BTreeSet::new(), BTreeSet::new());
        named(&consent["provision"], &mut actors, &mut types);
        let mut meant = self.meant(&actors).into_iter().flatten();
        meant.any(|holder| verdict(&consent["provision"], Some(holder), None) == Some(false))
    }

    fn is_denied(&self, content: &Value) -> bool {
        let resource_type = text(content, "resourceType");
        let patients = patients(content);
        let of_them = |consent: &&Value| name_of(&consent["patient"]).is_some_and(|(_, id)| patients.contains(&id));
        let denies = |consent: &Value| {
            let (mut actors, mut types) = (BTreeSet::new(), BTreeSet::new());
            named(&consent["provision"], &mut actors, &mut types);
            let ty = types.contains(resource_type).then_some(resource_type);
            self.meant(&actors)
                .iter()
                .any(|holder| verdict(&consent["provision"], *holder, ty) == Some(true))
        };
        self.consents().filter(of_them).any(denies)
    }

    fn reaches(&self, reach: Reach, content: &Value) -> bool {
        let patients = patients(content);
        let is_one = |patient: &String| self.holders.contains(&("Patient".to_owned(), patient.clone()));
        match reach {
            Reach::All => true,
            _ if text(content, "resourceType") == "Binary" => self.may_see_context(content),
            Reach::Own => patients.iter().any(is_one),
            Reach::CaredFor => patients.iter().any(|patient| self.tied.contains(patient)) && !self.is_denied(content),
            // Of a Practitioner who was deleted nothing is left to tie.
            Reach::BreakGlass => {
                let user = self.asker.user_and_person().map(|(user, _)| user);
                let broken = &self.asker.broken_glass;
                user.is_some_and(|user| self.holders.contains(&user))
                    && patients.iter().any(|patient| broken.contains(patient))
            }
        }
    }

    /// A Binary is seen with what it names as its security context, unless that is a Binary as well.
    fn may_see_context(&self, binary: &Value) -> bool {
        let Some((ty, id)) = name_of(&binary["securityContext"]) else {
            return false;
        };
        let context = self
            .live
            .iter()
            .find(|((name, number), _)| (*name, *number) == (ty.as_str(), id.as_str()));
        context.is_some_and(|(_, context)| ty != "Binary" && self.may('r', context))
    }

    /// Whether the caller may do something with a resource of this content.
    pub fn may(&self, letter: char, content: &Value) -> bool {
        let resource_type = text(content, "resourceType");
        let meets = |filter: &Option<Filter>| filter.as_ref().is_none_or(|filter| filter.is_met(self.asker, content));
        let by_scope = self.asker.scopes.iter().any(|scope| {
            let in_context = match scope.context {
                'p' if !self.asker.is_user() => false,
                'p' => {
                    let patient = self.asker.patient.as_ref();
                    patient.is_some_and(|patient| !is_member(resource_type) || patients(content).contains(patient))
                }
                'u' => self.asker.is_user(),
                _ => !self.asker.is_user(),
            };
            in_context
                && scope.letters.contains(letter)
                && scope.resource_type.is_none_or(|name| name == resource_type)
                && meets(&scope.filter)
        });
        let rules = self.policy.rules.get(self.asker.role).into_iter().flatten();
        let by_policy = rules.into_iter().any(|rule| {
            rule.letters.contains(letter)
                && rule.types.contains(resource_type)
                && self.reaches(rule.reach, content)
                && meets(&rule.filter)
        });
        by_scope && by_policy
    }

    /// What is there and may be seen.
    pub fn visible(&self, letter: char) -> BTreeMap<(&'static str, &'w str), &'w Value> {
        let seen = self.live.iter().filter(|(_, content)| self.may(letter, content));
        seen.map(|(name, content)| (*name, *content)).collect()
    }

    /// Whether it depends on the patients whom a resource of this type is about, if the caller may do something with it.
    fn is_bound(&self, letter: char, resource_type: &str) -> bool {
        let is_about = |scope: &&Scope| {
            let is_given = match scope.context {
                'p' => self.asker.is_user() && self.asker.patient.is_some(),
                'u' => self.asker.is_user(),
                _ => !self.asker.is_user(),
            };
            is_given && scope.letters.contains(letter) && scope.resource_type.is_none_or(|name| name == resource_type)
        };
        let asks = |scope: &&Scope| scope.context == 'p' && is_member(resource_type);
        let scopes: Vec<&Scope> = self.asker.scopes.iter().filter(is_about).collect();
        let by_scope = scopes.iter().any(asks) && !scopes.iter().any(|scope| !asks(scope) && scope.filter.is_none());
        let rules = self.policy.rules.get(self.asker.role).into_iter().flatten();
        let rules: Vec<&Rule> = rules
            .filter(|rule| rule.letters.contains(letter) && rule.types.contains(resource_type))
            .collect();
        let by_policy = rules.iter().any(|rule| rule.reach != Reach::All)
            && !rules
                .iter()
                .any(|rule| rule.reach == Reach::All && rule.filter.is_none());
        by_scope || by_policy
    }

    /// Whether the caller may put `content` where there is nothing yet, or where `before` was; `None` deletes that. `self` is
    /// the world before, `after` the world with it.
    pub fn may_write(&self, letter: char, before: Option<&Value>, content: Option<&Value>, after: &Naive<'_>) -> bool {
        let Some(content) = content else {
            return before.is_some_and(|before| self.may(letter, before));
        };
        let resource_type = text(content, "resourceType");
        before.is_none_or(|before| self.may(letter, before))
            && after.may(letter, content)
            && (!self.asker.is_user() || !self.is_bound(letter, resource_type) || after.names_nobody_strange(content))
    }

    /// Whether every Patient that a resource names is the caller, tied to them, or itself.
    fn names_nobody_strange(&self, content: &Value) -> bool {
        let mut named = Vec::new();
        collect(content, &mut named);
        named.iter().filter(|(ty, _)| ty == "Patient").all(|name| {
            let is_itself = text(content, "resourceType") == "Patient" && text(content, "id") == name.1;
            is_itself || self.holders.contains(name) || self.tied.contains(&name.1)
        })
    }
}

/// Every resource that is named somewhere.
fn collect(value: &Value, into: &mut Vec<Name>) {
    match value {
        Value::Object(object) => {
            into.extend(name_of(value));
            object.values().for_each(|value| collect(value, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        _ => {}
    }
}
