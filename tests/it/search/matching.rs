//! What each type of parameter matches.

use serde_json::{Value, json};

use super::{observation, patient, resource};
use crate::bench::bench;

#[tokio::test]
async fn tokens() {
    let bench = bench().await;
    let coded = |system: Value, code: &str| json!({"code": {"coding": [{"system": system, "code": code}]}});
    bench
        .store([
            observation("a", coded(json!("http://loinc.org"), "8480-6")),
            observation("b", coded(json!("http://loinc.org"), "8462-4")),
            observation("c", json!({"code": {"coding": [{"code": "8480-6"}]}})),
            observation("d", json!({"code": {"coding": [{"system": "http://other.org", "code": "ABC"}, {"system": "http://loinc.org", "code": "x,y"}]}})),
            observation("e", json!({"status": "amended", "meta": {"tag": [{"system": "urn:t", "code": "vip"}], "security": [{"code": "R"}], "profile": ["http://p.org/x|1"], "source": "urn:src"}})),
            patient("p", json!({"active": true, "gender": "male", "identifier": [{"system": "urn:mrn", "value": "Aa1"}], "telecom": [{"system": "email", "value": "Ann@Example.org"}]})),
            patient("q", json!({"active": false, "gender": "female", "identifier": [{"value": "Aa1"}], "deceasedBoolean": true})),
        ])
        .await;
    bench
        .check(&[
            ("Observation?code=8480-6", "a c"),
            ("Observation?code=http://loinc.org|8480-6", "a"),
            ("Observation?code=|8480-6", "c"),
            ("Observation?code=http://loinc.org|", "a b d"),
            ("Observation?code=http://never.seen|8480-6", ""),
            ("Observation?code=8480-6,8462-4", "a b c"),
            ("Observation?code=http://loinc.org|8480-6,|8480-6", "a c"),
            ("Observation?code=abc", "d"),
            ("Observation?code=ABC", "d"),
            (r"Observation?code=x\,y", "d"),
            ("Observation?code=x,y", ""),
            ("Observation?code=8480-6&code=8462-4", ""),
            ("Observation?code:not=8480-6", "b d e"),
            ("Observation?code:not=8480-6,8462-4", "d e"),
            ("Observation?code:not=http://never.seen|1", "a b c d e"),
            ("Observation?code:not=8480-6&status=amended", "e"),
            ("Observation?status=final", "a b c d"),
            (
                "Observation?status=http://hl7.org/fhir/observation-status|final",
                "a b c d",
            ),
            ("Observation?status=http://hl7.org/fhir/other|final", ""),
            ("Observation?category:missing=true", "a b c d e"),
            ("Observation?code:missing=false", "a b c d e"),
            ("Observation?_tag=urn:t|vip", "e"),
            ("Observation?_tag:not=vip", "a b c d"),
            ("Observation?_security=R", "e"),
            ("Observation?_profile=http://p.org/x", "e"),
            ("Observation?_profile=http://p.org/x|1", "e"),
            ("Observation?_profile=http://p.org/x|2", ""),
            ("Observation?_source=urn:src", "e"),
            ("Observation?_id=a,c,nobody", "a c"),
            ("Observation?_id=a&_id=c", ""),
            ("Observation?_id:not=a,c", "b d e"),
            ("Observation?_id=a&code=8480-6", "a"),
            ("Patient?active=true", "p"),
            ("Patient?gender=female", "q"),
            ("Patient?gender=http://hl7.org/fhir/administrative-gender|female", "q"),
            ("Patient?identifier=Aa1", "p q"),
            ("Patient?identifier=aa1", ""),
            ("Patient?identifier=urn:mrn|Aa1", "p"),
            ("Patient?identifier=|Aa1", "q"),
            ("Patient?email=ann@example.ORG", "p"),
            ("Patient?phone=ann@example.org", ""),
            ("Patient?telecom:missing=true", "q"),
            ("Patient?deceased=true", "q"),
            ("Patient?deceased=false", "p"),
        ])
        .await;
}

