//! What happens in the practice, and who is told of it: in FHIR over HTTP, and in the inbox of the person.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use medconsult::fhir::caller::Caller;
use medconsult::fhir::commit::{Op, Target, Write, commit};
use medconsult::jobs::{self, NewJob};
use medconsult::mail::bounces;
use serde_json::{Value, json};

use super::server::{MailServer, Received};
use super::{run, run_all, states};
use crate::app::{Ask, TestApp, spawn_app_with};
use crate::auth::guard;

const ADA: &str = "ada@home.example";
const DORA: &str = "dora@clinic.example";
const BASE: &str = "https://medconsult.example/fhir";

/// A practice with a practitioner who works around the clock, Dr. Dora, and two patients: Ada, who has an account, and Ben,
/// who has none.
struct Practice {
    app: TestApp,
    token: String,
    /// Days from now at which the next visit is booked: each on another day.
    day: i64,
}

fn extension(name: &str, parts: Value) -> Value {
    json!({"url": format!("{BASE}/StructureDefinition/{name}"), "extension": parts})
}

fn service(id: &str, approval: &str) -> Value {
    json!({
        "resourceType": "HealthcareService", "id": id, "active": true, "name": id,
        "type": [{"coding": [{"system": "http://example.org/services", "code": id}]}],
        "extension": [extension("booking-policy", json!([
            {"url": "approval", "valueCode": approval}, {"url": "payment", "valueCode": "none"}]))],
    })
}

fn parameters(list: Value) -> Value {
    json!({"resourceType": "Parameters", "parameter": list})
}

fn id(resource: &Value) -> &str {
    resource["id"].as_str().unwrap()
}

fn first(bundle: &Value) -> Value {
    bundle["entry"][0]["resource"].clone()
}

impl Practice {
    async fn open(url: String) -> Practice {
        let app = spawn_app_with(|config| {
            guard(config);
            config.mail.events = true;
            config.mail.server = url.into();
            config.mail.from = "Clinic <no-reply@clinic.example>".to_owned();
        })
        .await;
        let every_day: Vec<Value> = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
            .iter()
            .map(|day| json!({"url": "daysOfWeek", "valueCode": day}))
            .chain([
                json!({"url": "start", "valueTime": "00:00:00"}),
                json!({"url": "end", "valueTime": "00:00:00"}),
            ])
            .collect();
        let hours = json!([{"url": "timezone", "valueCode": "UTC"}, {"url": "availability", "extension": every_day}]);
        app.register_backend("practice", "system/*.cruds").await;
        let token = app.token("practice", "system/*.cruds").await;
        let practice = Practice { app, token, day: 1 };
        practice
            .store(vec![
                json!({"resourceType": "Patient", "id": "ada", "name": [{"family": "Lovelace"}]}),
                json!({"resourceType": "Patient", "id": "ben", "name": [{"family": "Babbage"}]}),
                json!({"resourceType": "Practitioner", "id": "dora", "name": [{"family": "Doctorova"}]}),
                service("manual", "manual"),
                service("auto", "auto"),
                json!({"resourceType": "Schedule", "id": "dora", "active": true,
                    "actor": [{"reference": "Practitioner/dora"}, {"reference": "HealthcareService/manual"},
                              {"reference": "HealthcareService/auto"}],
                    "extension": [extension("scheduling-parameters", hours)]}),
                json!({"resourceType": "Invoice", "id": "i1", "status": "balanced", "subject": {"reference": "Patient/ada"}}),
            ])
            .await;
        practice.account(ADA, "Patient/ada", "patient").await;
        practice.account(DORA, "Practitioner/dora", "practitioner").await;
        practice
    }

    async fn account(&self, email: &str, profile: &str, role: &str) {
        sqlx::query(
            "INSERT INTO account (id, email, role, password, given, family, person, profile, created_at)
             VALUES ($1, $1, $3, '-', '-', '-', $1, $2, now())",
        )
        .bind(email)
        .bind(profile)
        .bind(role)
        .execute(&self.app.app.database.write)
        .await
        .unwrap();
    }

    /// Stores resources under their ids in one transaction, as the practice.
    async fn store(&self, resources: Vec<Value>) {
        let ops = resources.into_iter().map(|resource| Op {
            write: Write::Update {
                target: Target::Instance {
                    resource_type: resource["resourceType"].as_str().unwrap().to_owned(),
                    id: id(&resource).to_owned(),
                },
                resource,
                if_match: None,
                if_none_match_any: false,
            },
            full_url: None,
        });
        commit(&self.app.app.fhir, &Caller::server(), ops.collect())
            .await
            .unwrap();
    }

