//! What stands against a prescription, by what is known: allergies, duplicates, interactions, doses. Pure.

use std::collections::BTreeSet;

use num_rational::BigRational;
use serde_json::{Value, json};

use super::dosage::amount::{compare, decimal};
use super::dosage::timing::Timing;
use super::formulary::{Formulary, IngredientId, Recognised, Severity};
use super::names::UCUM;

/// A medicine that somebody takes or is to take.
#[derive(Clone, Debug)]
pub struct Medicine {
    /// `MedicationRequest/7`; for what is not stored yet, its place in the request.
    pub reference: String,
    /// What people call it.
    pub name: String,
    pub known: Recognised,
    pub dosage: Vec<Value>,
}

/// Something that somebody must not have.
#[derive(Clone, Debug)]
pub struct Allergy {
    /// `AllergyIntolerance/7`
    pub reference: String,
    pub name: String,
    pub ingredients: BTreeSet<IngredientId>,
    pub classes: BTreeSet<usize>,
    /// How bad another contact is taken to be.
    pub severity: Severity,
}

/// What kind of problem (`v3-ActCode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Allergy,
    Interaction,
    Duplicate,
    Dose,
}

impl Kind {
    pub fn code(self) -> &'static str {
        match self {
            Kind::Allergy => "ALGY",
            Kind::Interaction => "DRG",
            Kind::Duplicate => "DUPTHPY",
            Kind::Dose => "DOSE",
        }
    }

    pub fn display(self) -> &'static str {
        match self {
            Kind::Allergy => "Allergy Alert",
            Kind::Interaction => "Drug Interaction Alert",
            Kind::Duplicate => "Duplicate Therapy Alert",
            Kind::Dose => "Dosage problem",
        }
    }
}

/// A problem that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub kind: Kind,
    pub severity: Severity,
    /// The medicine that is to be prescribed first, then what it meets.
    pub implicated: Vec<String>,
    /// What happens, and why, in sentences.
    pub detail: String,
    /// Where that is said.
    pub source: Option<String>,
}

/// Everything that stands against `wanted`, worst first.
///
/// `taken` is what the patient takes besides, without what `wanted` is to replace.
pub fn check(formulary: &Formulary, wanted: &[Medicine], taken: &[Medicine], allergies: &[Allergy]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, medicine) in wanted.iter().enumerate() {
        let allergic = allergies
            .iter()
            .filter_map(|allergy| against_allergy(formulary, medicine, allergy));
        findings.extend(allergic);
        for other in wanted[index + 1..].iter().chain(taken) {
            findings.extend(interaction(formulary, medicine, other));
            findings.extend(duplicate(formulary, medicine, other));
        }
        findings.extend(too_much(formulary, medicine));
    }
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.kind));
    findings
}

fn against_allergy(formulary: &Formulary, medicine: &Medicine, allergy: &Allergy) -> Option<Finding> {
    let finding = |severity: Severity, detail: String, source: Option<&str>| Finding {
        kind: Kind::Allergy,
        severity,
        implicated: vec![medicine.reference.clone(), allergy.reference.clone()],
        detail,
        source: source.map(str::to_owned),
    };
    let said = format!("{} is on record as an allergy or intolerance", allergy.name);
    if !medicine.known.ingredients.is_disjoint(&allergy.ingredients) {
        let detail = format!("{said}, and {} has it in it.", medicine.name);
        return Some(finding(allergy.severity, detail, None));
    }
    let class = medicine.known.classes.intersection(&allergy.classes).next();
    if let Some(class) = class {
        let detail = format!(
            "{said}, and {} is one of the {}.",
            medicine.name,
            formulary.class(*class).name
        );
        return Some(finding(allergy.severity, detail, None));
    }
    // One of a class, where another of it is on record.
    let relatives = allergy
        .ingredients
        .iter()
        .flat_map(|id| &formulary.ingredient(*id).classes);
    let shared = relatives
        .copied()
        .find(|class| formulary.class(*class).cross_reactive && medicine.known.classes.contains(class));
    if let Some(class) = shared {
        let detail = format!(
            "{said}; like it, {} is one of the {}.",
            medicine.name,
            formulary.class(class).name
        );
        return Some(finding(allergy.severity, detail, None));
    }
    let mut crossing = medicine.known.ingredients.iter().flat_map(|wanted| {
        let of_ingredients = allergy
            .ingredients
            .iter()
            .map(|id| formulary.cross_reaction(*id, *wanted));
        let of_classes = allergy
            .classes
            .iter()
            .map(|id| formulary.cross_reaction_of_class(*id, *wanted));
        of_ingredients.chain(of_classes).flatten().collect::<Vec<_>>()
    });
    let fact = crossing.next()?;
    let severity = fact.severity.min(allergy.severity);
    Some(finding(
        severity,
        format!("{said}. {}", fact.effect),
        Some(&fact.source),
    ))
}

