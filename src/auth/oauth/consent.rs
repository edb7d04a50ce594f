//! What a person can tick, and what an application gets by it.
//!
//! Everything that the application asked for is ticked at first, down to the types behind a `*` and the categories of some
//! types. Whoever takes a tick away gets exactly what is left: a scope for all types stays one only if nothing in it was
//! touched, and so does a scope for a whole type. A page without scripts needs no other rule.

use maud::{Markup, html};

use crate::auth::pages::PageError;
use crate::auth::scopes::{Kind, RecordScope, Scope, Scopes};
use crate::fhir::access::scope::{ScopeContext, patient_types, resource_types};
use crate::fhir::caller::Permissions;

/// Categories that can be let in alone: type, words, filter.
const PARTS: &[(&str, &str, &str)] = &[
    (
        "Observation",
        "vital signs",
        "category=http://terminology.hl7.org/CodeSystem/observation-category|vital-signs",
    ),
    (
        "Observation",
        "laboratory",
        "category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory",
    ),
    (
        "Observation",
        "imaging",
        "category=http://terminology.hl7.org/CodeSystem/observation-category|imaging",
    ),
    (
        "Observation",
        "examinations",
        "category=http://terminology.hl7.org/CodeSystem/observation-category|exam",
    ),
    (
        "Observation",
        "questionnaires",
        "category=http://terminology.hl7.org/CodeSystem/observation-category|survey",
    ),
    (
        "Observation",
        "habits and life",
        "category=http://terminology.hl7.org/CodeSystem/observation-category|social-history",
    ),
    (
        "Observation",
        "living conditions",
        "category=http://hl7.org/fhir/us/core/CodeSystem/us-core-category|sdoh",
    ),
    (
        "Condition",
        "problem list",
        "category=http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item",
    ),
    (
        "Condition",
        "diagnoses of visits",
        "category=http://terminology.hl7.org/CodeSystem/condition-category|encounter-diagnosis",
    ),
    (
        "Condition",
        "concerns",
        "category=http://hl7.org/fhir/us/core/CodeSystem/condition-category|health-concern",
    ),
    (
        "DocumentReference",
        "clinical notes",
        "category=http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category|clinical-note",
    ),
];

/// What people call types that many applications ask for. The others are called by their own name.
const NAMES: &[(&str, &str)] = &[
    ("AllergyIntolerance", "Allergies"),
    ("Appointment", "Appointments"),
    ("CarePlan", "Care plans"),
    ("CareTeam", "Who cares for you"),
    ("Communication", "Messages"),
    ("Condition", "Health problems and diagnoses"),
    ("Coverage", "Insurance"),
    ("Device", "Implants and devices"),
    ("DiagnosticReport", "Reports of examinations"),
    ("DocumentReference", "Documents and notes"),
    ("Encounter", "Visits"),
    ("Goal", "Goals"),
    ("Immunization", "Vaccinations"),
    ("MedicationDispense", "Medication that was handed out"),
    ("MedicationRequest", "Prescriptions"),
    ("MedicationStatement", "Medication that is taken"),
    ("Observation", "Measurements and test results"),
    ("Patient", "Name, date of birth, contact details"),
    ("Practitioner", "Staff"),
    ("Procedure", "Operations and treatments"),
    ("QuestionnaireResponse", "Answers to questionnaires"),
    ("ServiceRequest", "Orders and referrals"),
];

/// A scope that is offered whole, with what can be taken away from it.
struct Offer {
    scope: Scope,
    /// Behind a `*`: a box per type.
    types: Vec<TypeBox>,
    /// Behind a single type: a box per category.
    parts: Vec<PartBox>,
}

/// A type behind a `*`.
struct TypeBox {
    scope: RecordScope,
    parts: Vec<PartBox>,
}

/// A category of a type.
struct PartBox {
    words: &'static str,
    scope: RecordScope,
}

/// Types and the filters of their categories.
pub fn parts() -> impl Iterator<Item = (&'static str, &'static str)> {
    PARTS.iter().map(|(name, _, filter)| (*name, *filter))
}