    async fn get(&self, path: &str) -> Value {
        let request = self.app.get(path).bearer_auth(&self.token);
        request.answer().await.expect(200).json()
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.app.post(path).bearer_auth(&self.token).fhir(body);
        let answer = request.answer().await;
        assert!(answer.status.is_success(), "{}", answer.text());
        answer.json()
    }

    /// A time that can be booked, on a day of its own.
    async fn proposal(&mut self, service: &str) -> String {
        let day = self.app.app.clock.now() + SignedDuration::from_hours(24 * self.day);
        self.day += 1;
        let start = day.strftime("%Y-%m-%dT%H:%M:%SZ");
        let found = self
            .get(&format!(
                "Appointment/$find?service=HealthcareService/{service}&start={start}&_count=1"
            ))
            .await;
        format!("Appointment/{}", id(&first(&found)))
    }

    async fn book(&mut self, service: &str, patient: &str) -> Value {
        let proposal = self.proposal(service).await;
        let book = parameters(json!([
            {"name": "appointment-reference", "valueReference": {"reference": proposal}},
            {"name": "patient-reference", "valueReference": {"reference": patient}}]));
        first(&self.post("Appointment/$book", &book).await)
    }

    async fn answer(&self, visit: &Value, answer: &str) {
        let response = json!({
            "resourceType": "AppointmentResponse", "appointment": {"reference": format!("Appointment/{}", id(visit))},
            "actor": {"reference": "Practitioner/dora"}, "participantStatus": answer,
        });
        self.post("AppointmentResponse", &response).await;
    }

    async fn cancel(&self, visit: &Value) {
        let path = format!("Appointment/{}/$cancel", id(visit));
        self.post(&path, &parameters(json!([]))).await;
    }

    fn task(&self, id: &str, code: &str, status: &str, visit: &Value) -> Value {
        let (requester, owner) = match code {
            "reschedule-request" => ("Patient/ada", "Practitioner/dora"),
            _ => ("Practitioner/dora", "Patient/ada"),
        };
        json!({
            "resourceType": "Task", "id": id, "status": status, "intent": "order", "for": {"reference": "Patient/ada"},
            "code": {"coding": [{"system": format!("{BASE}/CodeSystem/task-code"), "code": code}]},
            "focus": {"reference": format!("Appointment/{}", visit["id"].as_str().unwrap())},
            "requester": {"reference": requester}, "owner": {"reference": owner},
            "authoredOn": self.app.app.clock.now().to_string(),
            "input": [{"type": {"coding": [{"system": format!("{BASE}/CodeSystem/task-parameter"), "code": "proposed-start"}]},
                       "valueInstant": "2030-01-01T10:00:00Z"}],
        })
    }

    fn reconciliation(&self, id: &str, outcome: &str, kind: &str) -> Value {
        let coding = json!({"system": "http://terminology.hl7.org/CodeSystem/payment-type", "code": kind});
        json!({
            "resourceType": "PaymentReconciliation", "id": id, "status": "active", "outcome": outcome,
            "created": self.app.app.clock.now().to_string(), "paymentDate": "2026-11-30",
            "paymentAmount": {"value": 60, "currency": "EUR"},
            "detail": [{"type": {"coding": [coding]}, "request": {"reference": "Invoice/i1"}}],
        })
    }

    fn notice(&self, id: &str) -> Value {
        json!({
            "resourceType": "PaymentNotice", "id": id, "status": "active", "created": self.app.app.clock.now().to_string(),
            "request": {"reference": "Invoice/i1"}, "payment": {"display": "x"}, "recipient": {"display": "x"},
            "amount": {"value": 60, "currency": "EUR"},
            "paymentStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/paymentstatus", "code": "paid"}]},
        })
    }

    fn document(&self, id: &str, patient: &str, author: &str, visit: Option<&Value>) -> Value {
        let mut document = json!({
            "resourceType": "DocumentReference", "id": id, "status": "current", "subject": {"reference": patient},
            "author": [{"reference": author}], "date": self.app.app.clock.now().to_string(),
            "description": "Blood count", "content": [{"attachment": {"contentType": "text/plain", "title": "Anaemia"}}],
        });
        if let Some(visit) = visit {
            let reference = format!("Appointment/{}", visit["id"].as_str().unwrap());
            document["context"] = json!({"related": [{"reference": reference}]});
        }
        document
    }

    /// Communications about an event, by recipient: status, and why not.
    async fn outcomes(&self, event: &str) -> BTreeMap<String, (String, Option<String>)> {
        let found = self.get("Communication?_count=100&medium=EMAILWRIT").await;
        let communications = found["entry"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| &entry["resource"]);
        let about = communications.filter(|found| found["reasonCode"][0]["coding"][0]["code"] == event);
        about
            .map(|found| {
                let reason = found["statusReason"]["coding"][0]["code"].as_str().map(str::to_owned);
                let recipient = found["recipient"][0]["reference"].as_str().unwrap().to_owned();
                (recipient, (found["status"].as_str().unwrap().to_owned(), reason))
            })
            .collect()
    }
}

