//! Search against a real database: what matches, in which order, on which page. Without HTTP, which has tests of its own.

use jiff::SignedDuration;
use medconsult::fhir::caller::Caller;
use medconsult::fhir::commit::{Op, Target, Write, commit};
use medconsult::fhir::error::FhirError;
use medconsult::fhir::http::query::Query;
use medconsult::fhir::preferences::Handling;
use medconsult::fhir::search::{SearchPage, matches_all, page_bundle, parse, search};
use medconsult::fhir::summary::Projection;
use serde_json::{Value, json};

use crate::bench::{Bench, bench};

mod composite;

impl Bench {
    /// Stores resources, in order, each under its own id.
    async fn store(&self, resources: impl IntoIterator<Item = Value>) {
        for resource in resources {
            self.clock.advance(SignedDuration::from_secs(1));
            self.put(resource).await;
        }
    }

    async fn put(&self, resource: Value) {
        let target = instance(&resource);
        let write = Write::Update {
            target,
            resource,
            if_match: None,
            if_none_match_any: false,
        };
        let outcome = commit(&self.server, &Caller::sandbox(), vec![Op { write, full_url: None }]).await;
        outcome.map_err(|error| error.error).unwrap();
    }

    async fn delete(&self, resource_type: &str, id: &str) {
        let target = Target::Instance {
            resource_type: resource_type.to_owned(),
            id: id.to_owned(),
        };
        let write = Write::Delete { target, if_match: None };
        let outcome = commit(&self.server, &Caller::sandbox(), vec![Op { write, full_url: None }]).await;
        outcome.map_err(|error| error.error).unwrap();
    }

    async fn page(&self, query: &str, handling: Handling) -> Result<(SearchPage, Value), FhirError> {
        let (resource_type, query) = query.split_once('?').unwrap_or((query, ""));
        let search_for = parse(&self.server, resource_type, &Query::parse(query)?.0, handling)?;
        let page = search(&self.server, &Caller::sandbox(), &search_for).await?;
        let bundle = page_bundle(&self.server, &search_for, &page, &Projection::Whole)?;
        Ok((page, serde_json::from_str(&bundle).expect("the Bundle is JSON")))
    }

    async fn bundle(&self, query: &str) -> Value {
        self.page(query, Handling::Strict)
            .await
            .unwrap_or_else(|error| panic!("{query}: {}", error.to_json()))
            .1
    }

    /// Ids of the matches on the first page, in order.
    async fn find(&self, query: &str) -> Vec<String> {
        ids(&self.bundle(query).await, "match")
    }

    /// The same, sorted and joined.
    async fn found(&self, query: &str) -> String {
        let mut ids = self.find(query).await;
        ids.sort();
        ids.join(" ")
    }

    async fn check(&self, expected: &[(&str, &str)]) {
        for (query, ids) in expected {
            assert_eq!(self.found(query).await, *ids, "{query}");
        }
    }

    /// What a refused search is told.
    async fn refusal(&self, query: &str) -> String {
        match self.page(query, Handling::Strict).await {
            Ok(_) => panic!("{query} was not refused"),
            Err(error) => {
                assert_eq!(error.status.as_u16(), 400, "{query}");
                error.issues[0].diagnostics.clone()
            }
        }
    }

    /// Every page from `query` on, by following `next`.
    async fn pages(&self, query: &str) -> Vec<Vec<String>> {
        let mut pages = Vec::new();
        let mut query = query.to_owned();
        loop {
            let bundle = self.bundle(&query).await;
            pages.push(ids(&bundle, "match"));
            match link(&bundle, "next") {
                Some(next) => query = next.strip_prefix("http://localhost/fhir/").unwrap().to_owned(),
                None => return pages,
            }
        }
    }
}

fn instance(resource: &Value) -> Target {
    Target::Instance {
        resource_type: resource["resourceType"].as_str().unwrap().to_owned(),
        id: resource["id"].as_str().unwrap().to_owned(),
    }
}

fn ids(bundle: &Value, mode: &str) -> Vec<String> {
    let entries = bundle["entry"].as_array().map_or(&[][..], Vec::as_slice);
    let of_mode = entries.iter().filter(|entry| entry["search"]["mode"] == mode);
    of_mode
        .map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned())
        .collect()
}

