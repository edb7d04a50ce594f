//! `:above` and `:below`: of codes, URLs, and resources that stand above others.

use super::*;

#[tokio::test]
async fn codes_are_found_above_and_below_others() {
    let bench = terminology_bench().await;
    bench.store([animals()]).await;
    bench.store(["mammal", "dog", "Poodle", "cat", "bird"].map(seen)).await;
    let condition = |id: &str, status: &str| {
        json!({"resourceType": "Condition", "id": id, "subject": {"reference": "Patient/a"}, "clinicalStatus": {"coding": [
            {"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": status}]}})
    };
    let encounter = |id: &str, class: &str| {
        json!({"resourceType": "Encounter", "id": id, "status": "planned",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": class}})
    };
    bench
        .store([
            condition("active", "active"),
            condition("relapse", "relapse"),
            condition("resolved", "resolved"),
            encounter("video", "VR"),
            encounter("ward", "ACUTE"),
        ])
        .await;
    let clinical = "http://terminology.hl7.org/CodeSystem/condition-clinical";
    let class = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
    bench
        .check(&[
            ("Observation?code:below=http://x/animals|dog", "Poodle dog"),
            (
                "Observation?code:below=http://x/animals|MAMMAL",
                "Poodle cat dog mammal",
            ),
            ("Observation?code:below=http://x/animals|poodle", "Poodle"),
            ("Observation?code:above=http://x/animals|poodle", "Poodle dog mammal"),
            ("Observation?code:above=http://x/animals|mammal", "mammal"),
            (
                "Observation?code:below=http://x/animals|dog,http://x/animals|bird",
                "Poodle bird dog",
            ),
            (
                &format!("Condition?clinical-status:below={clinical}|active"),
                "active relapse",
            ),
            (
                &format!("Condition?clinical-status:above={clinical}|relapse"),
                "active relapse",
            ),
            (
                "Encounter?class:in=http://terminology.hl7.org/ValueSet/v3-ActEncounterCode",
                "video ward",
            ),
            (&format!("Encounter?class:below={class}|IMP"), "ward"),
        ])
        .await;
}

#[tokio::test]
async fn urls_are_found_above_and_below_others() {
    let bench = terminology_bench().await;
    let at = |id: &str, url: &str| {
        let mut value_set = value_set(id, listed("s", &["c"]));
        value_set["url"] = json!(url);
        value_set
    };
    bench
        .store([
            at("root", "http://acme.org/fhir"),
            at("leaf", "http://acme.org/fhir/ValueSet/123"),
            at("history", "http://acme.org/fhir/ValueSet/123/_history/5"),
            at("sibling", "http://acme.org/fhirball"),
            at("percent", "http://acme.org/fhi%25/x"),
            at("oid", "urn:oid:1.2.3"),
            patient("v1", json!({"meta": {"profile": ["http://x/p|1.2"]}})),
            patient("v10", json!({"meta": {"profile": ["http://x/p|10"]}})),
        ])
        .await;
    bench
        .check(&[
            ("ValueSet?url:below=http://acme.org/fhir", "history leaf root"),
            ("ValueSet?url:below=http://acme.org/fhir/", "history leaf"),
            (
                "ValueSet?url:below=http://acme.org",
                "history leaf percent root sibling",
            ),
            ("ValueSet?url:below=http://acme.org/fhi_", ""),
            ("ValueSet?url:below=http://acme.org/fhi%2525", "percent"),
            (
                "ValueSet?url:above=http://acme.org/fhir/ValueSet/123/_history/5",
                "history leaf root",
            ),
            ("ValueSet?url:above=http://acme.org/fhir/ValueSet/9", "root"),
            (
                "ValueSet?url:below=http://acme.org/fhir/,http://acme.org/fhirball",
                "history leaf sibling",
            ),
            ("Patient?_profile:below=http://x/p", "v1 v10"),
            ("Patient?_profile:below=http://x/p|1", "v1"),
            ("Patient?_profile:above=http://x/p|1.2.3", "v1"),
        ])
        .await;
    let urls: Vec<String> = (0..20).map(|n| format!("http://other/{n}")).collect();
    let many = format!("ValueSet?url:below={},http://acme.org/fhir/", urls.join(","));
    assert_eq!(bench.found(&many).await, "history leaf");
    assert!(bench.refusal("ValueSet?url:below=urn:oid:1.2").await.contains("URN"));
    assert!(bench.refusal("ValueSet?url:above=urn:oid:1.2.3").await.contains("URN"));
}

#[tokio::test]
async fn references_are_found_along_a_hierarchy_of_resources() {
    let bench = terminology_bench().await;
    let location = |id: &str, part_of: Option<&str>| {
        let mut location = json!({"resourceType": "Location", "id": id});
        if let Some(part_of) = part_of {
            location["partOf"] = json!({"reference": format!("Location/{part_of}")});
        }
        location
    };
    let procedure = |id: &str, at: &str| {
        json!({"resourceType": "Procedure", "id": id, "status": "completed", "subject": {"reference": "Patient/a"},
            "location": {"reference": format!("Location/{at}")}})
    };
    bench
        .store([
            location("house", None),
            location("floor", Some("house")),
            location("room", Some("floor")),
            location("shed", None),
            // A ring: nothing keeps a client from storing one.
            location("egg", Some("hen")),
            location("hen", Some("egg")),
            procedure("in-house", "house"),
            procedure("in-room", "room"),
            procedure("in-shed", "shed"),
            procedure("in-egg", "egg"),
        ])
        .await;
    bench
        .check(&[
            ("Procedure?location:below=house", "in-house in-room"),
            ("Procedure?location:below=Location/floor", "in-room"),
            (
                "Procedure?location:below=http://localhost/fhir/Location/floor,shed",
                "in-room in-shed",
            ),
            ("Procedure?location:above=room", "in-house in-room"),
            ("Procedure?location:above=house", "in-house"),
            ("Procedure?location:below=hen", "in-egg"),
            ("Procedure?location:above=egg&status=completed&_sort=status", "in-egg"),
            ("Procedure?location:below=nowhere", ""),
            ("Location?partof:below=house", "floor room"),
            ("Location?partof:above=floor", "floor room"),
            ("Location?partof:below=egg", "egg hen"),
        ])
        .await;
    // A deleted link of the chain breaks it.
    delete(&bench, "Location", "floor").await;
    assert_eq!(bench.found("Procedure?location:below=house").await, "in-house");
    let told = bench.refusal("Procedure?patient:below=a").await;
    assert!(
        told.contains("does not apply to patient; it takes :identifier, :Patient"),
        "{told}"
    );
    let told = bench.refusal("Encounter?subject:below=Patient/a").await;
    assert!(told.contains("does not apply"), "{told}");
    assert!(
        bench
            .refusal("Procedure?part-of:below=Observation/a")
            .await
            .contains("do not stand above")
    );
}

#[tokio::test]
async fn canonical_references_are_found_by_versions() {
    let bench = terminology_bench().await;
    let answers = |id: &str, questionnaire: &str| json!({"resourceType": "QuestionnaireResponse", "id": id, "status": "completed", "questionnaire": questionnaire});
    bench
        .store([
            answers("any", "http://x/q"),
            answers("one", "http://x/q|1"),
            answers("one-two", "http://x/q|1.2"),
            answers("ten", "http://x/q|10"),
            answers("other", "http://x/qq"),
        ])
        .await;
    bench
        .check(&[
            ("QuestionnaireResponse?questionnaire=http://x/q", "any one one-two ten"),
            (
                "QuestionnaireResponse?questionnaire:below=http://x/q",
                "any one one-two ten",
            ),
            ("QuestionnaireResponse?questionnaire:below=http://x/q|1", "one one-two"),
            (
                "QuestionnaireResponse?questionnaire:below=http://x/q|10,http://x/qq",
                "other ten",
            ),
        ])
        .await;
    assert!(
        bench
            .refusal("QuestionnaireResponse?questionnaire:above=http://x/q|1")
            .await
            .contains("not above")
    );
}
