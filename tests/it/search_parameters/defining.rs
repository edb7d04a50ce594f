//! What can be defined, what it finds, and what is refused.

use super::*;

#[tokio::test]
async fn every_type_of_parameter_works_also_by_the_engine() {
    let app = spawn_app().await;
    let extension = |name: &str| format!("http://example.org/fhir/StructureDefinition/{name}");
    let resource = json!({"resourceType": "Patient", "id": "p",
        "name": [{"use": "official", "family": "Žižek"}, {"use": "old", "family": "Novák", "period": {"end": "2001"}}],
        "extension": [
            {"url": extension("tribe"), "valueCoding": {"system": "urn:t", "code": "Raven"}},
            {"url": extension("doctor"), "valueReference": {"reference": "Practitioner/d"}},
            {"url": extension("moved"), "valueDateTime": "2020-05"},
            {"url": extension("height"), "valueQuantity": {"value": 1.8, "system": "http://unitsofmeasure.org", "code": "m"}},
            {"url": extension("page"), "valueUri": "http://example.org/p"},
            {"url": extension("nickname"), "valueString": "Slavoj"}]});
    app.put("/fhir/Patient/p").fhir(&resource).answer().await.expect(201);
    app.put("/fhir/Patient/q")
        .fhir(&json!({"resourceType": "Patient", "id": "q"}))
        .answer()
        .await
        .expect(201);
    let value = |name: &str| format!("Patient.extension.where(url='{}').value", extension(name));
    for (code, kind, expression) in [
        ("tribe", "token", value("tribe")),
        (
            "doctor",
            "reference",
            format!("Patient.extension('{}').value.ofType(Reference)", extension("doctor")),
        ),
        ("moved", "date", format!("({} as dateTime)", value("moved"))),
        ("height", "quantity", value("height")),
        ("page", "uri", value("page")),
        ("nickname", "string", value("nickname")),
        (
            "called",
            "string",
            "Patient.name.where(use = 'official' and period.empty()).family".to_owned(),
        ),
        (
            "reachable",
            "token",
            "Patient.telecom.exists() or Patient.contact.exists()".to_owned(),
        ),
    ] {
        app.put_parameter(&parameter(code, "Patient", kind, &expression)).await;
    }
    app.run_jobs().await;
    for query in [
        "tribe=urn:t|raven",
        "tribe=Raven",
        "doctor=Practitioner/d",
        "moved=2020",
        "height=180|http://unitsofmeasure.org|cm",
        "page=http://example.org/p",
        "nickname=slav",
        "called=zizek",
        "nickname:missing=false",
    ] {
        let bundle = app.bundle(&format!("Patient?{query}")).await;
        assert_eq!((total(&bundle), warnings(&bundle)), (1, vec![]), "{query}");
        assert_eq!(bundle["entry"][0]["resource"]["id"], "p", "{query}");
    }
    assert_eq!(total(&app.bundle("Patient?called=novak").await), 0);
    assert_eq!(total(&app.bundle("Patient?reachable=false").await), 2);
}

#[tokio::test]
async fn a_composite_of_ones_own_matches_per_instance_also_in_what_is_contained() {
    let app = spawn_app().await;
    let name = |given: &str, family: &str| json!({"given": [given], "family": family});
    let patient =
        json!({"resourceType": "Patient", "id": "p", "name": [name("Ada", "King"), name("Augusta", "Byron")]});
    app.put("/fhir/Patient/p").fhir(&patient).answer().await.expect(201);
    let mut within = patient.clone();
    within["id"] = json!("inner");
    let account = json!({"resourceType": "Basic", "code": {"text": "x"}, "contained": [within], "subject": {"reference": "#inner"}});
    app.post("/fhir/Basic").fhir(&account).answer().await.expect(201);
    let component = |which: &str| json!({"definition": format!("http://hl7.org/fhir/SearchParameter/individual-{which}"), "expression": which});
    let mut own = parameter("called", "Patient", "composite", "Patient.name");
    own["component"] = json!([component("given"), component("family")]);
    app.put_parameter(&own).await;
    app.run_jobs().await;
    assert_eq!(total(&app.bundle("Patient?called=Ada$King").await), 1);
    assert_eq!(total(&app.bundle("Patient?called=Ada$Byron").await), 0, "of two names");
    let mut connection = app.connection().await;
    assert_eq!(
        count(&mut connection, "SELECT count(*) FROM idx_composite WHERE param < 0").await,
        2
    );

    own["component"][0]["definition"] = json!("http://example.org/fhir/SearchParameter/none");
    own["code"] = json!("other");
    let answer = app.post("/fhir/SearchParameter").fhir(&own).answer().await.expect(422);
    assert_eq!(
        answer.json()["issue"][0]["expression"][0],
        "SearchParameter.component.definition"
    );

    app.delete("/fhir/SearchParameter/called").answer().await.expect(204);
    app.run_jobs().await;
    assert_eq!(count(&mut connection, "SELECT count(*) FROM idx_composite").await, 0);
}

