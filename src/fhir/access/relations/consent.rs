//! What a Consent permits and denies (<https://hl7.org/fhir/R4/consent.html>).
//!
//! A Consent is a tree of provisions, each narrower than the one around it, and the innermost one that fits decides; of two
//! beside each other, the one that denies. It is read into plain rows here: for each holder that it names and everybody
//! else, each type that it names and all others, and each stretch of time between the ends of its periods, what it comes to.
//!
//! | in a provision | is read as |
//! |---|---|
//! | `type` | permit or deny; none at the root: what `policyRule` says, deny for opting out |
//! | `period` | when |
//! | `actor` | who: Practitioner, PractitionerRole, Organization, RelatedPerson, Patient of this server |
//! | `class` | which resource types (of `http://hl7.org/fhir/resource-types`) |
//! | `action` | if none of them is access, use or disclose, the provision is about something else |
//! | `purpose` | if all of them are purposes other than care (research, marketing, payment, …), likewise |
//! | anything that narrows it further, or in a way not listed here | see below |
//!
//! **What cannot be told is told to the patient's advantage.** A denial that says more than is understood (security labels,
//! single resources, times of data, classes of other systems, an actor who is a Group, a CareTeam or only described) denies
//! as if it said less: all of it. A permission that does so permits nothing. A permission of some types only ties nobody,
//! since a tie opens all types; it stands as an exception from a denial around it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{ALWAYS, Denial, Name, Reader, Relation, Ties, items};
use crate::fhir::search::types::date::Span;
use crate::fhir::store::Micros;

const RESOURCE_TYPES: &str = "http://hl7.org/fhir/resource-types";
/// Who can be named and then asks.
const ACTORS: &[&str] = &[
    "Practitioner",
    "PractitionerRole",
    "Organization",
    "RelatedPerson",
    "Patient",
];
/// Codes of <https://terminology.hl7.org/ValueSet-v3-PurposeOfUse.html> that are not about caring for the patient.
const OTHER_PURPOSES: &[&str] = &[
    "HMARKT",
    "HRESCH",
    "BIORCH",
    "CLINTRCH",
    "CLINTRCHNPC",
    "CLINTRCHPC",
    "PRECLINTRCH",
    "DSRCH",
    "POARCH",
    "TRANSRCH",
    "HPAYMT",
    "CLMATTCH",
    "COVAUTH",
    "COVERAGE",
    "ELIGDTRM",
    "ELIGVER",
    "ENROLLM",
    "REMITADV",
    "HOPERAT",
    "HACCRED",
    "HCOMPL",
    "HDECD",
    "HDIRECT",
    "HDM",
    "HLEGAL",
    "HOUTCOMS",
    "HPRGRP",
    "HQUALIMP",
    "HSYSADMIN",
    "LABELING",
    "MEMADMIN",
    "PATADMIN",
    "PATSFTY",
    "PERFMSR",
    "RECORDMGT",
    "SYSDEV",
    "TRAIN",
    "PUBHLTH",
    "FRAUD",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Permit,
    Deny,
}

/// Reads what a Consent says about reaching its patient's records.
pub fn read<'v>(reader: &Reader<'v, '_>, ties: &mut Ties<'v>) {
    let Some(patient) = reader.patient_of("patient") else {
        return;
    };
    if reader.text("status") != "active" || !is_about_records(reader.resource) {
        return;
    }
    let Some(provision) = reader.resource.get("provision") else {
        return;
    };
    let mut root = Rule::of(reader, provision);
    if root.verdict.is_none() && opts_out(reader.resource) {
        root.verdict = Some(Verdict::Deny);
    }
    let (mut holders, mut types, mut ends) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    root.visit(&mut |rule| {
        holders.extend(rule.actors.iter().flatten().copied());
        types.extend(rule.classes.iter().flatten().copied());
        ends.extend([rule.span.low, rule.span.high]);
    });
    ends.extend([ALWAYS.low, ALWAYS.high]);
    let ends: Vec<Micros> = ends.into_iter().collect();
    for holder in holders.iter().copied().map(Some).chain([None]) {
        for resource_type in types.iter().copied().map(Some).chain([None]) {
            let verdict = |at| root.verdict_on(holder, resource_type, at);
            for (span, verdict) in stretches(&ends, verdict) {
                match (verdict, holder, resource_type) {
                    (Verdict::Deny, ..) => ties.denials.push(Denial {
                        patient,
                        holder,
                        resource_type,
                        span: reader.stretch(span),
                        except_holders: others(holder.is_none(), &holders),
                        except_types: others(resource_type.is_none(), &types),
                    }),
                    // A tie opens all types; those of them that are denied have rows of their own.
                    (Verdict::Permit, Some(holder), None) => ties.relations.push(Relation {
                        holder,
                        patient,
                        span: reader.stretch(span),
                    }),
                    (Verdict::Permit, ..) => {}
                }
            }
        }
    }
}