fn link(bundle: &Value, relation: &str) -> Option<String> {
    let links = bundle["link"].as_array().unwrap();
    let link = links.iter().find(|link| link["relation"] == relation)?;
    Some(link["url"].as_str().unwrap().to_owned())
}

/// A Patient of the given id with further elements.
fn patient(id: &str, elements: Value) -> Value {
    resource("Patient", id, elements)
}

/// An Observation of the given id with further elements.
fn observation(id: &str, elements: Value) -> Value {
    let mut observation = resource("Observation", id, json!({"status": "final", "code": {"text": "code"}}));
    for (name, value) in elements.as_object().unwrap() {
        observation[name] = value.clone();
    }
    observation
}

fn resource(resource_type: &str, id: &str, elements: Value) -> Value {
    let mut resource = json!({"resourceType": resource_type, "id": id});
    for (name, value) in elements.as_object().unwrap() {
        resource[name] = value.clone();
    }
    resource
}

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
    let target = Target::Instance {
        resource_type: "Patient".into(),
        id: "a".into(),
    };
    let op = Op {
        write: Write::Delete { target, if_match: None },
        full_url: None,
    };
    assert!(commit(&bench.server, &Caller::sandbox(), vec![op]).await.is_ok());
    bench
        .check(&[
            ("Patient?gender=female", ""),
            ("Patient", ""),
            ("Patient?gender:missing=true", ""),
        ])
        .await;
}

#[tokio::test]
async fn pages_hold_everything_once_while_others_write() {
    let bench = bench().await;
    let resource = |n: usize| {
        patient(
            &format!("p{n:03}"),
            json!({"gender": "male", "active": true, "birthDate": "2000-01-01"}),
        )
    };
    bench.store((0..25).map(resource)).await;
    for query in [
        "Patient?gender=male&_count=4",
        "Patient?_count=4",
        "Patient?active=true&gender=male,female&_count=4&_sort=birthdate",
    ] {
        let mut seen = Vec::new();
        let mut next = Some(query.to_owned());
        let mut n = 1_000;
        while let Some(query) = next {
            let bundle = bench.bundle(&query).await;
            seen.extend(ids(&bundle, "match"));
            next = link(&bundle, "next").map(|url| url.strip_prefix("http://localhost/fhir/").unwrap().to_owned());
            // A new one, and a new version of one already seen and of one still to come.
            n += 1;
            bench
                .put(patient(&format!("new-{n}"), json!({"gender": "female"})))
                .await;
            for old in [0, 12, 24] {
                bench.put(patient(&format!("p{old:03}"), json!({"gender": "male", "active": true, "birthDate": "2000-01-01", "multipleBirthInteger": n - 999}))).await;
            }
        }
        let mut old: Vec<String> = seen.iter().filter(|id| id.starts_with('p')).cloned().collect();
        old.sort();
        let all: Vec<String> = (0..25).map(|n| format!("p{n:03}")).collect();
        assert_eq!(old, all, "{query}");
    }
}

#[tokio::test]
async fn the_default_order_is_newest_first_and_totals_are_told() {
    let bench = bench().await;
    bench
        .store((0..5).map(|n| patient(&format!("p{n}"), json!({"gender": "male"}))))
        .await;
    assert_eq!(
        bench.pages("Patient?_count=2").await,
        [vec!["p4", "p3"], vec!["p2", "p1"], vec!["p0"]]
    );
    for (query, total) in [
        ("Patient?_count=2", Value::Null),
        ("Patient?_count=2&_total=none", Value::Null),
        ("Patient?_count=2&_total=accurate", json!(5)),
        ("Patient?_count=2&_total=estimate", json!(5)),
        ("Patient?_count=5", json!(5)),
        ("Patient?_count=0", json!(5)),
        ("Patient?_count=99999999999999999999&gender=male", json!(5)),
        ("Patient?_summary=count&gender=male", json!(5)),
        ("Patient?gender=female", json!(0)),
        ("Patient?general-practitioner=Practitioner/unheard-of", json!(0)),
    ] {
        assert_eq!(bench.bundle(query).await["total"], total, "{query}");
    }
    let bundle = bench.bundle("Patient?_count=2&gender=male").await;
    assert_eq!(
        link(&bundle, "self").unwrap(),
        "http://localhost/fhir/Patient?_count=2&gender=male"
    );
    assert_eq!(bundle["entry"][0]["fullUrl"], "http://localhost/fhir/Patient/p4");
    assert_eq!(bench.bundle("Patient?_count=0").await.get("entry"), None);
}

