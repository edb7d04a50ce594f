//! What scopes open: one patient's record, one type, one part of a type, and what the person may see at most.

use super::*;

const ADA: &str = "ada@clinic.example";
const CATEGORY: &str = "category=http://terminology.hl7.org/CodeSystem/observation-category|";

/// Ada, who is a patient and signed in; the ids of her record and of another one, each with two observations.
async fn with_records(app: &TestApp) -> (Visitor<'_>, String) {
    app.register_app(
        "app",
        "openid fhirUser launch/patient patient/*.cruds user/*.cruds",
        NewProof::Public,
    )
    .await;
    let mut ada = app.visitor();
    ada.sign_up(ADA, PASSWORD).await;
    ada.sign_in(ADA, PASSWORD).await;
    let profile = profile_of(app, ADA).await;
    let id = profile.strip_prefix("Patient/").unwrap().to_owned();
    app.register_backend("lab", "system/*.cruds").await;
    let token = app.token("lab", "system/*.cruds").await;
    let mut entries = vec![json!({"resourceType": "Patient", "id": "other"})];
    for (owner, patient) in [("hers", id.as_str()), ("others", "other")] {
        for category in ["laboratory", "vital-signs"] {
            entries.push(json!({
                "resourceType": "Observation", "id": format!("{owner}-{category}"), "status": "final",
                "subject": {"reference": format!("Patient/{patient}")}, "code": {"coding": [{"code": "1234-5"}]},
                "category": [{"coding": [
                    {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": category},
                ]}],
            }));
        }
        entries.push(json!({
            "resourceType": "Condition", "id": format!("{owner}-condition"),
            "subject": {"reference": format!("Patient/{patient}")}, "code": {"text": "x"},
        }));
    }
    for resource in entries {
        let url = format!(
            "{}/{}",
            resource["resourceType"].as_str().unwrap(),
            resource["id"].as_str().unwrap()
        );
        app.put(&url)
            .fhir(&resource)
            .bearer_auth(&token)
            .answer()
            .await
            .expect(201);
    }
    (ada, id)
}

/// An application with these scopes.
struct Holder<'a> {
    app: &'a TestApp,
    token: String,
}

impl Holder<'_> {
    async fn status(&self, path: &str) -> u16 {
        let answer = self.app.get(path).bearer_auth(&self.token).answer().await;
        answer.status.as_u16()
    }

    /// The ids that a search finds.
    async fn found(&self, path: &str) -> Vec<String> {
        let answer = self.app.get(path).bearer_auth(&self.token).answer().await.expect(200);
        let bundle = answer.json();
        let entries = bundle["entry"].as_array().into_iter().flatten();
        let mut ids: Vec<String> = entries
            .filter(|entry| entry["search"]["mode"] == "match")
            .map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    }
}

async fn let_in<'a>(app: &'a TestApp, person: &mut Visitor<'_>, scope: &str) -> Holder<'a> {
    let code = person.code(&[("scope", scope)]).await;
    let token = app.change(&code, &PUBLIC).await.expect(200).json();
    assert_eq!(token["scope"], scope);
    Holder {
        app,
        token: token["access_token"].as_str().unwrap().to_owned(),
    }
}

#[tokio::test]
async fn a_patient_opens_their_own_record_and_no_other() {
    let app = spawn_guarded_app().await;
    let (mut ada, id) = with_records(&app).await;
    for scope in ["launch/patient patient/*.rs", "user/*.rs", "patient/*.read"] {
        let holder = let_in(&app, &mut ada, scope).await;
        assert_eq!(holder.status(&format!("Patient/{id}")).await, 200, "{scope}");
        assert_eq!(
            holder.found("Observation").await,
            ["hers-laboratory", "hers-vital-signs"],
            "{scope}"
        );
        assert_eq!(holder.found("Patient").await, [id.as_str()], "{scope}");
        for other in [
            "Patient/other",
            "Observation/others-laboratory",
            "Condition/others-condition/_history/1",
        ] {
            assert_eq!(holder.status(other).await, 404, "{scope} {other}");
        }
        assert_eq!(holder.found("Observation?patient=other").await, [""; 0], "{scope}");
    }
}

#[tokio::test]
async fn a_type_that_was_not_let_in_answers_403() {
    let app = spawn_guarded_app().await;
    let (mut ada, id) = with_records(&app).await;
    let holder = let_in(&app, &mut ada, "patient/Observation.rs patient/Patient.r").await;
    assert_eq!(holder.found("Observation").await.len(), 2);
    assert_eq!(holder.status(&format!("Patient/{id}")).await, 200);
    // Reading is not searching, and another type is neither read nor searched.
    for other in ["Patient", "Condition", "Condition/hers-condition", "Condition?code=x"] {
        assert_eq!(holder.status(other).await, 403, "{other}");
    }
}

#[tokio::test]
async fn a_part_of_a_type_is_all_that_is_seen_of_it() {
    let app = spawn_guarded_app().await;
    let (mut ada, id) = with_records(&app).await;
    let scope = format!("patient/Observation.rs?{CATEGORY}laboratory patient/Patient.rs");
    let holder = let_in(&app, &mut ada, &scope).await;
    assert_eq!(holder.status("Observation/hers-laboratory").await, 200);
    assert_eq!(holder.status("Observation/hers-vital-signs").await, 404);
    for search in [
        "Observation".to_owned(),
        format!("Observation?patient={id}"),
        format!("Observation?{CATEGORY}laboratory"),
        "Observation?code=1234-5".to_owned(),
        "Observation?category=laboratory,vital-signs".to_owned(),
    ] {
        assert_eq!(holder.found(&search).await, ["hers-laboratory"], "{search}");
    }
    assert_eq!(
        holder.found(&format!("Observation?{CATEGORY}vital-signs")).await,
        [""; 0]
    );
    let two = format!("patient/Observation.r?{CATEGORY}laboratory patient/Observation.rs?{CATEGORY}vital-signs");
    let holder = let_in(&app, &mut ada, &two).await;
    assert_eq!(holder.found("Observation").await, ["hers-vital-signs"]);
    assert_eq!(holder.status("Observation/hers-laboratory").await, 200);
}

#[tokio::test]
async fn whoever_is_named_by_fhir_user_can_be_read() {
    let app = spawn_guarded_app().await;
    let (mut ada, id) = with_records(&app).await;
    let holder = let_in(&app, &mut ada, "openid fhirUser").await;
    assert_eq!(holder.status(&format!("Patient/{id}")).await, 200);
    assert_eq!(holder.status("Patient/other").await, 404);
    for other in ["Patient", "Observation", "Observation/hers-laboratory"] {
        assert_eq!(holder.status(other).await, 403, "{other}");
    }
    let holder = let_in(&app, &mut ada, "openid").await;
    assert_eq!(holder.status(&format!("Patient/{id}")).await, 403);
}