fn interaction(formulary: &Formulary, medicine: &Medicine, other: &Medicine) -> Option<Finding> {
    let pairs = medicine
        .known
        .ingredients
        .iter()
        .flat_map(|a| other.known.ingredients.iter().map(move |b| (*a, *b)));
    let facts = pairs
        .filter(|(a, b)| a != b)
        .filter_map(|(a, b)| formulary.interaction(a, b));
    let fact = facts.max_by_key(|fact| fact.severity)?;
    let mechanism = fact.mechanism.as_deref().unwrap_or_default();
    Some(Finding {
        kind: Kind::Interaction,
        severity: fact.severity,
        implicated: vec![medicine.reference.clone(), other.reference.clone()],
        detail: format!("{} with {}: {} {mechanism}", medicine.name, other.name, fact.effect)
            .trim_end()
            .to_owned(),
        source: Some(fact.source.clone()),
    })
}

fn duplicate(formulary: &Formulary, medicine: &Medicine, other: &Medicine) -> Option<Finding> {
    let finding = |severity: Severity, detail: String| Finding {
        kind: Kind::Duplicate,
        severity,
        implicated: vec![medicine.reference.clone(), other.reference.clone()],
        detail,
        source: None,
    };
    if let Some(same) = medicine.known.ingredients.intersection(&other.known.ingredients).next() {
        let name = &formulary.ingredient(*same).name;
        let detail = format!("{} and {} both have {name} in them.", medicine.name, other.name);
        return Some(finding(Severity::High, detail));
    }
    // Medicines that are not known may be the same by name.
    let is_same_name = medicine.known.is_unknown() && medicine.name.to_lowercase() == other.name.to_lowercase();
    if is_same_name {
        return Some(finding(Severity::High, format!("{} is there twice.", medicine.name)));
    }
    let shared = medicine.known.classes.intersection(&other.known.classes);
    let judged = shared.filter_map(|class| formulary.class(*class).duplicate.map(|severity| (severity, *class)));
    let (severity, class) = judged.max_by_key(|(severity, _)| *severity)?;
    let detail = format!(
        "{} and {} are both {}.",
        medicine.name,
        other.name,
        formulary.class(class).name
    );
    Some(finding(severity, detail))
}

/// Whether more is taken in a day than is known to be good.
fn too_much(formulary: &Formulary, medicine: &Medicine) -> Option<Finding> {
    let mut known = medicine.known.ingredients.iter();
    // Of a combination, the amount says nothing about each part.
    let (Some(ingredient), None) = (known.next(), known.next()) else {
        return None;
    };
    let ingredient = formulary.ingredient(*ingredient);
    let (amount, unit) = ingredient.most.as_ref()?;
    let amount: Value = serde_json::from_str(amount).ok()?;
    let most = json!({"value": amount, "system": UCUM, "code": unit});
    let daily = medicine.dosage.iter().filter_map(daily);
    let mut above = daily.filter(|(dose, times)| {
        let scaled = decimal(&dose["value"]).map(|value| value.to_rational() * times);
        let limit = decimal(&most["value"]).map(|value| value.to_rational());
        let factor = compare(dose, &most).and_then(|_| super::dosage::amount::factor(dose, &most));
        match (scaled, limit, factor) {
            (Some(scaled), Some(limit), Some(factor)) => scaled * factor > limit,
            _ => false,
        }
    });
    above.next()?;
    Some(Finding {
        kind: Kind::Dose,
        severity: Severity::High,
        implicated: vec![medicine.reference.clone()],
        detail: format!(
            "{}: more than {amount} {unit} of {} in 24 hours, the most for an adult.",
            medicine.name, ingredient.name
        ),
        source: Some(format!("FDA label of {}", ingredient.name)),
    })
}