#[tokio::test]
async fn strings() {
    let bench = bench().await;
    let name = |family: &str, given: &str| json!({"name": [{"family": family, "given": [given]}]});
    bench
        .store([
            patient("a", name("Müller", "Ann Marie")),
            patient("b", name("Mueller", "Bo")),
            patient("c", name("O'Brien", "Ｃ")),
            patient(
                "d",
                json!({"address": [{"line": ["1 Main St"], "city": "Łódź", "postalCode": "90-001"}]}),
            ),
            patient("e", name("Mu\u{308}ller-Lüdenscheidt", "E")),
            patient("f", name(&format!("{} Needle", "x".repeat(3_000)), "F")),
            patient("g", name("%", "\\")),
        ])
        .await;
    bench
        .check(&[
            ("Patient?family=muller", "a e"),
            ("Patient?family=MÜLL", "a e"),
            ("Patient?family=mueller", "b"),
            ("Patient?family:exact=Müller", "a"),
            ("Patient?family:exact=Mu\u{308}ller", "a"),
            ("Patient?family:exact=müller", ""),
            ("Patient?family:exact=Mueller,Müller", "a b"),
            ("Patient?family:contains=LER", "a b e"),
            ("Patient?family:contains=denscheidt,brien", "c e"),
            ("Patient?family:contains=needle", "f"),
            ("Patient?family=needle", ""),
            ("Patient?family=obrien", "c"),
            ("Patient?name=marie", ""),
            ("Patient?name=ann%20%20marie", "a"),
            ("Patient?name=ann,bo", "a b"),
            ("Patient?name:contains=marie", "a"),
            ("Patient?given=c", "c"),
            ("Patient?address=1%20main", "d"),
            ("Patient?address-city=lodz", ""),
            ("Patient?address-city=łodz", "d"),
            ("Patient?address-postalcode=90001", "d"),
            ("Patient?name:missing=true", "d"),
            ("Patient?family=%25", "g"),
            ("Patient?family:contains=%25", "g"),
            ("Patient?given=%5C", "g"),
            ("Patient?family=_", ""),
            ("Patient?name=muller&given=ann", "a"),
        ])
        .await;
}

#[tokio::test]
async fn dates_with_every_prefix() {
    let bench = bench().await;
    bench
        .store([
            observation("day", json!({"effectiveDateTime": "2013-01-14"})),
            observation("time", json!({"effectiveDateTime": "2013-01-14T10:00:00Z"})),
            observation("month", json!({"effectiveDateTime": "2013-01"})),
            observation("open", json!({"effectivePeriod": {"start": "2013-01-21"}})),
            observation("until", json!({"effectivePeriod": {"end": "2013-01-13"}})),
            observation(
                "span",
                json!({"effectivePeriod": {"start": "2013-01-10", "end": "2013-03-10"}}),
            ),
            observation("zoned", json!({"effectiveDateTime": "2013-01-14T23:30:00-05:00"})),
            observation("none", json!({})),
            observation(
                "timing",
                json!({"effectiveTiming": {"event": ["2012-05-01", "2012-06-01"]}}),
            ),
        ])
        .await;
    bench
        .check(&[
            ("Observation?date=2013-01-14", "day time"),
            ("Observation?date=2013-01-15", "zoned"),
            ("Observation?date=2013-01", "day month time zoned"),
            ("Observation?date=2013", "day month span time zoned"),
            ("Observation?date=2013-01-14T10:00", "time"),
            ("Observation?date=2013-01-14T10:00:00Z", "time"),
            ("Observation?date=2013-01-14T11:00:00%2B01:00", "time"),
            ("Observation?date=2013-01-14T11:00:00+01:00", "time"),
            ("Observation?date=ne2013-01-14", "month open span timing until zoned"),
            ("Observation?date=gt2013-01-14", "month open span zoned"),
            ("Observation?date=ge2013-01-14", "day month open span time zoned"),
            ("Observation?date=lt2013-01-14", "month span timing until"),
            ("Observation?date=le2013-01-14", "day month span time timing until"),
            ("Observation?date=sa2013-01-14", "open zoned"),
            ("Observation?date=eb2013-01-14", "timing until"),
            ("Observation?date=gt2020", "open"),
            // A Period that ends on the day neither reaches beyond it nor lies within it.
            ("Observation?date=ge2013-03-10", "open"),
            ("Observation?date=ge2013-03-09", "open span"),
            ("Observation?date=2012-05-01", ""),
            ("Observation?date=2012", "timing"),
            ("Observation?date=ge2013-01-14&date=le2013-01-14", "day month span time"),
            ("Observation?date=2013-01-14,2013-01-15", "day time zoned"),
            ("Observation?date:missing=true", "none"),
            // A tenth of the thirteen years to now around it.
            (
                "Observation?date=ap2013-01-14",
                "day month open span time timing until zoned",
            ),
        ])
        .await;
    let many: Vec<String> = (1..=28).map(|day| format!("2013-01-{day:02}")).collect();
    assert_eq!(
        bench.found(&format!("Observation?date={}", many.join(","))).await,
        "day time zoned"
    );
    bench
        .check(&[
            (
                "Observation?_lastUpdated=2026-03-01",
                "day month none open span time timing until zoned",
            ),
            ("Observation?_lastUpdated=lt2026-03-01T10:00:03Z", "day time"),
            ("Observation?_lastUpdated=ge2026-03-01T10:00:09Z", "timing"),
            ("Observation?_lastUpdated=gt2026-03-01", ""),
            ("Observation?_lastUpdated=2026-03-01T10:00:02Z&date=2013", "time"),
        ])
        .await;
}