fn told(mails: &[Received]) -> Vec<(&str, &str)> {
    let mut told: Vec<(&str, &str)> = mails.iter().map(|mail| (mail.to.as_str(), mail.subject())).collect();
    told.sort_unstable();
    told
}

#[tokio::test]
async fn every_event_leads_to_its_mail() {
    let Some(mut server) = MailServer::start(&json!({})).await else {
        return;
    };
    let mut practice = Practice::open(server.url()).await;
    let mut all = Vec::new();
    let mut expect = async |practice: &Practice, expected: &[(&str, &str)]| {
        run(&practice.app).await;
        let mails = server.take(expected.len()).await;
        assert_eq!(told(&mails), expected);
        all.extend(mails);
    };

    let visit = practice.book("manual", "Patient/ada").await;
    expect(
        &practice,
        &[(ADA, "Your request has arrived"), (DORA, "A visit is asked for")],
    )
    .await;
    practice.answer(&visit, "accepted").await;
    expect(&practice, &[(ADA, "A visit is agreed on")]).await;
    let later = practice.proposal("manual").await;
    let reschedule = parameters(json!([{"name": "appointment-reference", "valueReference": {"reference": later}}]));
    let path = format!("Appointment/{}/$reschedule", id(&visit));
    practice.post(&path, &reschedule).await;
    expect(&practice, &[(ADA, "A visit was moved"), (DORA, "A visit was moved")]).await;

    practice
        .store(vec![practice.task("t1", "reschedule-request", "requested", &visit)])
        .await;
    expect(&practice, &[(DORA, "Another time is asked for")]).await;
    practice
        .store(vec![practice.task("t1", "reschedule-request", "rejected", &visit)])
        .await;
    expect(&practice, &[(ADA, "Your visit stays at its time")]).await;
    practice
        .store(vec![practice.task("t2", "reschedule-offer", "requested", &visit)])
        .await;
    expect(&practice, &[(ADA, "The practice asks you to choose another time")]).await;

    practice.store(vec![practice.notice("n1")]).await;
    expect(&practice, &[(ADA, "Your payment has arrived")]).await;
    practice
        .store(vec![practice.reconciliation("r1", "error", "payment")])
        .await;
    expect(&practice, &[(ADA, "Your payment failed")]).await;
    practice
        .store(vec![practice.reconciliation("r2", "complete", "adjustment")])
        .await;
    expect(&practice, &[(ADA, "Money is paid back to you")]).await;

    practice
        .store(vec![practice.document("d1", "Patient/ada", "Practitioner/dora", None)])
        .await;
    expect(&practice, &[(ADA, "There is a new document")]).await;
    // What a patient brings goes to who sees them next.
    practice
        .store(vec![practice.document(
            "d2",
            "Patient/ada",
            "Patient/ada",
            Some(&visit),
        )])
        .await;
    expect(&practice, &[(DORA, "There is a new document")]).await;
    practice
        .store(vec![practice.document("d3", "Patient/ada", "Patient/ada", None)])
        .await;
    expect(&practice, &[(DORA, "There is a new document")]).await;

    practice.cancel(&visit).await;
    expect(
        &practice,
        &[(ADA, "A visit was cancelled"), (DORA, "A visit was cancelled")],
    )
    .await;
    let other = practice.book("manual", "Patient/ada").await;
    expect(
        &practice,
        &[(ADA, "Your request has arrived"), (DORA, "A visit is asked for")],
    )
    .await;
    practice.answer(&other, "declined").await;
    expect(&practice, &[(ADA, "Your visit was declined")]).await;
    practice.book("auto", "Patient/ada").await;
    expect(
        &practice,
        &[(ADA, "A visit is agreed on"), (DORA, "A visit is agreed on")],
    )
    .await;

    // None of them tells what, with whom, or who: only where to look.
    for mail in &all {
        let text = mail.raw.replace("=\r\n", "");
        for telling in [
            "Lovelace",
            "Doctorova",
            "Blood",
            "Anaemia",
            "Appointment/",
            "DocumentReference",
            "/ada",
        ] {
            assert!(
                !mail.text().contains(telling) && !mail.subject().contains(telling),
                "{telling} in {text}"
            );
        }
        assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
        let settings = format!("<{}/auth/account/details>", practice.app.address);
        assert_eq!(mail.header("List-Unsubscribe"), settings);
        let side = if mail.to == ADA { "patient" } else { "practitioner" };
        let opens = format!("{}/apps/{side}/open/", practice.app.address);
        let request = mail
            .link()
            .strip_prefix(&opens)
            .expect("a link into the app")
            .to_owned();
        let request = practice.get(&format!("CommunicationRequest/{request}")).await;
        assert_eq!(request["status"], "completed");
        let about = request["about"][0]["reference"].as_str().unwrap();
        practice.get(about).await;
    }
    let done = ("completed".to_owned(), None);
    let expected = [("Patient/ada", done.clone()), ("Practitioner/dora", done)];
    let expected = expected.map(|(person, outcome)| (person.to_owned(), outcome));
    assert_eq!(
        practice.outcomes("appointment-cancelled").await,
        BTreeMap::from(expected)
    );
    run_all(&practice.app).await;
    assert!(server.kill().await.is_empty());
}