fn parts_of(scope: &RecordScope) -> Vec<PartBox> {
    let of_type = PARTS.iter().filter(|(name, _, _)| scope.resource_type == Some(name));
    let of_type = of_type.filter(|_| scope.filter.is_none());
    of_type
        .map(|(_, words, filter)| PartBox {
            words,
            scope: scope.of_part(filter),
        })
        .collect()
}

/// What is offered for these scopes. One that is within another is not asked about twice.
fn offers(asked: &Scopes) -> Vec<Offer> {
    let all: Vec<&Scope> = asked.iter().collect();
    let is_within_another = |index: usize, scope: &Scope| {
        let alone = Scopes::of(scope.clone());
        let mut others = all.iter().enumerate().filter(|(other, _)| *other != index);
        others.any(|(other, wider)| {
            let wider = Scopes::of((*wider).clone());
            // Of two that say the same, the first one stays.
            wider.cover(&alone) && (other < index || !alone.cover(&wider))
        })
    };
    let offered = all
        .iter()
        .enumerate()
        .filter(|(index, scope)| !is_within_another(*index, scope));
    offered.map(|(_, scope)| Offer::of((*scope).clone())).collect()
}

impl Offer {
    fn of(scope: Scope) -> Offer {
        let (types, parts) = match &scope.kind {
            Kind::Records(records) if records.resource_type.is_none() => {
                let types: Vec<&'static str> = match records.context {
                    ScopeContext::Patient => patient_types().collect(),
                    ScopeContext::User | ScopeContext::System => resource_types().collect(),
                };
                let boxes = types.into_iter().map(|name| {
                    let scope = records.of_type(name);
                    let parts = parts_of(&scope);
                    TypeBox { scope, parts }
                });
                (boxes.collect(), Vec::new())
            }
            Kind::Records(records) => (Vec::new(), parts_of(records)),
            _ => (Vec::new(), Vec::new()),
        };
        Offer { scope, types, parts }
    }

    /// The values of all its boxes.
    fn boxes(&self) -> impl Iterator<Item = String> {
        let of_types = self.types.iter().flat_map(|ty| {
            let parts = ty.parts.iter().map(|part| part.scope.text());
            parts.chain([ty.scope.text()])
        });
        let parts = self.parts.iter().map(|part| part.scope.text());
        of_types.chain(parts).chain([self.scope.text.clone()])
    }

    /// What is left of it.
    fn narrowed(&self, is_ticked: &dyn Fn(&str) -> bool, granted: &mut Scopes) {
        if self.boxes().all(|value| is_ticked(&value)) {
            granted.add(self.scope.clone());
            return;
        }
        for ty in &self.types {
            narrowed_type(&ty.scope, &ty.parts, is_ticked, granted);
        }
        if let Kind::Records(records) = &self.scope.kind
            && records.resource_type.is_some()
        {
            narrowed_type(records, &self.parts, is_ticked, granted);
        }
    }
}

/// The whole type if all of it is ticked, else the categories that are.
fn narrowed_type(scope: &RecordScope, parts: &[PartBox], is_ticked: &dyn Fn(&str) -> bool, granted: &mut Scopes) {
    let is_whole = is_ticked(&scope.text()) && parts.iter().all(|part| is_ticked(&part.scope.text()));
    let left: Vec<&RecordScope> = match is_whole {
        true => vec![scope],
        false => parts
            .iter()
            .map(|part| &part.scope)
            .filter(|part| is_ticked(&part.text()))
            .collect(),
    };
    for scope in left {
        granted.add(Scope {
            text: scope.text(),
            kind: Kind::Records(scope.clone()),
        });
    }
}

/// What the person allows by these ticks.
///
/// # Errors
/// [`PageError::NotOurForm`] for one that was not on the page.
pub fn granted(asked: &Scopes, ticked: &[&str]) -> Result<Scopes, PageError> {
    let offers = offers(asked);
    let boxes: Vec<String> = offers.iter().flat_map(Offer::boxes).collect();
    if ticked.iter().any(|ticked| !boxes.iter().any(|value| value == ticked)) {
        return Err(PageError::NotOurForm);
    }
    let is_ticked = |value: &str| ticked.contains(&value);
    let mut granted = Scopes::default();
    for offer in &offers {
        offer.narrowed(&is_ticked, &mut granted);
    }
    Ok(granted)
}

