//! `_filter`.

use serde_json::json;

use super::{observation, patient, resource};
use crate::bench::{Bench, bench};

async fn people() -> Bench {
    let bench = bench().await;
    let about = |subject: &str, date: &str, value: f64| {
        json!({
            "subject": {"reference": subject}, "effectiveDateTime": date, "valueQuantity": {"value": value, "unit": "mg"},
            "code": {"coding": [{"system": "urn:c", "code": "a|b"}]},
        })
    };
    bench
        .store([
            resource("Organization", "north", json!({"name": "North", "active": true})),
            resource("Organization", "south", json!({"name": "South", "active": false})),
            patient("ann", json!({
                "name": [{"family": "Müller", "given": ["Ann"]}], "gender": "female", "birthDate": "1980-05-05",
                "identifier": [{"system": "urn:mrn", "value": "MRN-1"}],
                "managingOrganization": {"reference": "Organization/north"},
            })),
            patient("bob", json!({
                "name": [{"family": "Smith-Miller", "given": ["Bob", "Ann Lee"]}], "gender": "male", "birthDate": "1990",
                "identifier": [{"system": "urn:mrn", "value": "mrn-2"}, {"system": "urn:other", "value": "X"}],
                "managingOrganization": {"reference": "Organization/south"},
            })),
            patient("cy", json!({
                "name": [{"text": "a \"quoted\" (name]"}], "birthDate": "2000-01-01",
                "generalPractitioner": [{"reference": "http://elsewhere.org/Practitioner/1"}],
            })),
            patient("dee", json!({"gender": "female"})),
            observation("o1", about("Patient/ann", "2020-01-01", 5.0)),
            observation("o2", about("Patient/bob", "2020-06", 10.0)),
            observation("o3", json!({"effectivePeriod": {"start": "2020-06-15", "end": "2020-07-15"}})),
            resource("ValueSet", "v1", json!({"status": "active", "url": "http://v.org/one"})),
            resource("ValueSet", "v2", json!({"status": "active", "url": "http://v.org/two"})),
        ])
        .await;
    bench
}

impl Bench {
    async fn check_filters(&self, expected: &[(&str, &str, &str)]) {
        for (resource_type, filter, ids) in expected {
            let encoded: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let found = self.found(&format!("{resource_type}?_filter={encoded}")).await;
            assert_eq!(found, *ids, "{resource_type}: {filter}");
        }
    }
}