#[tokio::test]
async fn several_changes_that_are_one_event_are_one_mail() {
    let Some(mut server) = MailServer::start(&json!({})).await else {
        return;
    };
    let practice = Practice::open(server.url()).await;
    let document = |id: &str| practice.document(id, "Patient/ada", "Practitioner/dora", None);
    practice.store(vec![document("d1"), document("d2")]).await;
    run(&practice.app).await;
    assert_eq!(server.take(2).await.len(), 2);
    // As the prescriptions of one sheet are, which are signed together.
    let jobs = ["d1", "d2"].map(|id| {
        let told = json!({"event": "document-added", "about": format!("DocumentReference/{id}"), "version": 1,
                          "whom": ["patient"], "once": "R-1"});
        NewJob::new("messaging.tell", told)
    });
    let mut connection = practice.app.app.database.write.acquire().await.unwrap();
    let now = practice.app.app.clock.now();
    jobs::enqueue(&mut connection, now, &jobs).await.unwrap();
    drop(connection);
    run(&practice.app).await;
    assert_eq!(server.next().await.subject(), "There is a new document");
    assert_eq!(states(&practice.app).await.len(), 3);
    assert!(server.kill().await.is_empty());
}

#[tokio::test]
async fn mails_follow_what_their_readers_have_chosen() {
    let Some(mut server) = MailServer::start(&json!({})).await else {
        return;
    };
    let practice = Practice::open(server.url()).await;
    let preference = extension(
        "notification-preference",
        json!([
            {"url": "event", "valueCode": "payment-succeeded"}, {"url": "channel", "valueCode": "email"},
            {"url": "enabled", "valueBoolean": false}]),
    );
    let zone = json!({"url": format!("{BASE}/StructureDefinition/time-zone"), "valueCode": "Asia/Tokyo"});
    practice
        .store(vec![json!({
            "resourceType": "Patient", "id": "ada", "extension": [preference, zone],
            "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "de-CH"}]}, "preferred": true}],
        })])
        .await;
    practice.store(vec![practice.notice("n1")]).await;
    practice
        .store(vec![practice.document("d1", "Patient/ada", "Practitioner/dora", None)])
        .await;
    practice
        .store(vec![practice.document("d2", "Patient/ben", "Practitioner/dora", None)])
        .await;
    // A history that is carried over is no news.
    let mut old = practice.document("d3", "Patient/ada", "Practitioner/dora", None);
    old["date"] = json!("2020-02-29T10:00:00Z");
    practice.store(vec![old]).await;
    run(&practice.app).await;

    let mail = server.next().await;
    assert_eq!((mail.to.as_str(), mail.subject()), (ADA, "Es gibt ein neues Dokument"));
    assert!(
        mail.text().contains("(Asia/Tokyo) wurde ein Dokument hinzugefügt"),
        "{}",
        mail.text()
    );
    assert!(mail.raw.contains("<html lang=3D\"de\">"), "{}", mail.raw);
    let outcome = |status: &str, reason: Option<&str>| {
        BTreeMap::from([("Patient/ada".to_owned(), (status.to_owned(), reason.map(str::to_owned)))])
    };
    // Who has no account is not written to, and nothing says that they were.
    assert_eq!(practice.outcomes("document-added").await, outcome("completed", None));
    assert_eq!(
        practice.outcomes("payment-succeeded").await,
        outcome("not-done", Some("opted-out"))
    );
    let asked = practice.get("CommunicationRequest?_total=accurate").await;
    assert_eq!(asked["total"], 2);

    // An account that is closed meanwhile gets nothing any more.
    practice
        .store(vec![practice.document("d4", "Patient/ada", "Practitioner/dora", None)])
        .await;
    let job = "messaging.tell";
    let tell: i64 = sqlx::query_scalar("SELECT count(*) FROM job WHERE kind = $1")
        .bind(job)
        .fetch_one(&practice.app.app.database.write)
        .await
        .unwrap();
    assert_eq!(tell, 1);
    sqlx::query("UPDATE account SET active = false, closed_at = now(), closed_by = 'owner' WHERE email = $1")
        .bind(ADA)
        .execute(&practice.app.app.database.write)
        .await
        .unwrap();
    run(&practice.app).await;
    assert!(server.kill().await.is_empty());
}