#[tokio::test]
async fn one_for_all_types_is_one_for_each() {
    let app = spawn_app().await;
    let source = "http://example.org/fhir/StructureDefinition/batch";
    let tagged =
        json!({"resourceType": "Basic", "code": {"text": "x"}, "extension": [{"url": source, "valueString": "seven"}]});
    app.post("/fhir/Basic").fhir(&tagged).answer().await.expect(201);
    app.post("/fhir/Patient").fhir(&patient(40)).answer().await.expect(201);
    let expression = format!("DomainResource.extension('{source}').value");
    app.put_parameter(&parameter("batch", "DomainResource", "string", &expression))
        .await;
    app.run_jobs().await;
    assert_eq!(total(&app.bundle("Basic?batch=seven").await), 1);
    assert_eq!(total(&app.bundle("Patient?batch=seven").await), 0);
    app.delete("/fhir/SearchParameter/batch").answer().await.expect(204);
    app.run_jobs().await;
    let mut connection = app.connection().await;
    assert_eq!(
        count(
            &mut connection,
            "SELECT count(*) FROM search_parameter WHERE code = 'batch'"
        )
        .await,
        0
    );
}

#[tokio::test]
async fn what_cannot_be_used_is_refused() {
    let app = spawn_app().await;
    app.put_parameter(&shoe_size()).await;
    let refused = async |parameter: Value| {
        let answer = app
            .post("/fhir/SearchParameter")
            .fhir(&parameter)
            .answer()
            .await
            .expect(422);
        answer.json()["issue"][0].clone()
    };
    let mut same_code = shoe_size();
    same_code["url"] = json!("http://example.org/fhir/SearchParameter/other");
    let issue = refused(same_code.clone()).await;
    assert!(
        issue["diagnostics"]
            .as_str()
            .unwrap()
            .contains("SearchParameter/shoe-size"),
        "{issue}"
    );
    assert_eq!(issue["expression"][0], "SearchParameter.code");
    assert_eq!(
        refused(parameter("x", "Patient", "token", "Patient..")).await["expression"][0],
        "SearchParameter.expression"
    );
    assert_eq!(
        refused(parameter("x", "Alien", "token", "Alien.x")).await["expression"][0],
        "SearchParameter.base[0]",
        "validation knows the types"
    );
    assert_eq!(
        refused(parameter("x", "Patient", "date", "Patient.gender")).await["expression"][0],
        "SearchParameter.type"
    );
    assert_eq!(
        refused(parameter("gender", "Patient", "token", "Patient.active")).await["expression"][0],
        "SearchParameter.code"
    );

    // In a transaction it takes all with it.
    let entry =
        |resource: Value| json!({"request": {"method": "POST", "url": resource["resourceType"]}, "resource": resource});
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        entry(patient(40)), entry(parameter("x", "Patient", "date", "Patient.gender"))]});
    app.post("/fhir").fhir(&bundle).answer().await.expect(422);
    assert_eq!(total(&app.bundle("Patient").await), 0);
    // Two with one code in one transaction.
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        entry(parameter("y", "Patient", "token", "Patient.gender")), entry(parameter("y", "Patient", "token", "Patient.active"))]});
    app.post("/fhir").fhir(&bundle).answer().await.expect(422);

    // Another status, another type's code and copies of R4's own are fine.
    same_code["status"] = json!("draft");
    app.post("/fhir/SearchParameter")
        .fhir(&same_code)
        .answer()
        .await
        .expect(201);
    app.put_parameter(&parameter(
        "shoe-count",
        "Patient",
        "number",
        "Patient.multipleBirth.ofType(integer)",
    ))
    .await;
    let definitions = Definitions::r4();
    for code in ["birthdate", "general-practitioner"] {
        let known = definitions
            .search_parameters
            .iter()
            .find(|known| known.code == code)
            .unwrap();
        let mut copy = parameter(code, "Patient", known.kind.code(), known.expression.as_deref().unwrap());
        copy["url"] = json!(known.url);
        copy["base"] = json!(known.base);
        app.post("/fhir/SearchParameter").fhir(&copy).answer().await.expect(201);
    }
}