#[tokio::test]
async fn operators_on_every_type_of_parameter() {
    let bench = people().await;
    bench
        .check_filters(&[
            ("Patient", "given eq ann", "ann"),
            ("Patient", "given eq \"ANN lee\"", "bob"),
            ("Patient", "family eq muller", "ann"),
            ("Patient", "family eq mull", ""),
            ("Patient", "given ne ann", "bob"),
            ("Patient", "family co mill", "bob"),
            ("Patient", "family sw mu", "ann"),
            ("Patient", "family ew LLER", "ann bob"),
            ("Patient", "given ew ann", "ann"),
            ("Patient", "name eq \"a \\\"quoted\\\" (name]\"", "cy"),
            ("Patient", "gender eq female", "ann dee"),
            (
                "Patient",
                "gender eq http://hl7.org/fhir/administrative-gender|female",
                "ann dee",
            ),
            ("Patient", "gender ne female", "bob"),
            ("Patient", "gender ne never-seen", "ann bob dee"),
            ("Patient", "identifier eq urn:mrn|MRN-1", "ann"),
            ("Patient", "identifier sw MRN", "ann"),
            ("Patient", "identifier co rn-", "bob"),
            ("Patient", "identifier ew 2", "bob"),
            ("Patient", "identifier sw %", ""),
            // One of his identifiers is another one.
            ("Patient", "identifier ne mrn-2", "ann bob"),
            ("Patient", "birthdate eq 1980-05-05", "ann"),
            ("Patient", "birthdate ne 1980-05-05", "bob cy"),
            ("Patient", "birthdate gt 1980-05-05", "bob cy"),
            ("Patient", "birthdate ge 1980-05-05", "ann bob cy"),
            ("Patient", "birthdate lt 1990", "ann"),
            ("Patient", "birthdate le 1990", "ann bob"),
            ("Patient", "birthdate sa 1990", "cy"),
            ("Patient", "birthdate eb 1990", "ann"),
            ("Patient", "birthdate ap 1990", "bob"),
            ("Patient", "birthdate po 1990-07", "bob"),
            ("Patient", "birthdate pr true", "ann bob cy"),
            ("Patient", "birthdate pr false", "dee"),
            ("Observation", "date po 2020-07", "o3"),
            ("Observation", "date po 2020-06-20", "o2 o3"),
            ("Observation", "date eq 2020-06-20", ""),
            ("Observation", "value-quantity gt 5", "o2"),
            ("Observation", "value-quantity ge 5||mg", "o1 o2"),
            ("Observation", "value-quantity ne 5", "o2"),
            ("Observation", r"code eq urn:c|a\|b", "o1 o2"),
            ("Observation", "subject eq Patient/ann", "o1"),
            ("Observation", "subject re Patient/ann", "o1"),
            ("Observation", "subject ne Patient/ann", "o2"),
            ("Observation", "subject ne Patient/never-seen", "o1 o2"),
            ("Patient", "general-practitioner ne Practitioner/1", "cy"),
            ("ValueSet", "url eq http://v.org/one", "v1"),
            ("ValueSet", "url ne http://v.org/one", "v2"),
            ("ValueSet", "url sw http://v.org/", "v1 v2"),
            ("ValueSet", "url co .org/t", "v2"),
            ("ValueSet", "url ew /one", "v1"),
            ("Patient", "_id eq ann", "ann"),
            ("Patient", "_id ne ann", "bob cy dee"),
            ("Patient", "_id pr true", "ann bob cy dee"),
            ("Patient", "_id pr false", ""),
            ("Patient", "_lastUpdated lt 2026-03-01T10:00:04Z", "ann"),
        ])
        .await;
}

#[tokio::test]
async fn logic_from_left_to_right() {
    let bench = people().await;
    bench
        .check_filters(&[
            ("Patient", "gender eq female and birthdate pr true", "ann"),
            ("Patient", "gender eq male or birthdate ge 2000", "bob cy"),
            // Were `and` to bind stronger, bob would stay.
            (
                "Patient",
                "gender eq male or gender eq female and birthdate lt 1985",
                "ann",
            ),
            (
                "Patient",
                "gender eq male or (gender eq female and birthdate lt 1985)",
                "ann bob",
            ),
            (
                "Patient",
                "gender eq female and birthdate pr true or given eq bob",
                "ann bob",
            ),
            (
                "Patient",
                "gender eq female and (birthdate pr true or given eq bob)",
                "ann",
            ),
            ("Patient", "not(gender eq female)", "bob cy"),
            ("Patient", "not (gender eq female and birthdate pr true)", "bob cy dee"),
            ("Patient", "not(gender eq female or birthdate ge 2000)", "bob"),
            ("Patient", "not(not(gender eq female))", "ann dee"),
            ("Patient", "not(gender eq never-seen)", "ann bob cy dee"),
            ("Patient", "gender eq never-seen or given eq bob", "bob"),
            ("Patient", "gender eq never-seen and given eq bob", ""),
            (
                "Patient",
                "not(_id eq ann) and not(_lastUpdated ge 2026-03-01T10:00:06Z)",
                "bob cy",
            ),
            ("Patient", "_id eq ann or not(birthdate pr true)", "ann dee"),
            ("Patient", "_id eq ann or given eq bob", "ann bob"),
            ("Patient", "_id pr true or given eq bob", "ann bob cy dee"),
            ("Patient", "not(_id pr true)", ""),
            (
                "Patient",
                "given eq ann or given eq \"ann lee\" or family co mill",
                "ann bob",
            ),
        ])
        .await;
    bench
        .check(&[
            ("Patient?gender=female&_filter=birthdate+pr+true", "ann"),
            ("Patient?_filter=gender+eq+female&_filter=birthdate+pr+true", "ann"),
            ("Patient?_id=ann,bob&_filter=not(gender+eq+female)", "bob"),
        ])
        .await;
    assert_eq!(
        bench
            .find("Patient?_filter=gender+eq+female+or+given+eq+bob&_sort=-_id")
            .await,
        ["dee", "bob", "ann"]
    );
    let pages = bench
        .pages("Patient?_filter=gender+eq+female+or+given+co+ann&_count=1")
        .await;
    assert_eq!(pages.concat(), ["dee", "bob", "ann"]);
    assert_eq!(
        bench.bundle("Patient?_filter=not(gender+eq+male)&_count=0").await["total"],
        3
    );
}