#[tokio::test]
async fn what_was_overtaken_while_the_server_was_away_is_not_sent() {
    let Some(server) = MailServer::start(&json!({})).await else {
        return;
    };
    let (url, port) = (server.url(), server.port);
    server.kill().await;
    let mut practice = Practice::open(url).await;
    let visit = practice.book("auto", "Patient/ada").await;
    run(&practice.app).await;
    practice.cancel(&visit).await;
    run(&practice.app).await;
    let waiting = states(&practice.app).await;
    assert!(
        waiting.len() == 4 && waiting.iter().all(|(state, _)| state == "queued"),
        "{waiting:?}"
    );

    let mut back = MailServer::start(&json!({"port": port})).await.unwrap();
    run_all(&practice.app).await;
    let mails = back.take(2).await;
    assert_eq!(
        told(&mails),
        [(ADA, "A visit was cancelled"), (DORA, "A visit was cancelled")]
    );
    let outcome = |status: &str, reason: Option<&str>| {
        let outcome = (status.to_owned(), reason.map(str::to_owned));
        BTreeMap::from(["Patient/ada", "Practitioner/dora"].map(|person| (person.to_owned(), outcome.clone())))
    };
    assert_eq!(
        practice.outcomes("appointment-approved").await,
        outcome("not-done", Some("overtaken"))
    );
    assert_eq!(
        practice.outcomes("appointment-cancelled").await,
        outcome("completed", None)
    );
    assert!(back.kill().await.is_empty());
}

#[tokio::test]
async fn a_mail_that_comes_back_is_noted_and_no_event_is_told_twice() {
    let Some(mut server) = MailServer::start(&json!({})).await else {
        return;
    };
    let practice = Practice::open(server.url()).await;
    practice.store(vec![practice.notice("n1")]).await;
    run(&practice.app).await;
    let mail = server.next().await;
    let message_id = mail.header("Message-ID");
    let notification = format!(
        "From: MAILER-DAEMON@mx.example\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n\
         Final-Recipient: rfc822; {ADA}\r\nAction: failed\r\nStatus: 5.2.2\r\n\r\n\
         --b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {message_id}\r\n\r\n--b--\r\n"
    );
    let bounce = bounces::read(notification.as_bytes()).expect("a bounce");
    let auth = practice.app.app.auth.as_ref().unwrap();
    let sent = practice.outcomes("payment-succeeded").await;
    assert_eq!(sent["Patient/ada"].0, "completed");
    assert!(
        auth.outbox
            .bounced(&auth.pool, &bounce.message_id, &bounce.status)
            .await
            .unwrap()
    );
    assert!(
        !auth
            .outbox
            .bounced(&auth.pool, &bounce.message_id, &bounce.status)
            .await
            .unwrap()
    );
    assert!(!auth.outbox.bounced(&auth.pool, "guessed", "5.1.1").await.unwrap());
    run(&practice.app).await;
    let bounced = practice.outcomes("payment-succeeded").await;
    assert_eq!(
        bounced["Patient/ada"],
        ("not-done".to_owned(), Some("bounced".to_owned()))
    );

    // The same event again, as after a crash between the job and its mark.
    let again = json!({"event": "payment-succeeded", "about": "PaymentNotice/n1", "version": 1, "whom": ["patient"], "once": null});
    let mut connection = practice.app.app.database.write.acquire().await.unwrap();
    jobs::enqueue(
        &mut connection,
        practice.app.app.clock.now(),
        &[NewJob::new("messaging.tell", again)],
    )
    .await
    .unwrap();
    drop(connection);
    run(&practice.app).await;
    assert_eq!(states(&practice.app).await.len(), 1);
    assert!(server.kill().await.is_empty());
}
