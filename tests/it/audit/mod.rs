//! The trail: that everything leaves a record, that records become AuditEvents in IHE's patterns, and that nobody can change
//! them without being found out.

mod chain;
mod events;
mod patients;
mod provenance;

use medconsult::base::crypto::Vault;
use medconsult::config::Config;
use serde_json::{Value, json};

use crate::app::{Ask, TestApp, clusters_directory, spawn_app_with};

/// A server that keeps a trail, and lets everybody in.
async fn spawn_audited_app() -> TestApp {
    spawn_app_with(audited).await
}

fn audited(config: &mut Config) {
    config.audit.without_auth = true;
    config.data_dir = clusters_directory().join(format!("{}-{}", std::process::id(), config.listen.port()));
    config.identity.master_key = Vault::new_key().into();
}

impl TestApp {
    /// The AuditEvents of all that was done so far, oldest first.
    pub async fn trail(&self) -> Vec<Value> {
        self.app.audit.settle().await.unwrap();
        let mut connection = self.connection().await;
        let texts: Vec<String> = sqlx::query_scalar(
            "SELECT r.content::text FROM audit_chain c JOIN resource r ON r.rid = c.rid ORDER BY c.seq",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let events: Vec<Value> = texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        for event in &events {
            let findings = self.app.fhir.validator.validate(event);
            assert!(findings.is_empty(), "{findings:?} in {event}");
        }
        events
    }

    /// Those that have come since the trail had `known` of them.
    pub async fn trail_since(&self, known: usize) -> Vec<Value> {
        self.trail().await.split_off(known)
    }

    async fn put_patient(&self, id: &str) {
        self.put(&format!("Patient/{id}"))
            .fhir(&json!({"resourceType": "Patient", "id": id}))
            .answer()
            .await
            .expect(201);
    }

    async fn put_observation(&self, id: &str, patient: &str) {
        self.put(&format!("Observation/{id}"))
            .fhir(&observation(id, patient))
            .answer()
            .await;
    }
}

fn observation(id: &str, patient: &str) -> Value {
    json!({
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"text": "weight"},
        "subject": {"reference": format!("Patient/{patient}")}
    })
}

/// What was done, to what, for whom, and how it ended: `create Patient/1/_history/1 [1] 0`.
pub fn brief(event: &Value) -> String {
    let entities = event["entity"].as_array().map_or(&[][..], Vec::as_slice);
    let what = |kind: &str, role: &str| {
        entities
            .iter()
            .filter(|entity| entity["type"]["code"] == kind && entity["role"]["code"] == role)
            .map(|entity| &entity["what"])
            .filter_map(|what| what["reference"].as_str().or(what["display"].as_str()))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let patient = what("1", "1");
    format!(
        "{} {} [{}] {}",
        event["subtype"][0]["code"].as_str().unwrap(),
        what("2", "4"),
        patient.trim_start_matches("Patient/"),
        event["outcome"].as_str().unwrap()
    )
}

fn briefs(events: &[Value]) -> Vec<String> {
    events.iter().map(brief).collect()
}

/// The request that an AuditEvent holds, below the base.
pub fn query_of(event: &Value, base: &str) -> String {
    use base64::Engine;
    let entities = event["entity"].as_array().unwrap();
    let query = entities
        .iter()
        .find_map(|entity| entity["query"].as_str())
        .expect("a query");
    let bytes = base64::engine::general_purpose::STANDARD.decode(query).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    text.strip_prefix(&format!("{base}/")).unwrap_or(&text).to_owned()
}