/// The ones that rows of their own speak about, for the row about all the others.
fn others<T: Copy + Ord>(is_about_others: bool, named: &BTreeSet<T>) -> Vec<T> {
    match is_about_others {
        true => named.iter().copied().collect(),
        false => Vec::new(),
    }
}

/// The longest stretches between `ends` with one verdict each.
fn stretches(ends: &[Micros], verdict: impl Fn(Micros) -> Option<Verdict>) -> Vec<(Span, Verdict)> {
    let mut stretches: Vec<(Span, Verdict)> = Vec::new();
    for pair in ends.windows(2) {
        let (low, high) = (pair[0], pair[1]);
        let Some(verdict) = verdict(low) else { continue };
        match stretches.last_mut() {
            Some((last, same)) if last.high == low && *same == verdict => last.high = high,
            _ => stretches.push((Span { low, high }, verdict)),
        }
    }
    stretches
}

/// A provision that applies at all, with those in it.
struct Rule<'v> {
    verdict: Option<Verdict>,
    span: Span,
    /// `None`: everybody.
    actors: Option<BTreeSet<Name<'v>>>,
    /// `None`: every type.
    classes: Option<BTreeSet<&'v str>>,
    inner: Vec<Rule<'v>>,
}

impl<'v> Rule<'v> {
    fn of(reader: &Reader<'v, '_>, provision: &'v Value) -> Rule<'v> {
        let verdict = match provision.get("type").and_then(Value::as_str) {
            Some("deny") => Some(Verdict::Deny),
            Some("permit") => Some(Verdict::Permit),
            _ => None,
        };
        let verdict = verdict.filter(|_| is_about_care(provision));
        let is_plain = ["securityLabel", "code", "dataPeriod", "data"]
            .iter()
            .all(|name| provision.get(*name).is_none());
        let actors = provision.get("actor").map(|actors| actors_of(reader, actors));
        let classes = provision.get("class").map(classes_of);
        let is_whole = |known: Option<bool>| known != Some(false);
        let is_understood = is_plain
            && is_whole(actors.as_ref().map(|(_, known)| *known))
            && is_whole(classes.as_ref().map(|(_, known)| *known));
        // What is not understood does not narrow a denial.
        let keeps = |known: bool| known || verdict != Some(Verdict::Deny);
        Rule {
            verdict: verdict.filter(|verdict| is_understood || *verdict == Verdict::Deny),
            span: provision.get("period").and_then(Span::period).unwrap_or(ALWAYS),
            actors: actors.filter(|(_, known)| keeps(*known)).map(|(actors, _)| actors),
            classes: classes.filter(|(_, known)| keeps(*known)).map(|(classes, _)| classes),
            inner: items(provision.get("provision"))
                .map(|inner| Rule::of(reader, inner))
                .collect(),
        }
    }

    fn visit(&self, visit: &mut impl FnMut(&Rule<'v>)) {
        visit(self);
        self.inner.iter().for_each(|inner| inner.visit(visit));
    }

    /// What it comes to for somebody (`None`: whoever is not named), a type (`None`: any that is not named) and the time
    /// from `at` to the next end of a period.
    fn verdict_on(&self, holder: Option<Name<'_>>, resource_type: Option<&str>, at: Micros) -> Option<Verdict> {
        let fits = |actors: &BTreeSet<Name<'_>>| holder.is_some_and(|holder| actors.contains(&holder));
        let holds = |classes: &BTreeSet<&str>| resource_type.is_some_and(|ty| classes.contains(ty));
        let is_met = self.span.low <= at
            && at < self.span.high
            && self.actors.as_ref().is_none_or(fits)
            && self.classes.as_ref().is_none_or(holds);
        if !is_met {
            return None;
        }
        let inner = self
            .inner
            .iter()
            .filter_map(|inner| inner.verdict_on(holder, resource_type, at));
        let inner = inner.reduce(|a, b| match (a, b) {
            (Verdict::Permit, Verdict::Permit) => Verdict::Permit,
            _ => Verdict::Deny,
        });
        inner.or(self.verdict)
    }
}

/// The actors that can ask here, and whether those are all that are meant. Who is on another server, or a Device, never
/// asks.
fn actors_of<'v>(reader: &Reader<'v, '_>, actors: &'v Value) -> (BTreeSet<Name<'v>>, bool) {
    let mut all_known = true;
    let known = items(Some(actors)).filter_map(|actor| {
        let reference = actor.get("reference");
        let text = reference.and_then(|reference| reference.get("reference")?.as_str());
        let name = reader.name(reference, ACTORS);
        let is_elsewhere = text.is_some_and(|text| text.contains("://") && reader.locator.local(text).is_none());
        let is_device = reader.name(reference, &["Device"]).is_some();
        all_known &= name.is_some() || is_elsewhere || is_device;
        name
    });
    (known.collect(), all_known)
}

/// The resource types that are named, and whether those are all that is meant.
fn classes_of(classes: &Value) -> (BTreeSet<&str>, bool) {
    let mut all_known = true;
    let known = items(Some(classes)).filter_map(|class| {
        let code = class
            .get("code")
            .and_then(Value::as_str)
            .filter(|_| class["system"] == RESOURCE_TYPES);
        all_known &= code.is_some();
        code
    });
    (known.collect(), all_known)
}

/// Whether a provision is about access to records in the course of care.
fn is_about_care(provision: &Value) -> bool {
    let mut actions = items(provision.get("action"))
        .flat_map(|action| items(action.get("coding")))
        .filter_map(|coding| coding["code"].as_str())
        .peekable();
    let is_access = actions.peek().is_none() || actions.any(|code| !matches!(code, "collect" | "correct"));
    let mut purposes = items(provision.get("purpose")).peekable();
    let is_care = purposes.peek().is_none()
        || purposes.any(|purpose| {
            !purpose["code"]
                .as_str()
                .is_some_and(|code| OTHER_PURPOSES.contains(&code))
        });
    is_access && is_care
}

/// Consents to research and advance directives say nothing about who sees a record.
fn is_about_records(consent: &Value) -> bool {
    let mut codes = items(consent["scope"].get("coding"))
        .filter_map(|coding| coding["code"].as_str())
        .peekable();
    codes.peek().is_none() || codes.any(|code| !matches!(code, "research" | "adr"))
}

/// <https://terminology.hl7.org/ValueSet-v3-ActConsentDirective.html>
fn opts_out(consent: &Value) -> bool {
    items(consent["policyRule"].get("coding"))
        .filter_map(|coding| coding["code"].as_str())
        .any(|code| matches!(code, "OPTOUT" | "OPTOUTE"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Ties;
    use super::*;
    use crate::fhir::access::policy::Policies;
    use crate::fhir::access::policy::Terms;
    use crate::fhir::search::types::reference::Locator;
    use crate::knowledge::definitions::Definitions;

    const ANN: &str = "Practitioner/ann";
    const BOB: &str = "Practitioner/bob";

    fn consent(provision: Value) -> Value {
        json!({
            "resourceType": "Consent", "status": "active", "patient": {"reference": "Patient/p"},
            "scope": {"coding": [{"code": "patient-privacy"}]}, "provision": provision,
        })
    }

    fn actor(reference: &str) -> Value {
        json!([{"role": {"text": "recipient"}, "reference": {"reference": reference}}])
    }

    fn class(names: &[&str]) -> Value {
        names
            .iter()
            .map(|name| json!({"system": RESOURCE_TYPES, "code": name}))
            .collect()
    }

    fn ties_of(terms: &Terms, consent: &Value, look: impl FnOnce(&Ties<'_>)) {
        let locator = Locator {
            definitions: Definitions::r4(),
            base_url: "http://here/fhir",
        };
        look(&Ties::of(terms, locator, "Consent", consent).unwrap());
    }

    /// Whether the rows deny and tie, as a statement reads them.
    fn comes_to(consent: &Value, holder: &str, resource_type: &str, at: &str) -> (bool, bool) {
        let mut result = (false, false);
        ties_of(&Policies::default().terms, consent, |ties| {
            let holder = holder.split_once('/').unwrap();
            let at = Span::parse(at).unwrap().low;
            let is_now = |span: Span| span.low <= at && at < span.high;
            let denies = ties.denials.iter().any(|denial| {
                assert_eq!(denial.patient, "p");
                let is_meant = denial
                    .holder
                    .map_or(!denial.except_holders.contains(&holder), |named| named == holder);
                let type_is_meant = denial
                    .resource_type
                    .map_or(!denial.except_types.contains(&resource_type), |named| {
                        named == resource_type
                    });
                is_now(denial.span) && is_meant && type_is_meant
            });
            let tied = ties
                .relations
                .iter()
                .any(|tie| tie.holder == holder && is_now(tie.span));
            result = (denies, tied);
        });
        result
    }

    const DENIED: (bool, bool) = (true, false);
    const TIED: (bool, bool) = (false, true);
    const NOTHING: (bool, bool) = (false, false);

    #[test]
    fn a_denial_names_whom_what_and_when_or_means_all() {
        let all = consent(json!({"type": "deny"}));
        assert_eq!(comes_to(&all, ANN, "Observation", "2020"), DENIED);
        let one = consent(
            json!({"type": "deny", "actor": actor(ANN), "class": class(&["Observation"]),
            "period": {"start": "2020-02", "end": "2020-03"}}),
        );
        assert_eq!(comes_to(&one, ANN, "Observation", "2020-03-31"), DENIED);
        assert_eq!(comes_to(&one, ANN, "Observation", "2020-04"), NOTHING);
        assert_eq!(comes_to(&one, ANN, "Observation", "2020-01-31"), NOTHING);
        assert_eq!(comes_to(&one, ANN, "Condition", "2020-03"), NOTHING);
        assert_eq!(comes_to(&one, BOB, "Observation", "2020-03"), NOTHING);
    }

    #[test]
    fn the_innermost_provision_that_fits_decides() {
        let but_ann = consent(json!({"type": "deny", "provision": [{"type": "permit", "actor": actor(ANN)}]}));
        assert_eq!(comes_to(&but_ann, ANN, "Observation", "2020"), TIED);
        assert_eq!(comes_to(&but_ann, BOB, "Observation", "2020"), DENIED);
        let ann_not_notes = consent(json!({"type": "permit", "actor": actor(ANN), "provision": [
            {"type": "deny", "class": class(&["Composition"]), "provision": [
                {"type": "permit", "period": {"start": "2021"}}]}]}));
        assert_eq!(comes_to(&ann_not_notes, ANN, "Composition", "2020"), (true, true));
        assert_eq!(comes_to(&ann_not_notes, ANN, "Observation", "2020"), TIED);
        assert_eq!(comes_to(&ann_not_notes, ANN, "Composition", "2022"), TIED);
        assert_eq!(comes_to(&ann_not_notes, BOB, "Composition", "2020"), NOTHING);
        let siblings = consent(json!({"type": "permit", "provision": [
            {"type": "permit", "actor": actor(ANN)}, {"type": "deny", "actor": actor(ANN)}]}));
        assert_eq!(comes_to(&siblings, ANN, "Observation", "2020"), DENIED);
    }

    #[test]
    fn opting_out_denies_what_no_provision_permits() {
        let mut opted_out = consent(json!({"provision": [{"type": "permit", "actor": actor(BOB)}]}));
        assert_eq!(comes_to(&opted_out, ANN, "Observation", "2020"), NOTHING);
        opted_out["policyRule"] = json!({"coding": [{"code": "OPTOUT"}]});
        assert_eq!(comes_to(&opted_out, ANN, "Observation", "2020"), DENIED);
        assert_eq!(comes_to(&opted_out, BOB, "Observation", "2020"), TIED);
    }

    #[test]
    fn a_permission_of_some_types_ties_nobody() {
        let some = consent(json!({"type": "deny", "provision": [
            {"type": "permit", "actor": actor(ANN), "class": class(&["Observation"])}]}));
        assert_eq!(comes_to(&some, ANN, "Observation", "2020"), NOTHING);
        assert_eq!(comes_to(&some, ANN, "Condition", "2020"), DENIED);
    }

    #[test]
    fn what_is_not_understood_denies_more_and_permits_nothing() {
        for (name, value) in [
            ("securityLabel", json!([{"code": "R"}])),
            (
                "data",
                json!([{"meaning": "instance", "reference": {"reference": "Observation/1"}}]),
            ),
            ("class", json!([{"system": "http://loinc.org", "code": "34133-9"}])),
            (
                "actor",
                json!([{"role": {"text": "nurse"}, "reference": {"display": "the nurse"}}]),
            ),
            ("actor", actor("Group/nurses")),
        ] {
            let mut denial = json!({"type": "deny"});
            denial[name] = value.clone();
            assert_eq!(comes_to(&consent(denial), ANN, "Observation", "2020"), DENIED, "{name}");
            let mut permission = json!({"type": "permit", "actor": actor(ANN)});
            permission[name] = value;
            assert_eq!(
                comes_to(&consent(permission), ANN, "Observation", "2020"),
                NOTHING,
                "{name}"
            );
        }
        let elsewhere = consent(json!({"type": "deny", "actor": actor("https://other.example/fhir/Practitioner/ann")}));
        assert_eq!(comes_to(&elsewhere, ANN, "Observation", "2020"), NOTHING);
        let here = consent(json!({"type": "deny", "actor": actor("http://here/fhir/Practitioner/ann")}));
        assert_eq!(comes_to(&here, ANN, "Observation", "2020"), DENIED);
    }

    #[test]
    fn consents_to_something_else_say_nothing_about_care() {
        let deny = |name: &str, value: Value| {
            let mut provision = json!({"type": "deny"});
            provision[name] = value;
            comes_to(&consent(provision), ANN, "Observation", "2020")
        };
        assert_eq!(
            deny("purpose", json!([{"code": "HMARKT"}, {"code": "HRESCH"}])),
            NOTHING
        );
        assert_eq!(deny("purpose", json!([{"code": "HMARKT"}, {"code": "TREAT"}])), DENIED);
        assert_eq!(deny("purpose", json!([{"code": "something"}])), DENIED);
        assert_eq!(deny("action", json!([{"coding": [{"code": "correct"}]}])), NOTHING);
        assert_eq!(deny("action", json!([{"coding": [{"code": "disclose"}]}])), DENIED);
        for (name, value) in [
            ("status", json!("inactive")),
            ("scope", json!({"coding": [{"code": "research"}]})),
            ("patient", json!({"display": "somebody"})),
        ] {
            let mut other = consent(json!({"type": "deny"}));
            other[name] = value;
            assert_eq!(comes_to(&other, ANN, "Observation", "2020"), NOTHING, "{name}");
        }
        ties_of(&Terms::default(), &consent(json!({"type": "deny"})), |ties| {
            assert!(ties.is_empty())
        });
    }
}
