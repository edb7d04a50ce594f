//! AccessPolicies: which role may do what, as data.
//!
//! The built-in ones are `policies.json` beside this file; `identity.policies` names a file to use in their place. A policy
//! is a list of rules that only give, never take: what no rule gives is refused. A token's scopes narrow it further.
//!
//! ```json
//! { "types": ["@directory", "Basic"], "except": ["Slot"], "may": "rs", "to": "all", "where": "active=true" }
//! ```
//!
//! | | |
//! |---|---|
//! | `types`, `except` | names of resource types, `*` for all, `@name` for a set of the same file |
//! | `may` | letters as in scopes: create, read, update, delete, search |
//! | `to` | a [`Reach`] |
//! | `where` | a search that the resource must also match; `{user}` stands for `Practitioner/7`, `{user.id}` for `7` |
//!
//! Beside them the file says what ties a holder to a patient, and for how long ([`Terms`]), and who may break the glass.

mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::SignedDuration;
use serde::Deserialize;

use self::file::place;
use super::scope::check_filter;
use crate::fhir::caller::Permissions;
use crate::fhir::server::FhirServer;

/// What holds where the settings name no file.
pub const BUILT_IN: &str = include_str!("../policies.json");

/// Whom a policy is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Patient,
    Practitioner,
    Admin,
    /// A back end in its own name.
    System,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Patient, Role::Practitioner, Role::Admin, Role::System];

    /// That of an account; a back end in its own name has none.
    pub fn of(account: Option<super::Role>) -> Role {
        match account {
            Some(super::Role::Patient) => Role::Patient,
            Some(super::Role::Practitioner) => Role::Practitioner,
            Some(super::Role::Admin) => Role::Admin,
            None => Role::System,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Role::Patient => "patient",
            Role::Practitioner => "practitioner",
            Role::Admin => "admin",
            Role::System => "system",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which resources of its types a rule is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    All,
    /// Those of the patient that the caller is.
    Own,
    /// Those of patients whom the caller cares for now, but for what these refused by a Consent.
    CaredFor,
    /// Those of patients for whom the caller broke the glass, whatever they refused.
    BreakGlass,
}

impl Reach {
    pub fn name(self) -> &'static str {
        match self {
            Reach::All => "all",
            Reach::Own => "own",
            Reach::CaredFor => "cared-for",
            Reach::BreakGlass => "break-glass",
        }
    }
}

/// What a rule gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Its place among the rules of its role, from 1, by which it is named to people.
    pub number: usize,
    pub types: BTreeSet<&'static str>,
    pub may: Permissions,
    pub to: Reach,
    /// A query without `?`. See [`Rule::filter_for`].
    pub filter: Option<String>,
}

impl Rule {
    /// Whether it gives all these letters on a type.
    pub fn gives(&self, letters: Permissions, resource_type: &str) -> bool {
        self.may.contain(letters) && self.types.contains(resource_type)
    }

    /// The query that a resource must match, for a user who is `Practitioner/7` or the like; `None` if any will do.
    pub fn filter_for(&self, user: &str) -> Option<String> {
        let id = user.rsplit('/').next().unwrap_or_default();
        let filter = self.filter.as_ref()?;
        Some(filter.replace(USER_ID, id).replace(USER, user))
    }
}

const USER: &str = "{user}";
const USER_ID: &str = "{user.id}";

/// How long what ties a holder to a patient reaches beyond its own time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Term {
    /// Before its start.
    pub before: SignedDuration,
    /// After its end.
    pub after: SignedDuration,
}

/// The types of resources that tie a holder to a patient. One that is left out of the file ties nobody.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Terms(BTreeMap<&'static str, Term>);

impl Terms {
    /// Those that can.
    pub const TYPES: [&'static str; 6] = [
        "Appointment",
        "CareTeam",
        "Consent",
        "Encounter",
        "Patient",
        "RelatedPerson",
    ];

