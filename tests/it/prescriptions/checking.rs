//! `$check`: what stands against a prescription.

use super::*;

fn kinds(issues: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let read = issues
        .iter()
        .map(|issue| (text(&issue["code"]["coding"][0]["code"]), text(&issue["severity"])));
    read.collect()
}

fn pair(kind: &str, severity: &str) -> (String, String) {
    (kind.to_owned(), severity.to_owned())
}

#[tokio::test]
async fn a_prescription_is_held_against_the_record() {
    let practice = Practice::open().await;
    practice.signed("R-1", &[("warfarin", "Warfarin 5 mg tablets")]).await;
    let allergy = json!({"resourceType": "AllergyIntolerance", "id": "penicillin", "patient": {"reference": "Patient/ada"},
        "clinicalStatus": {"coding": [{"code": "active", "system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"}]},
        "code": {"text": "Penicillin"}, "criticality": "high"});
    practice.put(allergy).await.unwrap();
    let taken = json!({"resourceType": "MedicationStatement", "id": "own", "status": "active",
        "subject": {"reference": "Patient/ada"}, "medicationReference": {"reference": "#m"},
        "contained": [{"resourceType": "Medication", "id": "m", "code": {"text": "Simvastatin 20 mg"}}]});
    practice.put(taken).await.unwrap();
    let of = async |medicine: &str| kinds(&practice.check(&[draft("x", "R-9", medicine)]).await.unwrap());
    assert_eq!(of("Amoxicillin 500 mg capsules").await, [pair("ALGY", "high")]);
    assert_eq!(of("Ibuprofen 400 mg tablets").await, [pair("DRG", "high")]);
    assert_eq!(of("Warfarin 2.5 mg tablets").await, [pair("DUPTHPY", "high")]);
    // What the patient takes without a prescription counts too.
    assert_eq!(of("Itraconazole").await, [pair("DRG", "high"), pair("DRG", "high")]);
    assert_eq!(of("Paracetamol 500 mg tablets").await, []);
    let issues = practice.check(&[draft("x", "R-9", "Ibuprofen")]).await.unwrap();
    let issue = &issues[0];
    let implicated: Vec<&str> = issue["implicated"]
        .as_array()
        .unwrap()
        .iter()
        .map(|implicated| implicated["reference"].as_str().unwrap())
        .collect();
    assert_eq!(implicated, ["MedicationRequest/x", "MedicationRequest/warfarin"]);
    assert!(
        issue["evidence"][0]["code"][0]["text"]
            .as_str()
            .unwrap()
            .starts_with("FDA label")
    );
    assert!(
        issue["detail"].as_str().unwrap().contains("Warfarin 5 mg tablets"),
        "{issue}"
    );
    // Nothing was stored.
    assert_eq!(practice.count("DetectedIssue").await, 0);
}

#[tokio::test]
async fn a_dose_beyond_the_most_of_a_day_is_a_finding() {
    let practice = Practice::open().await;
    let mut resource = draft("x", "R-1", "Paracetamol 1 g tablets");
    resource["dosageInstruction"][0]["timing"]["repeat"] = json!({"frequency": 1, "period": 4, "periodUnit": "h"});
    let gram = json!({"value": 1, "unit": "g", "system": "http://unitsofmeasure.org", "code": "g"});
    resource["dosageInstruction"][0]["doseAndRate"] = json!([{"doseQuantity": gram}]);
    assert_eq!(
        kinds(&practice.check(&[resource]).await.unwrap()),
        [pair("DOSE", "high")]
    );
}

#[tokio::test]
async fn what_is_replaced_does_not_count_and_what_is_not_known_is_said() {
    let practice = Practice::open().await;
    practice.signed("R-1", &[("old", "Lisinopril 5 mg tablets")]).await;
    let mut new = draft("new", "R-2", "Lisinopril 10 mg tablets");
    assert_eq!(
        kinds(&practice.check(&[new.clone()]).await.unwrap()),
        [pair("DUPTHPY", "high")]
    );
    new["priorPrescription"] = json!({"reference": "MedicationRequest/old"});
    assert_eq!(practice.check(&[new]).await.unwrap(), Vec::<Value>::new());
    let parameters = json!([{"name": "prescription", "resource": draft("x", "R-3", "Panaceol 7")}]);
    let bundle = practice.call(&Caller::sandbox(), "check", parameters).await.unwrap();
    let outcome = resources(&bundle, "OperationOutcome").remove(0);
    assert_eq!(outcome["issue"][0]["severity"], "warning");
    assert!(
        outcome["issue"][0]["diagnostics"]
            .as_str()
            .unwrap()
            .contains("Panaceol 7")
    );
}

#[tokio::test]
async fn prescriptions_of_several_patients_are_not_checked_together() {
    let practice = Practice::open().await;
    practice.put(patient("ben")).await.unwrap();
    let mut other = draft("y", "R-1", "Metformin");
    other["subject"] = json!({"reference": "Patient/ben"});
    assert_eq!(
        refused(practice.check(&[draft("x", "R-1", "Metformin"), other]).await).0,
        400
    );
    let mut nobody = draft("z", "R-1", "Metformin");
    nobody["subject"] = json!({"reference": "Patient/nobody"});
    assert_eq!(refused(practice.check(&[nobody]).await).0, 404);
}
