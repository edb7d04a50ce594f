//! Composite parameters, and the modifiers of tokens that have rows of their own.

use serde_json::{Value, json};

use super::{observation, patient, resource};
use crate::bench::{Bench, bench};

const UCUM: &str = "http://unitsofmeasure.org";

fn code(code: &str) -> Value {
    json!({"coding": [{"system": "http://loinc.org", "code": code}]})
}

fn quantity(value: f64, unit: &str) -> Value {
    json!({"value": value, "unit": unit, "system": UCUM, "code": unit})
}

/// A blood pressure: two values, each with its own code.
fn pressure(id: &str, systolic: f64, diastolic: f64) -> Value {
    observation(
        id,
        json!({"code": code("85354-9"), "component": [
            {"code": code("8480-6"), "valueQuantity": quantity(systolic, "mm[Hg]")},
            {"code": code("8462-4"), "valueQuantity": quantity(diastolic, "mm[Hg]")}]}),
    )
}

#[tokio::test]
async fn the_parts_of_a_composite_are_true_of_one_instance() {
    let bench = bench().await;
    bench
        .store([
            pressure("high", 180.0, 100.0),
            pressure("low", 100.0, 60.0),
            observation(
                "weight",
                json!({"code": code("29463-7"), "valueQuantity": quantity(100.0, "kg")}),
            ),
        ])
        .await;
    let systolic = "Observation?component-code-value-quantity=http://loinc.org|8480-6$";
    bench
        .check(&[
            (&format!("{systolic}gt150"), "high"),
            (&format!("{systolic}100"), "low"),
            // The other pressure has a systolic code, and a 60, but not in one place.
            (&format!("{systolic}60"), ""),
            (&format!("{systolic}gt150||mm[Hg]"), "high"),
            (&format!("{systolic}gt150|{UCUM}|mm[Hg]"), "high"),
            (&format!("{systolic}gt19|{UCUM}|kPa"), "high"),
            (&format!("{systolic}gt150|{UCUM}|kg"), ""),
            (&format!("{systolic}gt90,http://loinc.org|8462-4$lt70"), "high low"),
            (&format!("{systolic}gt150,8462-4$lt70"), "high low"),
            (
                &format!("{systolic}lt150&component-code-value-quantity=8462-4$lt70"),
                "low",
            ),
            (
                &format!("{systolic}gt150&component-code-value-quantity=8462-4$lt70"),
                "",
            ),
            (
                "Observation?component-code-value-quantity=8462-4$gt90&status=final",
                "high",
            ),
            ("Observation?code-value-quantity=29463-7$100", "weight"),
            ("Observation?code-value-quantity=8480-6$180", ""),
            // R4 defines it as the union of the other two.
            ("Observation?combo-code-value-quantity=8480-6$180", "high"),
            ("Observation?combo-code-value-quantity=29463-7$100", "weight"),
            ("Observation?combo-code-value-quantity=29463-7$180", ""),
            (
                "Observation?component-code-value-quantity=urn:never-seen|8480-6$180",
                "",
            ),
        ])
        .await;
}