    pub fn of(&self, resource_type: &str) -> Option<Term> {
        self.0.get(resource_type).copied()
    }

    /// Changes whenever the same resources would tie others, or for another time.
    pub fn fingerprint(&self) -> String {
        let term = |(name, term): (&&str, &Term)| format!("{name} {} {}", term.before.as_secs(), term.after.as_secs());
        self.0.iter().map(term).collect::<Vec<_>>().join(", ")
    }
}

/// Who may reach a record in an emergency, and for how long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BreakGlass {
    pub roles: BTreeSet<Role>,
    pub lasts: SignedDuration,
}

/// All that the file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policies {
    rules: BTreeMap<Role, Vec<Rule>>,
    pub terms: Terms,
    pub break_glass: BreakGlass,
}

/// What is wrong with a file of policies, and where: whole sentences for whoever wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyError(pub String);

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PolicyError {}

impl PolicyError {
    fn within(self, place: &str) -> PolicyError {
        PolicyError(format!("In the {place}: {self}"))
    }
}

impl Policies {
    /// Reads a file of policies. Whether its searches can be asked is for [`Policies::check_filters`], since that depends on the
    /// search parameters.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str) -> Result<Policies, PolicyError> {
        file::read(text)
    }

    /// Whether every `where` can be asked of the types of its rule. At its use, one that cannot gives nothing.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check_filters(&self, server: &FhirServer) -> Result<(), PolicyError> {
        for (role, rules) in &self.rules {
            for rule in rules {
                let Some(filter) = rule.filter_for("Practitioner/7") else {
                    continue;
                };
                for resource_type in &rule.types {
                    let checked = check_filter(server, resource_type, &filter);
                    let wrong = |text| PolicyError(format!("{resource_type}: {text}"));
                    checked.map_err(|text| wrong(text).within(&place(*role, rule.number)))?;
                }
            }
        }
        Ok(())
    }

    /// What a role may do.
    pub fn rules(&self, role: Role) -> &[Rule] {
        self.rules.get(&role).map_or(&[], Vec::as_slice)
    }
}

impl Default for Policies {
    /// The built-in ones.
    fn default() -> Policies {
        Policies::parse(BUILT_IN).expect("a test reads the built-in policies")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::file::duration;
    use super::*;

    fn rules_of(role: Role, letters: Permissions, resource_type: &str) -> Vec<&'static str> {
        let policies = Policies::default();
        let rules = policies.rules(role).iter();
        rules
            .filter(|rule| rule.gives(letters, resource_type))
            .map(|rule| rule.to.name())
            .collect()
    }

    #[test]
    fn the_built_in_policies_can_be_read() {
        assert_eq!(
            rules_of(Role::Patient, Permissions::READ, "Observation"),
            ["own", "cared-for"]
        );
        assert_eq!(rules_of(Role::Patient, Permissions::READ, "Organization"), ["all"]);
        assert_eq!(rules_of(Role::Patient, Permissions::UPDATE, "Condition"), [""; 0]);
        assert_eq!(
            rules_of(Role::Practitioner, Permissions::READ, "Condition"),
            ["cared-for", "break-glass"]
        );
        assert_eq!(rules_of(Role::Practitioner, Permissions::READ, "AuditEvent"), [""; 0]);
    }

    #[test]
    fn administrators_see_no_clinical_notes_unless_they_break_the_glass() {
        for clinical in [
            "Observation",
            "Condition",
            "DocumentReference",
            "Composition",
            "Communication",
            "MedicationRequest",
            "Binary",
            "QuestionnaireResponse",
            "DiagnosticReport",
            "Encounter",
            "Procedure",
            "ClinicalImpression",
            "CarePlan",
        ] {
            assert_eq!(
                rules_of(Role::Admin, Permissions::READ, clinical),
                ["break-glass"],
                "{clinical}"
            );
        }
        assert_eq!(rules_of(Role::Admin, Permissions::ALL, "Patient"), ["all"]);
    }