#[tokio::test]
async fn sorting_puts_missing_values_last_on_every_page() {
    let bench = bench().await;
    bench
        .store([
            patient(
                "a",
                json!({"birthDate": "1990-05-01", "name": [{"family": "Zed"}, {"family": "Ann"}], "gender": "male"}),
            ),
            patient("b", json!({"name": [{"family": "Bo"}], "gender": "male"})),
            patient("c", json!({"birthDate": "1980", "gender": "female"})),
            patient("d", json!({"birthDate": "1990-05-01", "name": [{"family": "Bo"}]})),
            patient("e", json!({})),
        ])
        .await;
    for (query, order) in [
        ("_sort=birthdate", "c a d b e"),
        ("_sort=-birthdate", "d a c e b"),
        ("_sort=family", "a b d c e"),
        ("_sort=-family", "a d b e c"),
        ("_sort=birthdate,-family", "c a d b e"),
        ("_sort=-birthdate,family", "a d c b e"),
        ("_sort=family,birthdate", "a d b c e"),
        ("_sort=gender,-_id", "c b a e d"),
        ("_sort=_id", "a b c d e"),
        ("_sort=-_id", "e d c b a"),
        ("_sort=_lastUpdated", "a b c d e"),
        ("_sort=-_lastUpdated", "e d c b a"),
        ("_sort=family&birthdate=1990-05-01", "a d"),
        ("_sort=birthdate&family=bo", "d b"),
        ("_sort=birthdate&gender:missing=true", "d e"),
        ("_sort=-birthdate&_id=a,c,e", "a c e"),
    ] {
        for count in [1, 2, 5] {
            let pages = bench.pages(&format!("Patient?{query}&_count={count}")).await;
            assert_eq!(pages.concat().join(" "), order, "{query} by {count}");
        }
    }
    bench
        .store([
            observation(
                "x",
                json!({"valueQuantity": {"value": 9, "system": "http://unitsofmeasure.org", "code": "mg"}}),
            ),
            observation(
                "y",
                json!({"valueQuantity": {"value": 10, "system": "http://unitsofmeasure.org", "code": "mg"}}),
            ),
        ])
        .await;
    assert_eq!(
        bench.pages("Observation?_sort=-value-quantity&_count=1").await.concat(),
        ["y", "x"]
    );
}