#[tokio::test]
async fn components_of_every_type_are_matched_by_its_rules() {
    let bench = bench().await;
    let coded = |value: &str| json!({"coding": [{"system": "urn:answers", "code": value}]});
    bench
        .store([
            observation("concept", json!({"code": code("1"), "valueCodeableConcept": coded("Yes")})),
            observation("text", json!({"code": code("1"), "valueString": "Éclair $5"})),
            observation("date", json!({"code": code("1"), "valueDateTime": "2014-05"})),
            observation("period", json!({"code": code("1"), "valuePeriod": {"start": "2014-05-03", "end": "2014-05-04"}})),
            resource("Group", "group", json!({"type": "person", "actual": true, "characteristic": [
                {"code": code("g"), "valueCodeableConcept": coded("x"), "exclude": false},
                {"code": code("h"), "valueBoolean": true, "exclude": false}]})),
            resource("DocumentReference", "document", json!({"status": "current", "content": [{"attachment": {"url": "urn:x"}}],
                "relatesTo": [{"code": "replaces", "target": {"reference": "DocumentReference/old"}},
                    {"code": "appends", "target": {"reference": "DocumentReference/other"}}]})),
            resource("MolecularSequence", "sequence", json!({"coordinateSystem": 0,
                "referenceSeq": {"chromosome": {"coding": [{"code": "17"}]}, "referenceSeqId": code("NC"), "windowStart": 10, "windowEnd": 90},
                "variant": [{"start": 20, "end": 25}, {"start": 60, "end": 65}]})),
            resource("ValueSet", "set", json!({"status": "active", "useContext": [
                {"code": {"code": "age"}, "valueRange": {"low": quantity(10.0, "a"), "high": quantity(20.0, "a")}},
                {"code": {"code": "focus"}, "valueCodeableConcept": coded("x")}]})),
        ])
        .await;
    bench
        .check(&[
            ("Observation?code-value-concept=1$urn:answers|yes", "concept"),
            ("Observation?code-value-concept=1$urn:other|yes", ""),
            ("Observation?code-value-concept=1$no", ""),
            ("Observation?code-value-string=1$eclair", "text"),
            (r"Observation?code-value-string=1$Éclair \$5", "text"),
            ("Observation?code-value-string=2$eclair", ""),
            ("Observation?code-value-date=1$2014", "date period"),
            ("Observation?code-value-date=1$ge2014-06", ""),
            ("Observation?code-value-date=1$2014-05-03,1$eb2013", ""),
            ("Observation?code-value-date=1$sa2014-05-02", "period"),
            ("Group?characteristic-value=g$x", "group"),
            ("Group?characteristic-value=h$true", "group"),
            ("Group?characteristic-value=g$true", ""),
            ("DocumentReference?relationship=replaces$old", "document"),
            (
                "DocumentReference?relationship=replaces$DocumentReference/old",
                "document",
            ),
            (
                "DocumentReference?relationship=http://hl7.org/fhir/document-relationship-type|appends$other",
                "document",
            ),
            ("DocumentReference?relationship=appends$old", ""),
            (
                "MolecularSequence?chromosome-variant-coordinate=17$lt30$gt22",
                "sequence",
            ),
            ("MolecularSequence?chromosome-variant-coordinate=17$gt30$lt30", ""),
            (
                "MolecularSequence?referenceseqid-window-coordinate=NC$lt20$gt80",
                "sequence",
            ),
            ("ValueSet?context-type-quantity=age$gt15", "set"),
            ("ValueSet?context-type-quantity=focus$gt15", ""),
            ("ValueSet?context-type-value=focus$x", "set"),
        ])
        .await;
}

#[tokio::test]
async fn composites_that_cannot_be_read_are_refused() {
    let bench = bench().await;
    let refused = |query: &'static str| bench.refusal(query);
    assert_eq!(
        refused("Observation?code-value-quantity=8480-6").await,
        "A value of code-value-quantity has 2 parts with '$' between them."
    );
    assert_eq!(
        refused("MolecularSequence?chromosome-variant-coordinate=1$2").await,
        "A value of chromosome-variant-coordinate has 3 parts with '$' between them."
    );
    assert!(
        refused("Observation?code-value-quantity=8480-6$heavy")
            .await
            .contains("begins with a number")
    );
    assert!(
        refused("Observation?code-value-quantity=$5")
            .await
            .contains("needs a code or a system")
    );
    assert!(
        refused("Observation?code-value-string=1$--")
            .await
            .contains("a letter or a digit")
    );
    assert_eq!(
        refused("Observation?code-value-quantity:missing=true").await,
        "The modifier ':missing' does not apply to code-value-quantity; it takes none."
    );
    assert!(
        refused("Observation?_sort=code-value-quantity")
            .await
            .contains("composite")
    );
    let many = vec!["1$1"; 201].join(",");
    let error = bench
        .page(
            &format!("Observation?code-value-quantity={many}"),
            medconsult::fhir::preferences::Handling::Strict,
        )
        .await
        .unwrap_err();
    assert!(error.issues[0].diagnostics.contains("at most 200 values"));
}

/// How many rows the index holds, by table.
async fn rows(bench: &Bench) -> Vec<(String, i64)> {
    use sqlx::ConnectOptions;
    let mut connection = bench.database.options().connect().await.unwrap();
    let tables = [
        "idx_token",
        "idx_reference",
        "idx_string",
        "idx_date",
        "idx_quantity",
        "idx_uri",
        "idx_composite",
        "contained",
    ];
    let mut rows = Vec::new();
    for table in tables {
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let count = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
        rows.push((table.to_owned(), count));
    }
    rows
}

/// Of deleted resources nothing is left in the index.
pub async fn assert_no_rows(bench: &Bench) {
    let rows = rows(bench).await;
    assert!(rows.iter().all(|(_, count)| *count == 0), "{rows:?}");
}

#[tokio::test]
async fn rows_of_composites_follow_updates_and_deletions() {
    let bench = bench().await;
    bench.store([pressure("a", 180.0, 100.0)]).await;
    let of_one = rows(&bench).await;
    assert_eq!(
        of_one[6],
        ("idx_composite".to_owned(), 4),
        "two components, each in its unit and in UCUM's base unit"
    );
    bench.put(pressure("a", 120.0, 100.0)).await;
    bench
        .check(&[
            ("Observation?component-code-value-quantity=8480-6$180", ""),
            ("Observation?component-code-value-quantity=8480-6$120", "a"),
            ("Observation?component-code-value-quantity=8462-4$100", "a"),
        ])
        .await;
    assert_eq!(rows(&bench).await, of_one);
    bench.delete("Observation", "a").await;
    assert_no_rows(&bench).await;
}

