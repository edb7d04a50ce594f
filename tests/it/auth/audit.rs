//! That who is let in, and who is not, is recorded.

use medconsult::fhir::trail::{Event, Kind};
use serde_json::json;

use super::spawn_guarded_app;
use crate::app::Ask;
use crate::audit::brief;

#[tokio::test]
async fn who_is_not_let_in_is_recorded() {
    let app = spawn_guarded_app().await;
    let known = app.trail().await.len();
    app.get("Patient/7").answer().await.expect(401);
    app.get("Patient?name=Miller")
        .bearer_auth("made-up")
        .answer()
        .await
        .expect(401);
    let events = app.trail_since(known).await;
    assert_eq!(
        events.iter().map(brief).collect::<Vec<_>>(),
        ["110126  [] 4", "110126  [] 4"]
    );
    for (event, path) in events.iter().zip(["Patient/7", "Patient"]) {
        assert_eq!(crate::audit::query_of(event, &app.base), path);
        assert_eq!(
            event["agent"][0]["network"],
            json!({"address": "127.0.0.1", "type": "2"})
        );
        assert_eq!(event["outcomeDesc"], "401");
        assert!(!event.to_string().contains("made-up"));
    }
}

#[tokio::test]
async fn a_back_end_is_recorded_by_its_name_and_the_name_of_its_token() {
    let app = spawn_guarded_app().await;
    app.register_backend("lab", "system/*.rs").await;
    let token = app.token("lab", "system/*.rs").await;
    let known = app.trail().await.len();
    app.get("Patient?name=x").bearer_auth(&token).answer().await.expect(200);
    app.post("Patient")
        .bearer_auth(&token)
        .fhir(&json!({"resourceType": "Patient"}))
        .answer()
        .await
        .expect(403);
    let events = app.trail_since(known).await;
    assert_eq!(
        events.iter().map(brief).collect::<Vec<_>>(),
        ["search-type  [] 0", "create Patient [] 4"]
    );
    let mut connection = app.connection().await;
    let jti: String = sqlx::query_scalar("SELECT jti FROM access_token")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    for event in &events {
        let agents = event["agent"].as_array().unwrap();
        assert_eq!(agents.len(), 2, "nobody stands behind it");
        let system = format!("{}/auth/clients", app.address);
        assert_eq!(
            agents[0]["who"],
            json!({"identifier": {"system": system, "value": "lab"}})
        );
        assert_eq!(
            (&agents[0]["requestor"], &agents[1]["requestor"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(agents[0]["policy"], json!([format!("urn:ietf:params:oauth:jti:{jti}")]));
        assert!(!event.to_string().contains(&token), "never the token itself");
    }
}

#[tokio::test]
async fn what_operators_do_is_told_by_their_name() {
    let app = spawn_guarded_app().await;
    let known = app.trail().await.len();
    let registered = Event::new(Kind::Configuration)
        .operator("root, for ada")
        .detail("client", "lab");
    app.app.fhir.trail.note(registered).await.unwrap();
    let events = app.trail_since(known).await;
    assert_eq!(events.iter().map(brief).collect::<Vec<_>>(), ["110129  [] 0"]);
    let agents = events[0]["agent"].as_array().unwrap();
    let name = json!({"identifier": {"system": format!("{}/operators", app.address), "value": "root, for ada"}});
    assert_eq!((&agents[2]["who"], &agents[2]["requestor"]), (&name, &json!(true)));
    assert_eq!((agents.len(), &agents[0]["requestor"]), (3, &json!(false)));
}
