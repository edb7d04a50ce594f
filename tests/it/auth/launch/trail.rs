//! What the trail tells of a launch.

use super::*;
use crate::audit::brief;

#[tokio::test]
async fn consents_tokens_and_their_ends_are_recorded() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    let known = app.trail().await.len();
    let page = grace.authorize(&[]).await.expect(200);
    grace.decide(&page, "deny", |_| true).await.expect(303);
    let code = grace.code(&[]).await;
    let given = app.change(&code, &PUBLIC).await.expect(200).json();
    let token = given["access_token"].as_str().unwrap();
    let mut connection = app.connection().await;
    let jti: String = sqlx::query_scalar("SELECT jti FROM access_token")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let fields = [("token", token), ("client_id", "app")];
    app.form("/auth/revoke", &fields).answer().await.expect(200);
    refused(app.change(&code, &PUBLIC).await, 400, "invalid_grant");

    let events = app.trail_since(known).await;
    let told: Vec<_> = events.iter().map(brief).collect();
    assert_eq!(
        told,
        [
            "AuthZ-Consent  [] 4",
            "AuthZ-Consent  [] 0",
            "ITI-71  [] 0",
            "AuthZ-Role  [] 0",
            "ITI-71  [] 4",
        ]
    );
    let client = json!({"identifier": {"system": format!("{}/auth/clients", app.address), "value": "app"}});
    for event in &events[..4] {
        assert_eq!(event["agent"][0]["who"], client, "{event}");
    }
    // Who allowed it, what, and the token by its name.
    let person = events[1]["agent"][2]["who"]["reference"].as_str().unwrap();
    assert!(person.starts_with("Practitioner/"), "{person}");
    assert_eq!(events[0]["agent"][2]["who"]["reference"], person);
    let detail = &events[1]["entity"][0]["detail"][0];
    assert_eq!(
        (&detail["type"], &detail["valueString"]),
        (&json!("scope"), &json!(SCOPE))
    );
    let policy = json!([format!("urn:ietf:params:oauth:jti:{jti}")]);
    assert_eq!(events[2]["agent"][2]["policy"], policy);
    for secret in [code.as_str(), token] {
        assert!(
            events.iter().all(|event| !event.to_string().contains(secret)),
            "no secret is told"
        );
    }
}