/// The boxes of a page.
pub fn boxes(asked: &Scopes) -> Markup {
    let offers = offers(asked);
    let (records, others): (Vec<&Offer>, Vec<&Offer>) = offers
        .iter()
        .partition(|offer| matches!(offer.scope.kind, Kind::Records(_)));
    html! {
        fieldset {
            legend { "It may" }
            @for offer in others { (tick(&offer.scope.text, in_words(&offer.scope.kind))) }
            @for offer in records { (offer.markup()) }
        }
    }
}

impl Offer {
    fn markup(&self) -> Markup {
        let Kind::Records(scope) = &self.scope.kind else {
            return html! {};
        };
        let whose = match scope.context {
            ScopeContext::Patient => "in the record of the one patient",
            ScopeContext::User => "wherever you may do so yourself",
            ScopeContext::System => "everywhere",
        };
        let what = format!("{} – {}, {whose}", self.name(scope), verbs(scope.permissions));
        if self.types.is_empty() && self.parts.is_empty() {
            return tick(&self.scope.text, html! { (what) });
        }
        html! {
            details {
                summary { (what) ". Choose what of it" }
                @for ty in &self.types {
                    @let name = ty.scope.resource_type.unwrap_or_default();
                    @if ty.parts.is_empty() {
                        (tick(&ty.scope.text(), html! { (name_of(name)) }))
                    } @else {
                        fieldset {
                            legend { (name_of(name)) }
                            (part_boxes(&ty.parts))
                            (tick(&ty.scope.text(), html! { "all others (only if nothing above is left out)" }))
                        }
                    }
                }
                (part_boxes(&self.parts))
                @let rest = if self.types.is_empty() { "all others" } else { "kinds of records that are added to FHIR later" };
                (tick(&self.scope.text, html! { (rest) " (only if nothing above is left out)" }))
            }
        }
    }

    fn name(&self, scope: &RecordScope) -> String {
        let name = scope.resource_type.map_or("All kinds of records".to_owned(), name_of);
        let part = scope.filter.as_ref().map(|filter| {
            let known = PARTS
                .iter()
                .find(|(name, _, part)| scope.resource_type == Some(name) && part == filter);
            known.map_or(filter.as_str(), |(_, words, _)| words)
        });
        part.map_or(name.clone(), |part| format!("{name}, only: {part}"))
    }
}

fn part_boxes(parts: &[PartBox]) -> Markup {
    html! { @for part in parts { (tick(&part.scope.text(), html! { (part.words) })) } }
}

fn tick(value: &str, words: Markup) -> Markup {
    html! {
        p { label class="check" { input type="checkbox" name="scope" value=(value) checked; " " (words) } }
    }
}

fn in_words(kind: &Kind) -> Markup {
    match kind {
        Kind::OpenId => html! { "know that it is you" },
        Kind::FhirUser => html! { "see the entry that says who you are" },
        Kind::Profile => html! { "know your name" },
        Kind::Offline => html! { "keep its access when you have signed out, until you take it away" },
        Kind::Online => html! { "keep its access as long as you are signed in" },
        Kind::Launch => html! { "know what it was opened for" },
        Kind::LaunchPatient => html! { "know which patient it is about" },
        Kind::LaunchEncounter => html! { "know which visit it is about" },
        Kind::Records(_) => html! {},
    }
}

fn verbs(permissions: Permissions) -> String {
    let verbs = [
        (Permissions::READ, "see"),
        (Permissions::SEARCH, "search"),
        (Permissions::CREATE, "add"),
        (Permissions::UPDATE, "change"),
        (Permissions::DELETE, "delete"),
    ];
    let allowed = verbs.iter().filter(|(needed, _)| permissions.contain(*needed));
    allowed.map(|(_, verb)| *verb).collect::<Vec<_>>().join(", ")
}