#[tokio::test]
async fn it_goes_when_it_is_deleted_or_retired_and_comes_back() {
    let app = spawn_app().await;
    app.store_patients([41, 43].into_iter()).await;
    app.put_parameter(&shoe_size()).await;
    app.run_jobs().await;
    let mut connection = app.connection().await;
    let rows = "SELECT count(*) FROM idx_quantity";
    assert_eq!(count(&mut connection, rows).await, 2);

    let mut retired = shoe_size();
    retired["status"] = json!("retired");
    app.put_parameter(&retired).await;
    let strict = app
        .get("/fhir/Patient?shoe-size=43")
        .header("prefer", "handling=strict");
    strict.answer().await.expect(400);
    let lenient = app.get("/fhir/Patient?shoe-size=43").answer().await.expect(200).json();
    assert_eq!(warnings(&lenient).len(), 1, "it is ignored, and says so");
    app.post("/fhir/Patient").fhir(&patient(44)).answer().await.expect(201);
    app.run_jobs().await;
    assert_eq!(count(&mut connection, rows).await, 0, "its rows are gone");
    assert_eq!(
        count(&mut connection, "SELECT count(*) FROM search_parameter WHERE dropped").await,
        0
    );

    app.put_parameter(&shoe_size()).await;
    assert_eq!(warnings(&app.bundle("Patient?shoe-size=43").await).len(), 1);
    app.run_jobs().await;
    assert_eq!(total(&app.bundle("Patient?shoe-size=ge43").await), 2);
    app.delete("/fhir/SearchParameter/shoe-size").answer().await.expect(204);
    app.run_jobs().await;
    assert_eq!(count(&mut connection, rows).await, 0);
}

#[tokio::test]
async fn another_expression_indexes_anew_and_another_description_does_not() {
    let app = spawn_app().await;
    app.store_patients([41].into_iter()).await;
    let born = json!({"resourceType": "Patient", "multipleBirthInteger": 41});
    app.post("/fhir/Patient").fhir(&born).answer().await.expect(201);
    app.put_parameter(&shoe_size()).await;
    app.run_jobs().await;
    let mut described = shoe_size();
    described["description"] = json!("In Paris points");
    app.put_parameter(&described).await;
    assert_eq!(warnings(&app.bundle("Patient?shoe-size=41").await).len(), 0);
    let mut changed = described.clone();
    changed["expression"] = json!("Patient.multipleBirth.ofType(integer)");
    app.put_parameter(&changed).await;
    assert_eq!(warnings(&app.bundle("Patient?shoe-size=41").await).len(), 1);
    app.run_jobs().await;
    let bundle = app.bundle("Patient?shoe-size=41").await;
    assert_eq!((total(&bundle), warnings(&bundle)), (1, vec![]));
    assert_eq!(bundle["entry"][0]["resource"]["multipleBirthInteger"], 41);
}

#[tokio::test]
async fn a_condition_on_what_is_not_complete_is_refused() {
    let app = spawn_app().await;
    app.store_patients([41].into_iter()).await;
    app.put_parameter(&shoe_size()).await;
    let create = || {
        app.post("/fhir/Patient")
            .header("if-none-exist", "shoe-size=41")
            .fhir(&patient(41))
    };
    let answer = create().answer().await.expect(503);
    assert!(answer.text().contains("shoe-size"), "{}", answer.text());
    app.run_jobs().await;
    create().answer().await.expect(200);
}
