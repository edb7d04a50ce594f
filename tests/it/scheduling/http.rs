//! The same from outside, as an application meets it.

use serde_json::{Value, json};

use super::{code, id, label, matches, schedule, service, weekly};
use crate::app::{Ask, TestApp, spawn_app};

async fn practice(app: &TestApp) {
    let always =
        json!([{"url": "timezone", "valueCode": "Asia/Tokyo"}, weekly(&super::EVERY_DAY, "00:00:00", "00:00:00")]);
    for resource in [
        json!({"resourceType": "Patient", "id": "ada", "name": [{"family": "Lovelace"}]}),
        json!({"resourceType": "Practitioner", "id": "dora"}),
        service("quick", &[("approval", code("auto")), ("payment", code("none"))]),
        schedule("dora", "dora", &["quick"], always),
    ] {
        let path = format!("{}/{}", resource["resourceType"].as_str().unwrap(), id(&resource));
        app.put(&path).fhir(&resource).answer().await.expect(201);
    }
}

fn parameters(list: Value) -> Value {
    json!({"resourceType": "Parameters", "parameter": list})
}

#[tokio::test]
async fn an_application_finds_books_and_follows_a_calendar() {
    let app = spawn_app().await;
    practice(&app).await;
    let found = app
        .get("Appointment/$find?practitioner=Practitioner/dora&_count=2&time-zone=Europe/Paris")
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!((&found["type"], &found["total"]), (&json!("searchset"), &json!(2)));
    let proposal = matches(&found).remove(0);
    let url = found["entry"][0]["fullUrl"].as_str().unwrap();
    assert_eq!(url, format!("{}/Appointment/{}", app.base, id(&proposal)));
    let book = parameters(json!([
        {"name": "appointment-reference", "valueReference": {"reference": url}},
        {"name": "patient-reference", "valueReference": {"reference": "Patient/ada"}}]));
    let booked = app
        .post("Appointment/$book")
        .fhir(&book)
        .answer()
        .await
        .expect(200)
        .json();
    let visit = matches(&booked).remove(0);
    assert_eq!(label(&visit), "approved");
    // The same as a resource that is the body itself, by somebody who is too late.
    let mut late = proposal.clone();
    late["participant"] = json!([{"actor": {"reference": "Patient/ada"}, "status": "accepted"}]);
    let refused = app
        .post("Appointment/$hold")
        .fhir(&late)
        .answer()
        .await
        .expect(409)
        .json();
    assert_eq!(
        (&refused["resourceType"], &refused["issue"][0]["code"]),
        (&json!("OperationOutcome"), &json!("conflict"))
    );
    // Every state is a plain search of R4, and the tag is another.
    for query in ["status=booked&part-status=accepted", "_tag=approved"] {
        let found = app
            .get(&format!("Appointment?{query}"))
            .answer()
            .await
            .expect(200)
            .json();
        assert_eq!(found["total"], 1, "{query}");
    }

    let file = app
        .get(&format!("Appointment/{}/$calendar", id(&visit)))
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&file["resourceType"], &file["contentType"]),
        (&json!("Binary"), &json!("text/calendar"))
    );
    let feed = app.post("Patient/ada/$calendar-feed").answer().await.expect(200).json();
    let url = feed["parameter"][0]["valueUri"].as_str().unwrap();
    let calendar = app.get(url).answer().await.expect(200);
    assert_eq!(calendar.header("content-type"), "text/calendar; charset=utf-8");
    let text = calendar.text();
    assert!(
        text.contains(&format!("UID:{}@", id(&visit))) && text.contains("STATUS:CONFIRMED"),
        "{text}"
    );
    assert!(!text.contains("Lovelace") && !text.contains("dora"), "{text}");
    let start = visit["start"].as_str().unwrap().replace(['-', ':'], "");
    assert!(text.contains(&format!("DTSTART:{start}")), "{text}");
    app.post("Patient/ada/$calendar-feed").answer().await.expect(200);
    app.get(url).answer().await.expect(404);
    app.get("/calendar/guess.ics").answer().await.expect(404);
}

#[tokio::test]
async fn the_server_says_what_it_can_do() {
    let app = spawn_app().await;
    let statement = app.get("metadata").answer().await.expect(200).json();
    let resources = statement["rest"][0]["resource"].as_array().unwrap();
    let names = |resource_type: &str| -> Vec<&str> {
        let resource = resources
            .iter()
            .find(|resource| resource["type"] == resource_type)
            .unwrap();
        resource["operation"]
            .as_array()
            .unwrap()
            .iter()
            .map(|operation| operation["name"].as_str().unwrap())
            .collect()
    };
    for name in ["find", "hold", "book", "confirm", "cancel", "reschedule", "calendar"] {
        assert!(names("Appointment").contains(&name), "{name}");
    }
    assert!(names("Schedule").contains(&"block"));
    app.get("Appointment/$book").answer().await.expect(405);
}
