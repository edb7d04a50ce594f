//! How the file of policies is written, and what is wrong with one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Span};
use serde::Deserialize;

use super::{BreakGlass, Policies, PolicyError, Reach, Role, Rule, Term, Terms, USER};
use crate::fhir::access::members::patient_parameters;
use crate::fhir::caller::Permissions;
use crate::knowledge::definitions::Definitions;

/// Reads all of it.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn read(text: &str) -> Result<Policies, PolicyError> {
    let file: File = serde_json::from_str(text).map_err(|error| PolicyError(format!("It cannot be read: {error}.")))?;
    let sets = Sets::read(&file.sets)?;
    let mut rules = BTreeMap::new();
    for policy in &file.policies {
        let read = policy.rules.iter().enumerate();
        let read = read.map(|(index, rule)| rule.read(policy.role, index + 1, &sets));
        if rules.insert(policy.role, read.collect::<Result<_, _>>()?).is_some() {
            return Err(PolicyError(format!(
                "There are two policies of the role {}.",
                policy.role
            )));
        }
    }
    if let Some(missing) = Role::ALL.into_iter().find(|role| !rules.contains_key(role)) {
        return Err(PolicyError(format!(
            "There is no policy of the role {missing}. One without rules gives nothing."
        )));
    }
    Ok(Policies {
        rules,
        terms: read_terms(&file.relations)?,
        break_glass: file.break_glass.read()?,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    #[serde(default)]
    sets: BTreeMap<String, Vec<String>>,
    relations: BTreeMap<String, TermText>,
    break_glass: BreakGlassText,
    policies: Vec<PolicyText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyText {
    role: Role,
    rules: Vec<RuleText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    types: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    may: String,
    to: Reach,
    #[serde(rename = "where")]
    filter: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TermText {
    before: Option<String>,
    after: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BreakGlassText {
    roles: BTreeSet<Role>,
    lasts: String,
}

/// Names of types, and of sets of them.
struct Sets<'f>(BTreeMap<&'f str, BTreeSet<&'static str>>);

impl<'f> Sets<'f> {
    fn read(texts: &'f BTreeMap<String, Vec<String>>) -> Result<Sets<'f>, PolicyError> {
        let mut sets = Sets(BTreeMap::new());
        for (name, types) in texts {
            let types = types.iter().map(|text| resource_type(text));
            let types = types
                .collect::<Result<_, _>>()
                .map_err(|error| error.within(&format!("set \"{name}\"")))?;
            sets.0.insert(name, types);
        }
        Ok(sets)
    }

    fn types(&self, texts: &[String]) -> Result<BTreeSet<&'static str>, PolicyError> {
        let mut types = BTreeSet::new();
        for text in texts {
            match text.strip_prefix('@') {
                _ if text == "*" => types.extend(Definitions::r4().resource_types().map(|ty| ty.name.as_str())),
                Some(name) => {
                    let set = self.0.get(name);
                    types.extend(set.ok_or_else(|| PolicyError(format!("There is no set \"{name}\".")))?);
                }
                None => _ = types.insert(resource_type(text)?),
            }
        }
        Ok(types)
    }
}

impl RuleText {
    fn read(&self, role: Role, number: usize, sets: &Sets<'_>) -> Result<Rule, PolicyError> {
        self.try_read(role, number, sets)
            .map_err(|error| error.within(&place(role, number)))
    }

    fn try_read(&self, role: Role, number: usize, sets: &Sets<'_>) -> Result<Rule, PolicyError> {
        let wrong = |text: String| Err(PolicyError(text));
        let Some(may) = Permissions::parse(&self.may) else {
            return wrong(format!(
                "\"may\" is some of the letters c, r, u, d, s in this order, not \"{}\".",
                self.may
            ));
        };
        let mut types = sets.types(&self.types)?;
        let except = sets.types(&self.except)?;
        types.retain(|ty| !except.contains(ty));
        if self.to != Reach::All {
            if role == Role::System {
                return wrong(format!(
                    "A back end is nobody whose records could be {}.",
                    self.to.name()
                ));
            }
            let named = self.types.iter().find(|text| is_nobodys(text));
            if let Some(named) = named {
                return wrong(format!(
                    "{named} belongs to no patient, so none can be \"{}\".",
                    self.to.name()
                ));
            }
            types.retain(|ty| !is_nobodys(ty));
        }
        if types.is_empty() {
            return wrong("It is about no type at all.".to_owned());
        }
        if role == Role::System && self.filter.as_ref().is_some_and(|filter| filter.contains(USER)) {
            return wrong("A back end is no user, so \"where\" cannot name one.".to_owned());
        }
        Ok(Rule {
            number,
            types,
            may,
            to: self.to,
            filter: self.filter.clone(),
        })
    }
}

/// Which rule, in words.
pub(super) fn place(role: Role, number: usize) -> String {
    format!("policy of the role {role}, rule {number}")
}

/// Whether nothing ties resources of a type to a patient.
fn is_nobodys(resource_type: &str) -> bool {
    let definitions = Definitions::r4();
    definitions.resource_type(resource_type).is_some()
        && resource_type != "Binary"
        && patient_parameters(definitions, resource_type).is_empty()
}

fn resource_type(text: &str) -> Result<&'static str, PolicyError> {
    let definitions = Definitions::r4();
    if let Some(found) = definitions.resource_type(text) {
        return Ok(&found.name);
    }
    let nearest = definitions
        .resource_types()
        .map(|ty| (strsim::damerau_levenshtein(text, &ty.name), ty.name.as_str()))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    Err(PolicyError(match nearest {
        Some((_, nearest)) => format!("There is no resource type \"{text}\"; did you mean {nearest}?"),
        None => format!("There is no resource type \"{text}\"."),
    }))
}

fn read_terms(texts: &BTreeMap<String, TermText>) -> Result<Terms, PolicyError> {
    let mut terms = BTreeMap::new();
    for (name, text) in texts {
        let Some(known) = Terms::TYPES.into_iter().find(|known| known == name) else {
            let known = Terms::TYPES.join(", ");
            return Err(PolicyError(format!(
                "\"relations\": {name} ties nobody; what can is {known}."
            )));
        };
        let term = |text: &Option<String>| text.as_deref().map_or(Ok(SignedDuration::ZERO), duration);
        terms.insert(
            known,
            Term {
                before: term(&text.before)?,
                after: term(&text.after)?,
            },
        );
    }
    Ok(Terms(terms))
}

impl BreakGlassText {
    fn read(&self) -> Result<BreakGlass, PolicyError> {
        if let Some(role) = self
            .roles
            .iter()
            .find(|role| matches!(role, Role::Patient | Role::System))
        {
            return Err(PolicyError(format!("\"breakGlass\": it is not for the role {role}.")));
        }
        let lasts = duration(&self.lasts)?;
        if lasts > SignedDuration::from_hours(24) {
            return Err(PolicyError("\"breakGlass\": it lasts a day (P1D) at most.".to_owned()));
        }
        Ok(BreakGlass {
            roles: self.roles.clone(),
            lasts,
        })
    }
}

/// An ISO 8601 duration, with days of 24 hours, months of 30.4375 days and years of 365.25.
pub(super) fn duration(text: &str) -> Result<SignedDuration, PolicyError> {
    const DAY: i64 = 24 * 3600;
    let wrong = || PolicyError(format!("\"{text}\" is no duration, as P90D, P10Y or PT1H are."));
    let span: Span = text.parse().map_err(|_| wrong())?;
    if span.is_negative() || !text.starts_with('P') {
        return Err(wrong());
    }
    let years = i64::from(span.get_years()) * (365 * DAY + DAY / 4);
    let months = i64::from(span.get_months()) * (365 * DAY + DAY / 4) / 12;
    let days = (i64::from(span.get_weeks()) * 7 + i64::from(span.get_days())) * DAY;
    let time = i64::from(span.get_hours()) * 3600 + span.get_minutes() * 60 + span.get_seconds();
    Ok(SignedDuration::from_secs(years + months + days + time))
}