#[tokio::test]
async fn includes_are_added_once() {
    let bench = bench().await;
    bench
        .store([
            resource("Practitioner", "doc", json!({})),
            resource("Organization", "org", json!({})),
            patient("p", json!({"generalPractitioner": [{"reference": "Practitioner/doc"}], "managingOrganization": {"reference": "Organization/org"}})),
            patient("lonely", json!({"link": [{"other": {"reference": "Patient/p"}, "type": "seealso"}]})),
            observation("o1", json!({"subject": {"reference": "Patient/p"}, "performer": [{"reference": "Practitioner/doc"}]})),
            observation("o2", json!({"subject": {"reference": "Patient/p"}, "performer": [{"reference": "Patient/absent"}]})),
        ])
        .await;
    for (query, matches, included) in [
        ("Observation?_include=Observation:subject", "o1 o2", "p"),
        (
            "Observation?_include=Observation:patient&_include=Observation:performer",
            "o1 o2",
            "doc p",
        ),
        (
            "Observation?_include=Observation:performer:Practitioner",
            "o1 o2",
            "doc",
        ),
        ("Observation?_include=Observation:performer:Organization", "o1 o2", ""),
        ("Observation?_include=*", "o1 o2", "doc p"),
        ("Patient?_id=p&_include=Patient:*", "p", "doc org"),
        ("Patient?_id=p&_revinclude=Observation:subject", "p", "o1 o2"),
        ("Patient?_id=p&_revinclude=Observation:subject:Patient", "p", "o1 o2"),
        (
            "Patient?_id=p&_revinclude=Observation:*&_include=Patient:organization",
            "p",
            "o1 o2 org",
        ),
        ("Patient?_include=Patient:link", "lonely p", ""),
        ("Patient?_id=lonely&_include=Patient:link", "lonely", "p"),
        (
            "Practitioner?_revinclude=Patient:general-practitioner&_revinclude=Observation:performer",
            "doc",
            "o1 p",
        ),
    ] {
        let bundle = bench.bundle(query).await;
        for (mode, expected) in [("match", matches), ("include", included)] {
            let mut ids = ids(&bundle, mode);
            ids.sort();
            assert_eq!(ids.join(" "), expected, "{query}: {mode}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_or_reported() {
    let bench = bench().await;
    bench.store([patient("a", json!({"gender": "male"}))]).await;
    for query in [
        "Patient?nonsense=1",
        "Patient?_text=x",
        "Patient?name=",
        "Patient?organization.name=x",
        "Patient?_sort=nonsense",
        "Patient?_include=Patient:nonsense",
    ] {
        bench.refusal(query).await;
        let (_, bundle) = bench
            .page(&format!("{query}&gender=male"), Handling::Lenient)
            .await
            .unwrap();
        assert_eq!(ids(&bundle, "match"), ["a"], "{query}");
        let outcome = bundle["entry"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["search"]["mode"] == "outcome")
            .unwrap();
        assert_eq!(outcome["resource"]["resourceType"], "OperationOutcome", "{query}");
        assert_eq!(
            link(&bundle, "self").unwrap(),
            "http://localhost/fhir/Patient?gender=male",
            "{query}"
        );
    }
    assert!(
        bench
            .refusal("Patient?name:above=x")
            .await
            .contains(":exact, :contains, :missing")
    );
    assert!(
        bench
            .refusal("Patient?gender:exact=x")
            .await
            .contains(":not, :text, :missing")
    );
    assert!(
        bench
            .refusal("Patient?general-practitioner:Patient=x")
            .await
            .contains(":Practitioner")
    );
    for query in [
        "Patient?birthdate=yesterday",
        "Patient?birthdate=zz2000",
        "Patient?birthdate=2000-02-30",
        "Patient?birthdate:missing=maybe",
        "Patient?birthdate=2000,",
        "RiskAssessment?probability=high",
        "Observation?value-quantity=5|mg",
        "Patient?_count=many",
        "Patient?_count=-1",
        "Patient?_total=all",
        "Patient?gender=|",
        "Patient?general-practitioner=a%20b",
        "Patient?_include=x",
        "Patient?_cursor=AAAA",
        "Patient?gender=ma%00le",
        "Patient?name=%FF",
        "Patient?birthdate:exact=2000",
        "Patient?_lastUpdated:missing=true",
    ] {
        // Not even a lenient client wants another question answered.
        assert!(bench.page(query, Handling::Lenient).await.is_err(), "{query}");
        bench.refusal(query).await;
    }
    assert_eq!(
        bench
            .page("Nonsense?x=1", Handling::Lenient)
            .await
            .unwrap_err()
            .status
            .as_u16(),
        404
    );
}

#[tokio::test]
async fn hostile_values_are_only_values() {
    let bench = bench().await;
    bench
        .store([patient(
            "a",
            json!({"gender": "male", "name": [{"family": "Smith"}], "birthDate": "1990-01-01"}),
        )])
        .await;
    for text in [
        "' OR 1=1 --",
        "'; DROP TABLE resource; --",
        "%",
        "_",
        ".*",
        "(a+)+$",
        "\\",
        "$1",
        "${x}",
        "\u{202e}",
        "\u{10ffff}",
        "😀",
        "\"",
        "<script>",
    ] {
        let text: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for query in [
            "family",
            "family:exact",
            "family:contains",
            "gender",
            "gender:not",
            "identifier",
            "_id",
            "_profile",
            "_tag",
        ] {
            let found = bench.found(&format!("Patient?{query}={text}")).await;
            assert_eq!(found, if query == "gender:not" { "a" } else { "" }, "{query}={text}");
        }
        for query in ["birthdate", "_lastUpdated"] {
            bench.refusal(&format!("Patient?{query}={text}")).await;
        }
    }
    let thousands = |value: &str| (0..5_000).map(|n| format!("{value}{n}")).collect::<Vec<_>>().join(",");
    for (query, found) in [
        (format!("gender={},male", thousands("x")), "a"),
        (format!("gender:not={}", thousands("x")), "a"),
        (format!("family={},smi", thousands("x")), "a"),
        (format!("family:exact={},Smith", thousands("x")), "a"),
        (format!("_id={},a", thousands("x")), "a"),
        (format!("general-practitioner={}", thousands("Practitioner/x")), ""),
        (format!("_profile={}", thousands("http://x.org/")), ""),
        (format!("identifier={}", thousands("urn:s|")), ""),
    ] {
        assert_eq!(bench.found(&format!("Patient?{query}")).await, found);
    }
    assert!(
        bench
            .refusal(&format!("Patient?gender={}", vec!["x"; 10_001].join(",")))
            .await
            .contains("10000")
    );
    let parameters = vec!["gender=male"; 101].join("&");
    assert!(bench.refusal(&format!("Patient?{parameters}")).await.contains("100"));
}

#[tokio::test]
async fn a_page_link_serves_its_own_search_only() {
    let bench = bench().await;
    bench
        .store((0..3).map(|n| patient(&format!("p{n}"), json!({"gender": "male"}))))
        .await;
    let bundle = bench.bundle("Patient?gender=male&_count=1").await;
    let next = link(&bundle, "next").unwrap();
    let cursor = next.split_once("_cursor=").unwrap().1.to_owned();
    assert_eq!(
        bench
            .find(&format!("Patient?gender=male&_count=5&_cursor={cursor}"))
            .await,
        ["p1", "p0"]
    );
    bench.refusal(&format!("Patient?gender=female&_cursor={cursor}")).await;
    bench
        .refusal(&format!("Patient?gender=male&_sort=gender&_cursor={cursor}"))
        .await;
    let mut altered = cursor.into_bytes();
    let last = altered.len() - 2;
    altered[last] = if altered[last] == b'A' { b'B' } else { b'A' };
    bench
        .refusal(&format!(
            "Patient?gender=male&_cursor={}",
            String::from_utf8(altered).unwrap()
        ))
        .await;
}

#[tokio::test]
async fn conditions_are_looked_up_together() {
    let bench = bench().await;
    bench
        .store([
            patient("a", json!({"identifier": [{"system": "urn:mrn", "value": "1"}]})),
            patient("b", json!({"identifier": [{"system": "urn:mrn", "value": "2"}]})),
            patient("c", json!({"identifier": [{"system": "urn:mrn", "value": "2"}]})),
            patient("d", json!({"identifier": [{"system": "urn:mrn", "value": "2"}]})),
        ])
        .await;
    let mut lease = bench.server.store.fixed().await.unwrap();
    let ask = |query: &str| ("Patient".to_owned(), query.to_owned());
    let mut criteria = vec![
        ask("identifier=urn:mrn|2"),
        ask("identifier=urn:mrn|1"),
        ask("identifier=urn:never|1"),
    ];
    criteria.extend((0..300).map(|n| ask(&format!("identifier=urn:mrn|x{n}"))));
    let found = matches_all(&mut lease, &bench.server, &Caller::sandbox(), &criteria)
        .await
        .unwrap();
    assert_eq!(
        (found[0].len(), found[1].len(), found[2].len(), found.len()),
        (2, 1, 0, 303)
    );
    assert_eq!(found[1][0].1, "a");
    for (query, position) in [("", 1), ("_count=1", 1), ("nonsense=1", 1), ("birthdate=x", 1)] {
        let error = matches_all(
            &mut lease,
            &bench.server,
            &Caller::sandbox(),
            &[ask("gender=male"), ask(query)],
        )
        .await;
        assert_eq!(error.unwrap_err().0, Some(position), "{query}");
    }
}
