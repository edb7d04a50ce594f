//! What the server says about itself before anybody is let in.

use serde_json::{Value, json};

use super::spawn_guarded_app;
use crate::app::Ask;

#[tokio::test]
async fn discovery_lists_what_is_there() {
    let app = spawn_guarded_app().await;
    let answer = app.get(".well-known/smart-configuration").answer().await.expect(200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let configuration = answer.json();
    let statement = app.get("metadata").answer().await.expect(200).json();
    let security = &statement["rest"][0]["security"];
    assert_eq!(security["service"][0]["coding"][0]["code"], "SMART-on-FHIR");
    for (name, member) in [
        ("token", "token_endpoint"),
        ("authorize", "authorization_endpoint"),
        ("introspect", "introspection_endpoint"),
        ("revoke", "revocation_endpoint"),
        ("manage", "management_endpoint"),
    ] {
        let url = configuration[member].as_str().unwrap();
        let uris = security["extension"][0]["extension"].as_array().unwrap();
        assert!(uris.contains(&json!({"url": name, "valueUri": url})), "{name}");
        // It is there: without what it wants, it says so.
        let status = app.post(url).answer().await.status.as_u16();
        let expected = match name {
            "authorize" => 400,
            "manage" => 405,
            _ => 415,
        };
        assert_eq!(status, expected, "{name}");
    }
    for scope in configuration["scopes_supported"].as_array().unwrap() {
        let scopes = medconsult::auth::scopes::Scopes::parse(scope.as_str().unwrap()).unwrap();
        assert_eq!(scopes.to_string(), *scope);
        scopes.check_filters(&app.app.fhir).unwrap();
    }
}

#[tokio::test]
async fn whole_sets_of_capabilities_are_there() {
    let app = spawn_guarded_app().await;
    let configuration = app
        .get(".well-known/smart-configuration")
        .header("accept", "text/html")
        .answer()
        .await
        .expect(200)
        .json();
    let capabilities: Vec<&str> = configuration["capabilities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|capability| capability.as_str().unwrap())
        .collect();
    // Those of a patient's application, and of a clinician's that is opened from within, as certification wants them.
    for wanted in [
        "launch-standalone launch-ehr authorize-post",
        "client-public client-confidential-symmetric client-confidential-asymmetric",
        "sso-openid-connect context-banner context-style",
        "context-standalone-patient context-standalone-encounter context-ehr-patient context-ehr-encounter",
        "permission-offline permission-online permission-patient permission-user permission-v1 permission-v2",
    ]
    .join(" ")
    .split(' ')
    {
        assert!(capabilities.contains(&wanted), "{wanted}");
    }
    assert_eq!(configuration["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(
        configuration["grant_types_supported"],
        json!(["authorization_code", "refresh_token", "client_credentials"])
    );
    let scopes = configuration["scopes_supported"].as_array().unwrap();
    for scope in [
        "launch/patient",
        "patient/*.rs",
        "patient/Condition.cruds",
        "user/Practitioner.cruds",
        "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory",
    ] {
        assert!(scopes.contains(&json!(scope)), "{scope}");
    }
    let openid = app.get("/.well-known/openid-configuration").answer().await.expect(200);
    assert_eq!(openid.header("content-type"), "application/json");
    let openid = openid.json();
    assert_eq!(
        (&openid["issuer"], &configuration["issuer"]),
        (&json!(app.address), &json!(app.address))
    );
    for member in ["jwks_uri", "authorization_endpoint", "token_endpoint"] {
        assert_eq!(openid[member], configuration[member]);
        assert!(openid[member].as_str().unwrap().starts_with(&app.address));
    }
    assert_eq!(openid["id_token_signing_alg_values_supported"], json!(["RS256"]));
    let keys = app
        .get(openid["jwks_uri"].as_str().unwrap())
        .answer()
        .await
        .expect(200)
        .json();
    let is_rsa = |key: &Value| key["kty"] == "RSA" && key["use"] == "sig" && key.get("d").is_none();
    assert!(keys["keys"].as_array().unwrap().iter().all(is_rsa));
}
