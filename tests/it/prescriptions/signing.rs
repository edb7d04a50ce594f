//! `$sign`: one transaction, by who may, with a signature that others can check.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};

use super::*;

#[tokio::test]
async fn a_sheet_is_signed_and_printed_at_once() {
    let practice = Practice::open().await;
    let bundle = practice
        .signed("R-1", &[("a", "Metformin 500 mg"), ("b", "Ramipril 5 mg")])
        .await;
    for id in ["a", "b"] {
        let stored = practice.get(&format!("MedicationRequest/{id}")).await.unwrap();
        assert_eq!(stored["status"], "active");
        assert_eq!(
            stored["dispenseRequest"]["validityPeriod"],
            json!({"start": "2026-03-01", "end": "2026-05-30"})
        );
    }
    let provenance = resources(&bundle, "Provenance").remove(0);
    let references = |value: &Value, path: &str| -> Vec<String> {
        let list = value.as_array().unwrap().iter();
        list.map(|entry| entry.pointer(path).unwrap().as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        references(&provenance["target"], "/reference"),
        ["MedicationRequest/a/_history/2", "MedicationRequest/b/_history/2"]
    );
    assert_eq!(
        references(&provenance["entity"], "/what/reference"),
        [
            "Patient/ada/_history/1",
            "Practitioner/dora/_history/1",
            "Organization/practice/_history/1"
        ]
    );
    assert_eq!(provenance["signature"][0]["who"]["reference"], "Practitioner/dora");
    let document = resources(&bundle, "DocumentReference").remove(0);
    assert_eq!(document["type"]["coding"][0]["code"], "57833-6");
    assert_eq!(document["category"][0]["coding"][0]["code"], "prescription");
    assert_eq!(document["author"][0]["reference"], "Practitioner/dora");
    let related = references(&document["context"]["related"], "/reference");
    assert_eq!(&related[1..], ["MedicationRequest/a", "MedicationRequest/b"]);
    let pdf = practice.pdf(&document).await;
    assert!(pdf.starts_with(b"%PDF-"));
    assert_eq!(document["content"][0]["attachment"]["size"], pdf.len());
    // All of it claims a profile, and was held against it.
    for resource in resources(&bundle, "MedicationRequest")
        .iter()
        .chain([&provenance, &document])
    {
        assert!(
            resource["meta"]["profile"][0].as_str().unwrap().starts_with(BASE),
            "{resource}"
        );
    }
}

/// As FHIR describes the canonical form, written down once more.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort();
            let members = names
                .iter()
                .map(|name| format!("{}:{}", json!(name), canonical(&members[*name])));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

#[tokio::test]
async fn the_signature_can_be_checked_by_anybody_with_the_published_key() {
    let practice = Practice::open().await;
    let bundle = practice
        .signed("R-1", &[("a", "Metformin 500 mg"), ("b", "Ramipril 5 mg")])
        .await;
    let provenance = resources(&bundle, "Provenance").remove(0);
    let data = STANDARD
        .decode(provenance["signature"][0]["data"].as_str().unwrap())
        .unwrap();
    let jws = String::from_utf8(data).unwrap();
    let (header, signature) = jws.split_once("..").unwrap();
    let said: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let response = verify::keys(axum::extract::State(practice.bench.server.clone()))
        .await
        .unwrap();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let keys: Value = serde_json::from_slice(&bytes).unwrap();
    let jwk = &keys["keys"][0];
    assert_eq!((&said["alg"], &said["kid"]), (&json!("ES256"), &jwk["kid"]));
    let jwk: Jwk = serde_json::from_value(jwk.clone()).unwrap();
    let key = DecodingKey::from_jwk(&jwk).unwrap();
    let mut contents = Vec::new();
    for id in ["a", "b"] {
        let mut content = practice.get(&format!("MedicationRequest/{id}")).await.unwrap();
        content.as_object_mut().unwrap().remove("meta");
        contents.push(content);
    }
    let is_of = |contents: &[Value]| {
        let payload = canonical(&json!(contents));
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
        crypto::verify(signature, message.as_bytes(), &key, Algorithm::ES256).unwrap()
    };
    assert!(is_of(&contents));
    contents[1]["dispenseRequest"]["numberOfRepeatsAllowed"] = json!(9);
    assert!(!is_of(&contents));
}

#[tokio::test]
async fn problems_of_high_severity_need_a_reason() {
    let practice = Practice::open().await;
    practice.signed("R-1", &[("warfarin", "Warfarin 5 mg tablets")]).await;
    practice
        .put(draft("a", "R-2", "Ibuprofen 400 mg tablets"))
        .await
        .unwrap();
    practice
        .put(draft("b", "R-2", "Sertraline 50 mg tablets"))
        .await
        .unwrap();
    let dora = practice.dora().await;
    let error = practice.sign(&["a", "b"]).await.unwrap_err();
    assert_eq!((error.status.as_u16(), error.issues.len()), (422, 1));
    assert_eq!(
        error.issues[0].expression,
        ["MedicationRequest/a", "MedicationRequest/warfarin"]
    );
    assert_eq!(practice.status("a").await, "draft");
    let drafts = [
        practice.get("MedicationRequest/a").await.unwrap(),
        practice.get("MedicationRequest/b").await.unwrap(),
    ];
    let found = practice.check(&drafts).await.unwrap();
    let mut issue = found[0].clone();
    let parameter = |issue: &Value| json!({"name": "issue", "resource": issue});
    let (status, text) = refused(practice.sign_as(&dora, &["a", "b"], &[parameter(&issue)]).await);
    assert_eq!((status, text.contains("Say why")), (422, true), "{text}");
    issue["mitigation"] = json!([{"action": {"text": "Three days only, INR on Tuesday"}}]);
    let bundle = practice
        .sign_as(&dora, &["a", "b"], &[parameter(&issue)])
        .await
        .unwrap();
    let issues = resources(&bundle, "DetectedIssue");
    // All that was found is kept: what was overridden with its reason, what is not so bad without.
    assert_eq!(issues.len(), 3);
    let mitigation = &issues[0]["mitigation"][0];
    assert_eq!(mitigation["action"]["text"], "Three days only, INR on Tuesday");
    assert_eq!(mitigation["author"]["reference"], "Practitioner/dora");
    assert!(
        issues[1..]
            .iter()
            .all(|issue| issue["severity"] == "moderate" && issue["mitigation"].is_null())
    );
    let signed = practice.get("MedicationRequest/a").await.unwrap();
    let named = &signed["detectedIssue"][0]["reference"];
    assert_eq!(
        *named,
        json!(format!("DetectedIssue/{}", issues[0]["id"].as_str().unwrap()))
    );
}

#[tokio::test]
async fn only_who_may_prescribe_signs_and_only_their_own() {
    let practice = Practice::open().await;
    practice.put(draft("a", "R-1", "Metformin")).await.unwrap();
    let mut of_emil = draft("e", "R-2", "Metformin");
    of_emil["requester"] = json!({"reference": "Practitioner/emil"});
    practice.put(of_emil).await.unwrap();
    let emil = practice
        .person(Role::Practitioner, "Practitioner/emil")
        .await
        .practice();
    let admin = practice.person(Role::Admin, "Practitioner/dora").await.practice();
    let ada = practice.person(Role::Patient, "Patient/ada").await.practice();
    let program = Caller::granted(Granted {
        scopes: practice.dora().await.grant().unwrap().scopes.clone(),
        ..Granted::default()
    });
    for (caller, id, reason) in [
        (&emil, "a", "another practitioner's"),
        (&emil, "e", "does not let this practitioner prescribe"),
        (&admin, "a", "signed by practitioners"),
        (&ada, "a", "signed by practitioners"),
        (&program.practice(), "a", "not by programs"),
    ] {
        let (status, text) = refused(practice.sign_as(caller, &[id], &[]).await);
        assert_eq!((status, text.contains(reason)), (403, true), "{text}");
    }
    // A role that has ended lets nobody prescribe any more.
    let mut ended = role("dora", "dora", "doctor");
    ended["period"] = json!({"end": "2026-02-28"});
    practice.put(ended).await.unwrap();
    assert_eq!(refused(practice.sign(&["a"]).await).0, 403);
}

#[tokio::test]
async fn signing_asks_for_a_fresh_second_factor() {
    let practice = Practice::open().await;
    practice.put(draft("a", "R-1", "Metformin")).await.unwrap();
    for (assurance, seconds) in [(Assurance::TwoFactors, 301), (Assurance::OneFactor, 10)] {
        let stale = practice
            .proved(Role::Practitioner, "Practitioner/dora", assurance, seconds)
            .await;
        assert_eq!(refused(practice.sign_as(&stale.practice(), &["a"], &[]).await).0, 401);
    }
    assert_eq!(practice.status("a").await, "draft");
    assert_eq!(
        (
            practice.count("Provenance").await,
            practice.count("DocumentReference").await
        ),
        (0, 0)
    );
    practice.sign(&["a"]).await.unwrap();
}

#[tokio::test]
async fn a_sheet_is_signed_whole_and_its_number_once() {
    let practice = Practice::open().await;
    for id in ["a", "b"] {
        practice.put(draft(id, "R-1", "Metformin")).await.unwrap();
    }
    practice.put(draft("c", "R-2", "Ramipril")).await.unwrap();
    let (status, text) = refused(practice.sign(&["a"]).await);
    assert_eq!((status, text.contains("MedicationRequest/b")), (409, true), "{text}");
    let (status, text) = refused(practice.sign(&["a", "c"]).await);
    assert_eq!((status, text.contains("same groupIdentifier")), (409, true), "{text}");
    practice.moved("b", "cancelled").await.unwrap();
    practice.sign(&["a"]).await.unwrap();
    let (status, text) = refused(practice.sign(&["a"]).await);
    assert_eq!((status, text.contains("It is active already")), (409, true), "{text}");
    // Nor does another patient's sheet take the number.
    practice.put(patient("ben")).await.unwrap();
    let mut other = draft("d", "R-1", "Ramipril");
    other["subject"] = json!({"reference": "Patient/ben"});
    practice.put(other).await.unwrap();
    let (status, text) = refused(practice.sign(&["d"]).await);
    assert_eq!((status, text.contains("number already")), (409, true), "{text}");
    practice.run_jobs().await;
}

#[tokio::test]
async fn what_cannot_be_printed_is_not_signed() {
    let practice = Practice::open().await;
    practice.put(draft("a", "R-1", "Metformin \u{10fffd}")).await.unwrap();
    let (status, text) = refused(practice.sign(&["a"]).await);
    assert_eq!((status, text.contains("U+10FFFD")), (422, true), "{text}");
    let mut nameless = patient("ada");
    nameless.as_object_mut().unwrap().remove("birthDate");
    practice.put(nameless).await.unwrap();
    practice.put(draft("b", "R-2", "Ramipril")).await.unwrap();
    let error = practice.sign(&["b"]).await.unwrap_err();
    assert_eq!(
        (error.status.as_u16(), error.issues[0].expression[0].as_str()),
        (422, "Patient.birthDate")
    );
    assert_eq!(
        (practice.status("a").await, practice.status("b").await),
        ("draft".into(), "draft".into())
    );
    assert_eq!(practice.count("Provenance").await, 0);
}

#[tokio::test]
async fn a_new_prescription_replaces_the_one_before() {
    let practice = Practice::open().await;
    practice
        .signed("R-1", &[("old", "Lisinopril 5 mg"), ("other", "Metformin 500 mg")])
        .await;
    let mut new = draft("new", "R-2", "Lisinopril 10 mg");
    new["priorPrescription"] = json!({"reference": "MedicationRequest/old"});
    practice.put(new).await.unwrap();
    practice.sign(&["new"]).await.unwrap();
    assert_eq!(
        (practice.status("old").await, practice.status("new").await),
        ("stopped".into(), "active".into())
    );
    practice.run_jobs().await;
    // Both sheets are current: that of the new one, and the former one without what was replaced.
    let current = practice.current_documents("R-1").await;
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["relatesTo"][0]["code"], "replaces");
    assert_eq!(practice.current_documents("R-2").await.len(), 1);
    practice.put(patient("ben")).await.unwrap();
    let mut wrong = draft("wrong", "R-3", "Lisinopril 10 mg");
    wrong["subject"] = json!({"reference": "Patient/ben"});
    wrong["priorPrescription"] = json!({"reference": "MedicationRequest/new"});
    practice.put(wrong).await.unwrap();
    assert_eq!(refused(practice.sign(&["wrong"]).await).0, 409);
}

#[tokio::test]
async fn of_two_who_sign_at_once_one_does() {
    let practice = Practice::open().await;
    practice.put(draft("a", "R-1", "Metformin")).await.unwrap();
    let (one, two) = tokio::join!(practice.sign(&["a"]), practice.sign(&["a"]));
    assert_eq!([&one, &two].iter().filter(|answer| answer.is_ok()).count(), 1);
    let refusal = if one.is_ok() { two } else { one };
    assert_eq!(refused(refusal).0, 409);
    assert_eq!(
        (
            practice.count("Provenance").await,
            practice.current_documents("R-1").await.len()
        ),
        (1, 1)
    );
}