/// The most that is taken at a time, and how often in a day at most.
fn daily(dosage: &Value) -> Option<(Value, BigRational)> {
    let mut ignored = Vec::new();
    let given = dosage["doseAndRate"].get(0)?;
    let dose = given.get("doseQuantity").or_else(|| given["doseRange"].get("high"))?;
    let timing = Timing::read(&dosage["timing"], &mut ignored);
    Some((dose.clone(), timing.times_a_day?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn medicine(formulary: &Formulary, reference: &str, name: &str) -> Medicine {
        Medicine {
            reference: reference.to_owned(),
            name: name.to_owned(),
            known: formulary.recognise(&json!({"text": name})),
            dosage: Vec::new(),
        }
    }

    fn allergy(formulary: &Formulary, name: &str, severity: Severity) -> Allergy {
        let named = formulary.named(&json!({"text": name}));
        Allergy {
            reference: "AllergyIntolerance/a".to_owned(),
            name: name.to_owned(),
            ingredients: named.ingredients,
            classes: named.classes,
            severity,
        }
    }

    fn found(wanted: &[&str], taken: &[&str], allergies: &[(&str, Severity)]) -> Vec<(Kind, Severity)> {
        let formulary = Formulary::built_in();
        let of = |names: &[&str], prefix: &str| -> Vec<Medicine> {
            let numbered = names.iter().enumerate();
            numbered
                .map(|(index, name)| medicine(&formulary, &format!("MedicationRequest/{prefix}{index}"), name))
                .collect()
        };
        let allergies: Vec<Allergy> = allergies
            .iter()
            .map(|(name, severity)| allergy(&formulary, name, *severity))
            .collect();
        let findings = check(&formulary, &of(wanted, "w"), &of(taken, "t"), &allergies);
        findings
            .iter()
            .map(|finding| (finding.kind, finding.severity))
            .collect()
    }

    use Kind::{Duplicate, Interaction};
    use Severity::{High, Moderate};

    #[test]
    fn allergies_hold_for_the_ingredient_its_class_and_what_crosses() {
        let penicillin: &[(&str, Severity)] = &[("Penicillin", High)];
        assert_eq!(found(&["Amoxicillin 500 mg"], &[], penicillin), [(Kind::Allergy, High)]);
        assert_eq!(
            found(&["Flucloxacillin"], &[], &[("amoxicillin", High)]),
            [(Kind::Allergy, High)]
        );
        assert_eq!(
            found(&["Amoxicillin"], &[], &[("Amoxicillin", Moderate)]),
            [(Kind::Allergy, Moderate)]
        );
        // From one class into another.
        assert_eq!(found(&["Cefuroxime"], &[], penicillin), [(Kind::Allergy, Moderate)]);
        assert_eq!(
            found(&["Ibuprofen"], &[], &[("Aspirin", High)]),
            [(Kind::Allergy, High)]
        );
        // A class whose members do not stand for each other, and something else altogether.
        assert_eq!(found(&["Omeprazole"], &[], &[("Pantoprazole", High)]), []);
        assert_eq!(found(&["Doxycycline"], &[], penicillin), []);
    }

    #[test]
    fn what_is_taken_already_is_not_prescribed_again_unseen() {
        assert_eq!(
            found(&["Warfarin 5 mg"], &["warfarin 2.5 mg"], &[]),
            [(Duplicate, High)]
        );
        assert_eq!(found(&["Lisinopril"], &["Ramipril"], &[]), [(Duplicate, Moderate)]);
        assert_eq!(found(&["Apixaban"], &["Warfarin"], &[]), [(Duplicate, High)]);
        assert_eq!(found(&["Vitamin X"], &["vitamin x"], &[]), [(Duplicate, High)]);
        assert_eq!(found(&["Vitamin X"], &["Vitamin Y"], &[]), []);
    }

    #[test]
    fn interactions_are_found_between_old_and_new_and_among_the_new() {
        assert_eq!(found(&["Ibuprofen"], &["Warfarin"], &[]), [(Interaction, High)]);
        assert_eq!(
            found(&["Sildenafil", "Glyceryl trinitrate spray"], &[], &[]),
            [(Interaction, High)]
        );
        assert_eq!(found(&["Paracetamol"], &["Ibuprofen", "Warfarin"], &[]), []);
        // Those who take something already are not judged again by what they took before.
        assert_eq!(found(&["Paracetamol"], &["Warfarin", "Aspirin"], &[]), []);
    }

    #[test]
    fn the_worst_comes_first() {
        let all = found(&["Simvastatin"], &["Amlodipine", "Clarithromycin", "Atorvastatin"], &[]);
        assert_eq!(
            all,
            [(Interaction, High), (Interaction, Moderate), (Duplicate, Moderate)]
        );
    }

    #[test]
    fn a_day_has_a_most() {
        let formulary = Formulary::built_in();
        let of = |value: u32, unit: &str, times: u32| {
            let dosage = json!({"timing": {"repeat": {"frequency": times, "period": 1, "periodUnit": "d"}},
                "doseAndRate": [{"doseQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit}}]});
            let mut medicine = medicine(&formulary, "MedicationRequest/p", "Paracetamol 500 mg tablets");
            medicine.dosage = vec![dosage];
            let findings = check(&formulary, &[medicine], &[], &[]);
            findings.iter().map(|finding| finding.kind).collect::<Vec<_>>()
        };
        assert_eq!(of(1, "g", 4), []);
        assert_eq!(of(1, "g", 5), [Kind::Dose]);
        assert_eq!(of(1000, "mg", 5), [Kind::Dose]);
        // Tablets say nothing about milligrams.
        assert_eq!(of(9, "{tablet}", 9), []);
    }
}