#[tokio::test]
async fn paths_and_brackets() {
    let bench = people().await;
    bench
        .check_filters(&[
            ("Observation", "subject.name co ler", "o1 o2"),
            ("Observation", "subject:Patient.gender eq male", "o2"),
            ("Observation", "patient.organization.name eq north", "o1"),
            ("Observation", "patient.gender ne female", "o2"),
            ("Observation", "not(patient.gender eq female)", "o2 o3"),
            ("Observation", "patient.general-practitioner pr false", "o1 o2"),
            ("Observation", "patient[gender eq female].birthdate lt 1985", "o1"),
            ("Observation", "patient[gender eq female].birthdate gt 1985", ""),
            (
                "Observation",
                "patient[gender eq female or given eq bob].birthdate pr true",
                "o1 o2",
            ),
            (
                "Observation",
                "patient[not(gender eq female)].organization[active eq false].name sw s",
                "o2",
            ),
            (
                "Observation",
                "patient[not(gender eq female)].organization[active eq true].name sw s",
                "",
            ),
            ("Observation", "patient._id eq ann or date po 2020-07", "o1 o3"),
            ("Patient", "_has:Observation:patient:date ge 2020-06", "bob"),
            ("Patient", "not(_has:Observation:patient:date ge 2020-06)", "ann cy dee"),
            (
                "Organization",
                "_has:Patient:organization:_has:Observation:patient:value-quantity lt 6",
                "north",
            ),
            (
                "Patient",
                "organization[active eq true].name pr true and gender eq female",
                "ann",
            ),
        ])
        .await;
    bench
        .check(&[("Observation?patient.gender=female&_filter=date+lt+2021", "o1")])
        .await;
}

#[tokio::test]
async fn a_filter_that_cannot_be_understood_is_refused() {
    let bench = people().await;
    for (filter, says) in [
        ("", "at character 1"),
        ("name", "an operator"),
        ("name eq x)", "at character 10"),
        ("(name eq x", "')'"),
        ("name like x", "an operator (eq, ne, co"),
        (
            "nonsense eq x",
            "At character 1 of the filter: Patient has no search parameter 'nonsense'",
        ),
        ("gender eq x and nonsense eq x", "At character 17"),
        (
            "birthdate co 19",
            "'co' does not apply to birthdate; it takes eq, ne, gt",
        ),
        ("gender gt x", "'gt' does not apply to gender"),
        ("name ap x", "'ap' does not apply to name"),
        ("organization co x", "'co' does not apply to organization"),
        ("_id co x", "'co' does not apply to _id"),
        ("_lastUpdated co x", "'co' does not apply to _lastUpdated"),
        ("birthdate eq yesterday", "yyyy-mm"),
        ("birthdate eq gt2000", "yyyy-mm"),
        ("birthdate pr maybe", "pr is true or false"),
        ("gender.name eq x", "no reference"),
        (
            "organization[nonsense eq x].name eq y",
            "no search parameter 'nonsense'",
        ),
        ("organization.name eq \"\"", "must not be empty"),
        ("identifier co \"\"", "must not be empty"),
        ("_has:Observation:code:code eq x", "no reference"),
    ] {
        let encoded: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let told = bench.refusal(&format!("Patient?_filter={encoded}")).await;
        assert!(told.contains(says), "{filter}: {told}");
    }
    let deep = format!("{}name eq x{}", "(".repeat(40), ")".repeat(40));
    assert!(
        bench
            .refusal(&format!("Patient?_filter={deep}"))
            .await
            .contains("nested")
    );
    let long = vec!["name eq x"; 101].join(" or ");
    assert!(
        bench
            .refusal(&format!("Patient?_filter={long}"))
            .await
            .contains("comparisons")
    );
}