#[tokio::test]
async fn numbers_and_quantities() {
    let bench = bench().await;
    let risk = |id: &str, probability: f64| {
        let elements = json!({"status": "final", "subject": {"reference": "Patient/p"}, "prediction": [{"probabilityDecimal": probability}]});
        resource("RiskAssessment", id, elements)
    };
    let ucum = |value: Value, unit: &str| json!({"valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}});
    bench
        .store([
            risk("r1", 0.5),
            risk("r2", 0.54),
            risk("r3", 0.9),
            observation("mg", ucum(json!(5.4), "mg")),
            observation("g", ucum(json!(0.0054), "g")),
            observation("kg", ucum(json!(80), "kg")),
            observation("low", json!({"valueQuantity": {"comparator": "<", "value": 3, "unit": "units", "code": "u"}})),
            observation("plain", json!({"valueQuantity": {"value": 5.4}})),
            observation("data", json!({"valueSampledData": {"origin": {"value": 0}, "period": 10, "dimensions": 1, "data": "100 200 E"}})),
        ])
        .await;
    bench
        .check(&[
            ("RiskAssessment?probability=0.5", "r1 r2"),
            ("RiskAssessment?probability=0.50", "r1"),
            ("RiskAssessment?probability=5e-1", "r1 r2"),
            ("RiskAssessment?probability=ne0.50", "r2 r3"),
            ("RiskAssessment?probability=gt0.5", "r2 r3"),
            ("RiskAssessment?probability=ge0.5", "r1 r2 r3"),
            ("RiskAssessment?probability=lt0.54", "r1"),
            ("RiskAssessment?probability=le0.54", "r1 r2"),
            ("RiskAssessment?probability=sa0.54", "r3"),
            ("RiskAssessment?probability=eb0.54", "r1"),
            ("RiskAssessment?probability=ap0.5", "r1 r2"),
            ("RiskAssessment?probability=0.50,0.90", "r1 r3"),
            ("Observation?value-quantity=5.4", "mg plain"),
            ("Observation?value-quantity=5.4||mg", "mg"),
            ("Observation?value-quantity=5.4|http://unitsofmeasure.org|mg", "g mg"),
            ("Observation?value-quantity=0.0054|http://unitsofmeasure.org|g", "g mg"),
            ("Observation?value-quantity=gt1|http://unitsofmeasure.org|g", "kg"),
            ("Observation?value-quantity=lt1|http://unitsofmeasure.org|g", "g mg"),
            ("Observation?value-quantity=lt2||units", "low"),
            ("Observation?value-quantity=lt2||u", "low"),
            ("Observation?value-quantity=gt2||u", "low"),
            // What is below 3 is not 3 or more.
            ("Observation?value-quantity=ge3||u", ""),
            ("Observation?value-quantity=le3||u", "low"),
            ("Observation?value-quantity=sa2||u", ""),
            ("Observation?value-quantity=gt150", "data"),
            ("Observation?value-quantity=sa90", "data"),
            ("Observation?value-quantity=150", ""),
            ("Observation?value-quantity:missing=true", ""),
            ("Observation?value-quantity=5.4|http://never.seen|mg", ""),
        ])
        .await;
}

#[tokio::test]
async fn references_and_uris() {
    let bench = bench().await;
    let about = |reference: &str| json!({"subject": {"reference": reference}});
    bench
        .store([
            patient("p1", json!({})),
            resource("Group", "p1", json!({"type": "person", "actual": true})),
            observation("relative", about("Patient/p1")),
            observation("absolute", about("http://localhost/fhir/Patient/p1")),
            observation("version", about("Patient/p1/_history/1")),
            observation("group", about("Group/p1")),
            observation("absent", about("Patient/nobody")),
            observation("remote", about("http://elsewhere.org/fhir/Patient/p1")),
            observation(
                "named",
                json!({"subject": {"identifier": {"system": "urn:mrn", "value": "7"}}}),
            ),
            observation("display", json!({"subject": {"display": "somebody"}})),
            observation("nobody", json!({})),
            resource(
                "QuestionnaireResponse",
                "r",
                json!({"status": "completed", "questionnaire": "http://q.org/a|2.0"}),
            ),
            resource("ValueSet", "v", json!({"status": "active", "url": "http://v.org/Set"})),
        ])
        .await;
    bench
        .check(&[
            ("Observation?subject=Patient/p1", "absolute relative version"),
            ("Observation?subject=p1", "absolute group relative version"),
            ("Observation?subject:Patient=p1", "absolute relative version"),
            ("Observation?subject:Group=p1", "group"),
            (
                "Observation?subject=http://localhost/fhir/Patient/p1",
                "absolute relative version",
            ),
            ("Observation?subject=http://elsewhere.org/fhir/Patient/p1", "remote"),
            ("Observation?subject=Patient/nobody", "absent"),
            ("Observation?subject=Patient/unheard-of", ""),
            ("Observation?subject=Practitioner/p1", ""),
            (
                "Observation?subject=Patient/p1,Group/p1",
                "absolute group relative version",
            ),
            ("Observation?patient=p1", "absolute relative version"),
            ("Observation?subject:identifier=urn:mrn|7", "named"),
            ("Observation?subject:identifier=7", "named"),
            ("Observation?subject:identifier=urn:other|7", ""),
            ("Observation?subject:missing=true", "nobody"),
            ("Observation?subject=Patient/p1&_id=relative", "relative"),
            ("QuestionnaireResponse?questionnaire=http://q.org/a", "r"),
            ("QuestionnaireResponse?questionnaire=http://q.org/a|2.0", "r"),
            ("QuestionnaireResponse?questionnaire=http://q.org/a|1.0", ""),
            ("ValueSet?url=http://v.org/Set", "v"),
            ("ValueSet?url=http://v.org/set", ""),
            ("ValueSet?url=http://v.org/", ""),
        ])
        .await;
}

#[tokio::test]
async fn changed_and_deleted_resources_are_found_as_they_are_now() {
    let bench = bench().await;
    bench
        .store([
            patient("a", json!({"gender": "male"})),
            patient("a", json!({"gender": "female"})),
        ])
        .await;
    bench
        .check(&[("Patient?gender=male", ""), ("Patient?gender=female", "a")])
        .await;
    bench.delete("Patient", "a").await;
    bench
        .check(&[
            ("Patient?gender=female", ""),
            ("Patient", ""),
            ("Patient?gender:missing=true", ""),
        ])
        .await;
}
