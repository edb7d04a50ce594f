//! `_explain=true`: which index drives a search, and what each step met.

use medconsult::fhir::preferences::Handling;
use medconsult::fhir::search::Explained;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Executor};

use super::{link, observation, patient};
use crate::bench::{Bench, bench};

impl Bench {
    /// Lets Postgres count what it stores, so that it plans as it would on a server that has run for a while.
    pub async fn analyze(&self) {
        let mut connection = self.database.options().connect().await.unwrap();
        connection.execute("ANALYZE").await.unwrap();
    }

    /// How a search was run.
    pub async fn explain(&self, query: &str) -> Vec<Explained> {
        let separator = if query.contains('?') { '&' } else { '?' };
        let (page, _) = self
            .page(&format!("{query}{separator}_explain=true"), Handling::Strict)
            .await
            .unwrap_or_else(|error| panic!("{query}: {}", error.to_json()));
        page.explained.unwrap()
    }

    /// The index that drives the first statement of a search, with the codes of the search parameters whose rows it
    /// reads: `idx_token_value code`.
    pub async fn driver(&self, query: &str) -> String {
        let explained = self.explain(query).await;
        let step = explained[0].driver().unwrap_or_else(|| panic!("{query} has no plan"));
        let types = self.server.definitions.resource_types();
        let registry = self.server.search.current();
        let parameters = types.flat_map(|ty| registry.parameters(&ty.name));
        let codes = parameters
            .filter(|parameter| step.params.contains(&parameter.id))
            .map(|parameter| parameter.definition.code.as_str());
        let index = step.index.as_deref().unwrap_or("no index");
        std::iter::once(index).chain(codes).collect::<Vec<_>>().join(" ")
    }
}

/// A thousand observations of a hundred patients; one in a hundred is preliminary.
async fn ward() -> Bench {
    let bench = bench().await;
    bench
        .store((0..100).map(|n| patient(&format!("p{n}"), json!({"name": [{"family": format!("Family{n}")}]}))))
        .await;
    bench
        .store((0..1_000).map(|n| {
            observation(
                &format!("o{n}"),
                json!({"status": if n % 100 == 7 { "preliminary" } else { "final" },
                    "subject": {"reference": format!("Patient/p{}", n % 100)},
                    "effectiveDateTime": format!("2026-01-{:02}T{:02}:00:00Z", n % 28 + 1, n % 24)}),
            )
        }))
        .await;
    bench.analyze().await;
    bench
}

#[tokio::test]
async fn the_rarer_criterion_drives() {
    let bench = ward().await;
    for (query, driver) in [
        ("Observation?status=preliminary", "idx_token_value status"),
        ("Observation?subject=Patient/p7", "idx_reference_target subject"),
        (
            "Observation?status=final&subject=Patient/p7",
            "idx_reference_target subject",
        ),
        ("Patient?family=family42", "idx_string_value family"),
        ("Observation?_sort=-date&_count=5", "idx_date_value date"),
    ] {
        assert_eq!(bench.driver(query).await, driver, "{query}");
    }
}

#[tokio::test]
async fn rows_are_counted_and_no_value_is_told() {
    let bench = ward().await;
    let statements = bench
        .explain("Observation?subject=Patient/p7&_include=Observation:subject")
        .await;
    let purposes: Vec<&str> = statements.iter().map(|statement| statement.purpose).collect();
    assert_eq!(purposes, ["matches", "included"]);
    let driver = statements[0].driver().unwrap();
    assert_eq!((driver.rows, driver.runs), (10, 1));
    // Ten index rows and ten resources, and nothing else.
    assert_eq!(statements[0].rows_touched(), 20);

    let (_, bundle) = bench
        .page("Patient?family=family42&_explain=true", Handling::Strict)
        .await
        .unwrap();
    let entry = bundle["entry"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&entry["search"]["mode"], &entry["resource"]["resourceType"]),
        (&json!("outcome"), &json!("Parameters"))
    );
    let explanation = entry["resource"].to_string();
    assert!(
        explanation.contains("idx_string_value") && explanation.contains("Patient.family"),
        "{explanation}"
    );
    assert!(!explanation.to_lowercase().contains("family42"), "{explanation}");
    let part = |name: &str| -> Value {
        let parts = entry["resource"]["parameter"][0]["part"].as_array().unwrap();
        parts.iter().find(|part| part["name"] == name).unwrap().clone()
    };
    assert_eq!(part("purpose")["valueString"], "matches");
    assert!(
        part("drivenBy")["valueString"]
            .as_str()
            .unwrap()
            .contains("(Patient.family)")
    );
    assert_eq!(part("rowsTouched")["valueDecimal"], 2);
}

#[tokio::test]
async fn the_rest_of_the_answer_is_the_same() {
    let bench = ward().await;
    let query = "Observation?status=preliminary&_count=3&_total=accurate";
    let plain = bench.bundle(query).await;
    let explained = bench.bundle(&format!("{query}&_explain=true")).await;
    assert_eq!(plain["total"], explained["total"]);
    let entries = explained["entry"].as_array().unwrap();
    assert_eq!(entries.len(), 4);
    assert_eq!(plain["entry"].as_array().unwrap()[..], entries[..3]);
    // The next page is explained as well, and a link serves with and without.
    let next = link(&explained, "next").unwrap();
    let unexplained = next.replace("&_explain=true", "");
    assert_ne!(next, unexplained);
    bench
        .bundle(unexplained.strip_prefix("http://localhost/fhir/").unwrap())
        .await;

    let nothing = bench.bundle("Observation?subject=Patient/never&_explain=true").await;
    let note = &nothing["entry"][0]["resource"]["parameter"][0];
    assert_eq!((&nothing["total"], &note["name"]), (&json!(0), &json!("note")));
    assert!(
        bench
            .refusal("Observation?_explain=maybe")
            .await
            .contains("true or false")
    );
}
