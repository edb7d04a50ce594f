//! Sentences that a pharmacist would write, beside the structures that they come from.

use serde_json::{Value, json};

use super::*;

fn ucum(value: f64, code: &str) -> Value {
    json!({"value": value, "unit": code, "system": "http://unitsofmeasure.org", "code": code})
}

fn of(value: f64, unit: &str) -> Value {
    json!({"value": value, "unit": unit})
}

fn oral() -> Value {
    json!({"coding": [{"system": "http://snomed.info/sct", "code": "26643006", "display": "Oral route"}]})
}

fn every_day(frequency: u64) -> Value {
    json!({"repeat": {"frequency": frequency, "period": 1, "periodUnit": "d"}})
}

/// By mouth, so much at a time.
fn dose(quantity: Value, timing: Value) -> Value {
    json!({"timing": timing, "route": oral(), "doseAndRate": [{"doseQuantity": quantity}]})
}

fn with(mut dosage: Value, name: &str, value: Value) -> Value {
    dosage[name] = value;
    dosage
}

#[test]
fn a_structure_reads_as_a_sentence() {
    let tablet = |value: f64| of(value, "tablet");
    let repeat = |value: Value| json!({"repeat": value});
    let per_hour = json!({"numerator": ucum(100.0, "mL"), "denominator": ucum(1.0, "h")});
    for (dosage, expected) in [
        // How often.
        (dose(tablet(1.0), every_day(1)), "Take 1 tablet by mouth once a day."),
        (dose(tablet(2.0), every_day(2)), "Take 2 tablets by mouth twice a day."),
        (
            dose(of(1.0, "capsules"), every_day(3)),
            "Take 1 capsule by mouth 3 times a day.",
        ),
        (
            dose(
                tablet(1.0),
                repeat(json!({"frequency": 2, "frequencyMax": 3, "period": 1, "periodUnit": "d"})),
            ),
            "Take 1 tablet by mouth 2 to 3 times a day.",
        ),
        (
            dose(
                tablet(1.0),
                repeat(json!({"frequency": 1, "period": 4, "periodMax": 6, "periodUnit": "h"})),
            ),
            "Take 1 tablet by mouth every 4 to 6 hours.",
        ),
        (
            dose(tablet(1.0), repeat(json!({"period": 1, "periodUnit": "h"}))),
            "Take 1 tablet by mouth every hour.",
        ),
        (
            dose(
                tablet(1.0),
                repeat(json!({"frequency": 1, "period": 2, "periodUnit": "d"})),
            ),
            "Take 1 tablet by mouth every 2 days.",
        ),
        (
            dose(
                tablet(1.0),
                repeat(json!({"frequency": 2, "period": 3, "periodUnit": "wk"})),
            ),
            "Take 1 tablet by mouth twice every 3 weeks.",
        ),
        (
            dose(
                tablet(1.0),
                json!({"code": {"coding": [{"code": "BID",
            "system": "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation"}]}}),
            ),
            "Take 1 tablet by mouth twice a day.",
        ),
        // When.
        (
            dose(
                tablet(1.0),
                repeat(json!({"frequency": 1, "period": 1, "periodUnit": "d", "when": ["HS"]})),
            ),
            "Take 1 tablet by mouth once a day, at bedtime.",
        ),
        (
            dose(tablet(1.0), repeat(json!({"when": ["CM", "CV"]}))),
            "Take 1 tablet by mouth every day, with breakfast and with dinner.",
        ),
        (
            dose(
                tablet(1.0),
                repeat(json!({"frequency": 3, "period": 1, "periodUnit": "d", "when": ["AC"],
                "offset": 30})),
            ),
            "Take 1 tablet by mouth 3 times a day, 30 minutes before a meal.",
        ),
        (
            dose(
                tablet(1.0),
                repeat(json!({"frequency": 2, "period": 1, "periodUnit": "d",
                "timeOfDay": ["08:00:00", "20:30:00"], "boundsDuration": ucum(7.0, "d")})),
            ),
            "Take 1 tablet by mouth twice a day, at 08:00 and 20:30, for 7 days.",
        ),
        (
            dose(
                tablet(1.0),
                repeat(json!({"frequency": 1, "period": 1, "periodUnit": "wk", "dayOfWeek": ["mon"]})),
            ),
            "Take 1 tablet by mouth once a week, on Monday.",
        ),
        (
            dose(
                tablet(1.0),
                repeat(json!({"dayOfWeek": ["mon", "wed", "fri"], "timeOfDay": ["07:00:00"]})),
            ),
            "Take 1 tablet by mouth, at 07:00, on Monday, Wednesday and Friday.",
        ),
        (
            dose(tablet(1.0), json!({"event": ["2026-12-24"]})),
            "Take 1 tablet by mouth, on 24 December 2026.",
        ),
        (
            dose(tablet(1.0), repeat(json!({"count": 1}))),
            "Take 1 tablet by mouth once.",
        ),
        (
            dose(
                tablet(1.0),
                repeat(json!({"frequency": 1, "period": 1, "periodUnit": "d", "count": 10})),
            ),
            "Take 1 tablet by mouth once a day, 10 times in all.",
        ),
        // For how long.
        (
            dose(
                tablet(1.0),
                repeat(json!({"frequency": 3, "period": 1, "periodUnit": "d",
                "boundsDuration": ucum(1.0, "wk")})),
            ),
            "Take 1 tablet by mouth 3 times a day for 1 week.",
        ),
        (
            dose(
                tablet(1.0),
                repeat(json!({"frequency": 1, "period": 1, "periodUnit": "d",
                "boundsRange": {"low": ucum(5.0, "d"), "high": ucum(7.0, "d")}})),
            ),
            "Take 1 tablet by mouth once a day for 5 to 7 days.",
        ),
        (
            dose(
                tablet(1.0),
                repeat(json!({"frequency": 1, "period": 1, "periodUnit": "d",
                "boundsPeriod": {"start": "2026-12-01", "end": "2026-12-24"}})),
            ),
            "Take 1 tablet by mouth once a day from 1 December 2026 until 24 December 2026.",
        ),
        // How much: no zeros that trail, commas in thousands, units in full.
        (
            dose(json!({"value": 0.5, "unit": "tablet"}), every_day(1)),
            "Take half a tablet by mouth once a day.",
        ),
        (dose(tablet(1.5), every_day(1)), "Take 1.5 tablets by mouth once a day."),
        (dose(ucum(5.0, "mg"), every_day(1)), "Take 5 mg by mouth once a day."),
        (dose(ucum(0.5, "mg"), every_day(1)), "Take 0.5 mg by mouth once a day."),
        (
            dose(ucum(100.0, "ug"), every_day(1)),
            "Take 100 micrograms by mouth once a day.",
        ),
        (
            dose(ucum(20000.0, "[iU]"), every_day(1)),
            "Take 20,000 international units by mouth once a day.",
        ),
        (
            json!({"timing": every_day(2), "route": oral(),
                "doseAndRate": [{"doseRange": {"low": of(1.0, "tablet"), "high": of(2.0, "tablet")}}]}),
            "Take 1 to 2 tablets by mouth twice a day.",
        ),
        // Ways.
        (
            json!({"timing": every_day(1), "route": {"text": "Subcutaneous route"},
                "doseAndRate": [{"doseQuantity": ucum(10.0, "U")}]}),
            "Inject 10 units under the skin once a day.",
        ),
        (
            json!({"timing": every_day(4), "route": {"text": "ophthalmic"}, "site": {"text": "left eye"},
                "doseAndRate": [{"doseQuantity": of(1.0, "drop")}]}),
            "Put 1 drop into the left eye 4 times a day.",
        ),
        (
            json!({"timing": every_day(2), "route": {"text": "topical"}, "site": {"text": "the elbows"}}),
            "Apply to the elbows twice a day.",
        ),
        (
            json!({"timing": every_day(2), "doseAndRate": [{"doseQuantity": of(2.0, "puff")}]}),
            "Inhale 2 puffs twice a day.",
        ),
        (
            json!({"timing": every_day(2), "method": {"text": "Chew"}, "doseAndRate": [{"doseQuantity": tablet(1.0)}]}),
            "Chew 1 tablet twice a day.",
        ),
        (
            json!({"timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d", "duration": 30,
                "durationUnit": "min"}}, "route": {"text": "Intravenous"},
                "doseAndRate": [{"doseQuantity": ucum(1.0, "g"), "rateRatio": per_hour}]}),
            "Give 1 g into a vein at 100 mL per hour over 30 minutes once a day.",
        ),
        (
            json!({"timing": every_day(1), "route": {"text": "Intrathecal"},
                "doseAndRate": [{"doseQuantity": ucum(1.0, "mL")}]}),
            "Take 1 mL (Intrathecal) once a day.",
        ),
        // When needed, and limits.
        (
            with(
                with(
                    dose(
                        tablet(1.0),
                        repeat(json!({"frequency": 1, "period": 6, "periodUnit": "h", "when": ["C"]})),
                    ),
                    "asNeededCodeableConcept",
                    json!({"text": "pain"}),
                ),
                "maxDosePerPeriod",
                json!({"numerator": tablet(3.0), "denominator": ucum(1.0, "d")}),
            ),
            "Take 1 tablet by mouth every 6 hours when needed for pain, with a meal. At most 3 tablets in 24 hours.",
        ),
        (
            json!({"asNeededBoolean": true, "route": oral(), "doseAndRate": [{"doseQuantity": tablet(1.0)}],
                "maxDosePerAdministration": tablet(2.0)}),
            "Take 1 tablet by mouth when needed. At most 2 tablets at a time.",
        ),
        // What else is told.
        (
            with(
                with(
                    dose(tablet(1.0), every_day(1)),
                    "additionalInstruction",
                    json!([{"text": "swallow whole"}]),
                ),
                "patientInstruction",
                json!("Ask if you feel dizzy."),
            ),
            "Take 1 tablet by mouth once a day. Swallow whole. Ask if you feel dizzy.",
        ),
    ] {
        assert_eq!(text(&dosage).as_deref(), Ok(expected), "{dosage}");
    }
}