/// `Medication request` of `MedicationRequest`, or what people call it.
fn name_of(resource_type: &str) -> String {
    if let Some((_, name)) = NAMES.iter().find(|(name, _)| *name == resource_type) {
        return (*name).to_owned();
    }
    let mut words = String::new();
    for (index, letter) in resource_type.char_indices() {
        if letter.is_ascii_uppercase() && index > 0 {
            words.push(' ');
            words.push(letter.to_ascii_lowercase());
        } else {
            words.push(letter);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is granted of `asked` when all is ticked but what `untick` says.
    fn left(asked: &str, untick: impl Fn(&str) -> bool) -> String {
        let asked = Scopes::parse(asked).unwrap();
        let boxes: Vec<String> = offers(&asked).iter().flat_map(Offer::boxes).collect();
        let ticked: Vec<&str> = boxes
            .iter()
            .map(String::as_str)
            .filter(|value| !untick(value))
            .collect();
        granted(&asked, &ticked).unwrap().to_string()
    }

    #[test]
    fn what_is_not_touched_is_granted_as_it_was_asked_for() {
        for asked in [
            "openid launch/patient patient/*.read offline_access",
            "user/*.cruds",
            "patient/Observation.rs user/Patient.r",
        ] {
            assert_eq!(left(asked, |_| false), asked);
        }
    }

    #[test]
    fn a_scope_within_another_is_not_asked_about_twice() {
        let asked = "patient/Observation.r patient/*.rs patient/Condition.cu patient/Condition.uc";
        let asked = asked.strip_suffix(" patient/Condition.uc").unwrap();
        assert_eq!(left(asked, |_| false), "patient/*.rs patient/Condition.cu");
        assert_eq!(left("patient/*.rs patient/*.read", |_| false), "patient/*.rs");
    }

    #[test]
    fn a_type_that_is_left_out_leaves_the_others() {
        let granted = left("patient/*.read openid", |value| value == "patient/Condition.read");
        let words: Vec<&str> = granted.split(' ').collect();
        assert!(words.contains(&"openid") && words.contains(&"patient/Patient.read"));
        assert!(words.contains(&"patient/Observation.read") && !words.contains(&"patient/*.read"));
        // The whole type is gone, and its parts, which were left ticked, are not.
        let condition: Vec<&&str> = words
            .iter()
            .filter(|word| word.starts_with("patient/Condition"))
            .collect();
        assert_eq!(condition.len(), 3);
        assert!(
            condition
                .iter()
                .all(|word| word.starts_with("patient/Condition.rs?category="))
        );
        // Only kinds of patients' records are listed for one patient.
        assert!(!words.iter().any(|word| word.starts_with("patient/ValueSet")));
    }

    #[test]
    fn later_kinds_of_records_are_let_in_only_together_with_all_of_now() {
        let granted = left("user/*.rs", |value| value == "user/*.rs");
        assert!(
            !granted.contains('*') && granted.contains("user/ValueSet.rs") && granted.contains("user/Observation.rs")
        );
    }

    #[test]
    fn a_category_is_granted_alone() {
        let laboratory = "category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory";
        let granted = left("patient/Observation.rs patient/Patient.rs", |value| {
            value.starts_with("patient/Observation") && !value.ends_with(laboratory)
        });
        assert_eq!(
            granted,
            format!("patient/Observation.rs?{laboratory} patient/Patient.rs")
        );
    }

    #[test]
    fn a_tick_that_was_not_on_the_page_is_refused() {
        let asked = Scopes::parse("openid patient/Observation.r").unwrap();
        for other in [
            "patient/*.r",
            "patient/Observation.rs",
            "profile",
            "patient/Observation.r?category=x",
        ] {
            assert_eq!(
                granted(&asked, &["openid", other]).unwrap_err(),
                PageError::NotOurForm,
                "{other}"
            );
        }
        assert!(granted(&asked, &[]).unwrap().is_empty());
    }

    #[test]
    fn types_are_called_by_words() {
        assert_eq!(name_of("Immunization"), "Vaccinations");
        assert_eq!(name_of("VisionPrescription"), "Vision prescription");
        assert_eq!(verbs(Permissions::LOOK | Permissions::CREATE), "see, search, add");
    }
}