#[tokio::test]
async fn what_unites_other_parameters_is_searched_by_their_rows() {
    let bench = bench().await;
    bench
        .store([
            pressure("high", 180.0, 100.0),
            pressure("low", 100.0, 60.0),
            observation(
                "weight",
                json!({"code": code("29463-7"), "valueQuantity": quantity(100.0, "kg")}),
            ),
            observation("none", json!({})),
        ])
        .await;
    bench
        .check(&[
            ("Observation?combo-code=8480-6", "high low"),
            ("Observation?combo-code=85354-9", "high low"),
            ("Observation?combo-code=29463-7,8480-6", "high low weight"),
            ("Observation?combo-code:not=8480-6", "none weight"),
            ("Observation?combo-code:missing=true", ""),
            ("Observation?combo-value-quantity=100", "high low weight"),
            ("Observation?combo-value-quantity:missing=true", "none"),
            ("Observation?combo-value-quantity=gt90&combo-code=29463-7", "weight"),
            ("Observation?_filter=combo-value-quantity gt 150", "high"),
        ])
        .await;
    let twice = json!({"code": code("1"), "component": [{"code": code("1"), "valueString": "x"}]});
    bench.store([observation("twice", twice)]).await;
    assert_eq!(bench.find("Observation?_sort=-combo-code&_id=twice").await, ["twice"]);
    bench.delete("Observation", "twice").await;
    let sorted = |query: &'static str| bench.find(query);
    // The greatest and the least value of each, wherever it stands.
    assert_eq!(
        sorted("Observation?_sort=-combo-value-quantity,_id").await,
        ["high", "low", "weight", "none"]
    );
    assert_eq!(
        sorted("Observation?_sort=combo-value-quantity,_id").await,
        ["low", "high", "weight", "none"]
    );
}

#[tokio::test]
async fn a_token_is_found_by_the_text_beside_it() {
    let bench = bench().await;
    bench
        .store([
            observation("text", json!({"code": {"text": "Körpergewicht (nüchtern)"}})),
            observation(
                "display",
                json!({"code": {"coding": [{"code": "1", "display": "Body Weight"}]}}),
            ),
            observation("component", json!({"component": [{"code": {"text": "Body height"}}]})),
            patient(
                "p",
                json!({"identifier": [{"type": {"text": "Passport Number"}, "value": "X1"}]}),
            ),
        ])
        .await;
    bench
        .check(&[
            ("Observation?code:text=korpergewicht", "text"),
            ("Observation?code:text=nuchtern", ""),
            ("Observation?code:text=body", "display"),
            ("Observation?combo-code:text=body", "component display"),
            ("Observation?component-code:text=BODY%20H", "component"),
            ("Observation?code:text=body,korper", "display text"),
            ("Observation?code=body", ""),
            ("Patient?identifier:text=passport", "p"),
            ("Patient?identifier:text=X1", ""),
        ])
        .await;
}

#[tokio::test]
async fn an_identifier_is_found_by_its_type_and_value() {
    let bench = bench().await;
    let typed = |system: Option<&str>, code: &str, value: &str| {
        let mut coding = json!({"code": code});
        if let Some(system) = system {
            coding["system"] = json!(system);
        }
        json!({"type": {"coding": [coding]}, "system": "urn:mrn", "value": value})
    };
    bench
        .store([
            patient(
                "a",
                json!({"identifier": [typed(Some("urn:types"), "MR", "1"), typed(Some("urn:types"), "SS", "2")]}),
            ),
            patient("b", json!({"identifier": [typed(None, "MR", "1")]})),
            patient("c", json!({"identifier": [{"system": "urn:types", "value": "1"}]})),
        ])
        .await;
    bench
        .check(&[
            ("Patient?identifier:of-type=urn:types|MR|1", "a"),
            ("Patient?identifier:of-type=urn:types|mr|1", "a"),
            ("Patient?identifier:of-type=|MR|1", "b"),
            ("Patient?identifier:of-type=MR|1", "a b"),
            ("Patient?identifier:of-type=MR|1,urn:types|SS|2", "a b"),
            // Type and value of one Identifier each, but not of the same.
            ("Patient?identifier:of-type=urn:types|MR|2", ""),
            ("Patient?identifier:of-type=MR|11", ""),
            ("Patient?identifier=urn:types|", "c"),
        ])
        .await;
    let refusal = bench.refusal("Patient?identifier:of-type=MR").await;
    assert!(refusal.contains("system|code|value"), "{refusal}");
    let refusal = bench.refusal("Patient?gender:of-type=a|b|c").await;
    assert_eq!(
        refusal,
        "The modifier ':of-type' does not apply to gender; it takes :not, :text, :in, :not-in, :above, :below, :missing."
    );
}