#[test]
fn zeros_at_the_end_are_not_written() {
    let dosage: Value = serde_json::from_str(
        r#"{"timing": {"repeat": {"frequency": 1, "period": 1.0, "periodUnit": "d"}},
            "doseAndRate": [{"doseQuantity": {"value": 5.00, "unit": "mg"}}]}"#,
    )
    .unwrap();
    assert_eq!(text(&dosage).unwrap(), "Take 5 mg once a day.");
}

#[test]
fn what_contradicts_itself_is_refused() {
    let tablet = |value: f64| of(value, "tablet");
    let repeat = |value: Value| dose(of(1.0, "tablet"), json!({"repeat": value}));
    for (dosage, element) in [
        (
            repeat(json!({"frequency": 3, "period": 1, "periodUnit": "d", "when": ["HS"]})),
            "timing.repeat.when",
        ),
        (
            repeat(json!({"frequency": 1, "period": 1, "periodUnit": "d", "timeOfDay": ["08:00:00", "20:00:00"]})),
            "timing.repeat.when",
        ),
        (
            repeat(json!({"frequency": 1, "period": 6, "periodUnit": "h", "when": ["MORN"]})),
            "timing.repeat.when",
        ),
        (
            repeat(json!({"when": ["MORN"], "timeOfDay": ["08:00:00"]})),
            "timing.repeat.timeOfDay",
        ),
        (
            repeat(json!({"frequency": 1, "period": 1, "periodUnit": "wk", "dayOfWeek": ["mon", "thu"]})),
            "timing.repeat.dayOfWeek",
        ),
        (
            repeat(json!({"frequency": 1, "period": 2, "periodUnit": "d", "dayOfWeek": ["mon"]})),
            "timing.repeat.dayOfWeek",
        ),
        (
            repeat(json!({"frequency": 3, "frequencyMax": 2, "period": 1, "periodUnit": "d"})),
            "timing.repeat.frequency",
        ),
        (
            repeat(json!({"frequency": 1, "period": 6, "periodMax": 4, "periodUnit": "h"})),
            "timing.repeat.period",
        ),
        (repeat(json!({"frequency": 3})), "timing.repeat.frequency"),
        (
            repeat(json!({"frequency": 1, "period": 1, "periodUnit": "d",
            "boundsPeriod": {"start": "2026-12-24", "end": "2026-12-01"}})),
            "timing.repeat.bounds",
        ),
        (
            dose(
                tablet(1.0),
                json!({"repeat": {"frequency": 3, "period": 1, "periodUnit": "d"}, "code": {"coding": [
            {"system": "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation", "code": "BID"}]}}),
            ),
            "timing.code",
        ),
        (dose(tablet(1.0), json!({"code": {"text": "as discussed"}})), "timing"),
        (dose(tablet(0.0), every_day(1)), "doseAndRate.dose"),
        (
            with(dose(tablet(3.0), every_day(1)), "maxDosePerAdministration", tablet(2.0)),
            "maxDosePerAdministration",
        ),
        (
            with(
                dose(ucum(1.0, "g"), every_day(1)),
                "maxDosePerAdministration",
                ucum(500.0, "mg"),
            ),
            "maxDosePerAdministration",
        ),
        // 4 g a day where 3 g are allowed, in another unit and another time.
        (
            with(
                dose(
                    ucum(1000.0, "mg"),
                    json!({"repeat": {"frequency": 1, "period": 6, "periodUnit": "h"}}),
                ),
                "maxDosePerPeriod",
                json!({"numerator": ucum(3.0, "g"), "denominator": ucum(24.0, "h")}),
            ),
            "maxDosePerPeriod",
        ),
        (
            json!({"timing": every_day(1), "doseAndRate": [{"doseRange": {"low": tablet(2.0), "high": tablet(1.0)}}]}),
            "doseAndRate.dose",
        ),
        (
            json!({"timing": every_day(1), "doseAndRate": [{"doseRange": {"low": tablet(1.0), "high": ucum(5.0, "mL")}}]}),
            "doseAndRate.dose",
        ),
        (
            with(
                dose(tablet(1.0), every_day(1)),
                "modifierExtension",
                json!([{"url": "urn:x", "valueBoolean": true}]),
            ),
            "modifierExtension",
        ),
    ] {
        let problems = text(&dosage).expect_err(&dosage.to_string());
        assert!(
            problems.iter().any(|problem| problem.element == element),
            "{dosage}: {problems:?}"
        );
    }
}

#[test]
fn a_limit_beside_what_is_taken_when_needed_is_a_limit_and_no_contradiction() {
    let dosage = with(
        with(
            dose(
                ucum(1.0, "g"),
                json!({"repeat": {"frequency": 1, "period": 4, "periodUnit": "h"}}),
            ),
            "asNeededBoolean",
            json!(true),
        ),
        "maxDosePerPeriod",
        json!({"numerator": ucum(4.0, "g"), "denominator": ucum(1.0, "d")}),
    );
    assert_eq!(
        text(&dosage).unwrap(),
        "Take 1 g by mouth every 4 hours when needed. At most 4 g in 24 hours."
    );
}