    #[test]
    fn nobody_changes_or_removes_audit_events() {
        for role in Role::ALL {
            for letter in [Permissions::CREATE, Permissions::UPDATE, Permissions::DELETE] {
                assert_eq!(rules_of(role, letter, "AuditEvent"), [""; 0], "{role}");
            }
        }
    }

    fn refusal(change: impl FnOnce(&mut Value)) -> String {
        let mut file: Value = serde_json::from_str(BUILT_IN).unwrap();
        change(&mut file);
        Policies::parse(&file.to_string()).unwrap_err().0
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let first = |file: &mut Value, name: &str, value: Value| file["policies"][0]["rules"][0][name] = value;
        let cases = [
            (
                refusal(|f| first(f, "types", json!(["Observatoin"]))),
                "did you mean Observation?",
            ),
            (
                refusal(|f| first(f, "types", json!(["@nothing"]))),
                "There is no set \"nothing\".",
            ),
            (refusal(|f| first(f, "may", json!("sr"))), "in this order, not \"sr\""),
            (refusal(|f| first(f, "to", json!("mine"))), "unknown variant `mine`"),
            (refusal(|f| first(f, "wher", json!("a=b"))), "unknown field `wher`"),
            (refusal(|f| first(f, "except", json!(["*"]))), "about no type at all"),
            (
                refusal(|f| f["sets"]["directory"] = json!(["Docter"])),
                "In the set \"directory\": There is no resource type",
            ),
            (refusal(|f| f["relations"]["Group"] = json!({})), "Group ties nobody"),
            (
                refusal(|f| f["relations"]["Encounter"] = json!({"after": "ten years"})),
                "\"ten years\" is no duration",
            ),
            (
                refusal(|f| f["breakGlass"]["lasts"] = json!("P2D")),
                "a day (P1D) at most",
            ),
            (
                refusal(|f| f["breakGlass"]["roles"] = json!(["patient"])),
                "not for the role patient",
            ),
            (
                refusal(|f| _ = f["policies"].as_array_mut().unwrap().pop()),
                "no policy of the role system",
            ),
            (
                refusal(|f| f["policies"][1]["role"] = json!("patient")),
                "two policies of the role patient",
            ),
            (
                refusal(|f| f["policies"][3]["rules"][0]["to"] = json!("own")),
                "A back end is nobody",
            ),
        ];
        for (told, expected) in cases {
            assert!(told.contains(expected), "{told}");
        }
        let told = refusal(|f| {
            first(f, "types", json!(["Organization"]));
            first(f, "to", json!("own"));
        });
        assert_eq!(
            told,
            "In the policy of the role patient, rule 1: Organization belongs to no patient, so none can be \"own\"."
        );
    }

    #[test]
    fn a_rule_is_about_the_user_who_asks() {
        let policies = Policies::default();
        let rule = policies.rules(Role::Practitioner).iter();
        let own = rule
            .clone()
            .find(|rule| rule.gives(Permissions::UPDATE, "Practitioner"))
            .unwrap();
        assert_eq!(own.filter_for("Practitioner/7").as_deref(), Some("_id=7"));
        let create = rule
            .clone()
            .find(|rule| rule.gives(Permissions::CREATE, "Patient"))
            .unwrap();
        assert_eq!(
            create.filter_for("Practitioner/7").as_deref(),
            Some("general-practitioner=Practitioner/7")
        );
    }

    #[test]
    fn durations_are_those_of_iso_8601() {
        let hours = |text| duration(text).map(|duration| duration.as_hours());
        assert_eq!(
            (hours("PT1H"), hours("P2D"), hours("P1W"), hours("P4Y")),
            (Ok(1), Ok(48), Ok(168), Ok(35_064))
        );
        for wrong in ["", "1h", "-P1D", "P", "10 years"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
