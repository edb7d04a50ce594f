//! Visits as people meet them: over HTTP, each with a token of their own.

use jiff::{SignedDuration, Timestamp};
use medconsult::auth::accounts::{Account, NewAccount, Role};
use medconsult::auth::clients::{self, NewClient, NewProof};
use medconsult::auth::factors::Shown;
use medconsult::auth::launches::Context;
use medconsult::auth::scopes::Scopes;
use medconsult::auth::sessions::{NewSession, Session};
use medconsult::auth::tokens::{self, GrantedBy, NewGrant};
use medconsult::fhir::caller::Caller;
use medconsult::fhir::commit::{Op, commit};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{EVERY_DAY, code, id, label, matches, put, schedule, service, weekly};
use crate::app::{Answer, Ask, TestApp};
use crate::auth::spawn_guarded_app;

const SCOPE: &str = "user/*.cruds";

/// Somebody who has let an application in.
struct Person {
    token: String,
    /// `Patient/…`, `Practitioner/…`
    profile: String,
}

impl Person {
    async fn new(app: &TestApp, role: Role, given: &str) -> Person {
        let auth = app.app.auth.as_deref().unwrap();
        let new = NewAccount {
            email: format!("{given}@clinic.example"),
            role,
            given: given.to_owned(),
            family: "Doe".to_owned(),
            password: "nobody signs in".to_owned(),
        };
        let account = Account::create(auth, new).await.unwrap();
        let shown = Shown::password();
        let now = auth.clock.now();
        let session = NewSession {
            account: &account.id,
            password: None,
            shown: &shown,
            complete: true,
            device: "a test",
        };
        let secret = Session::begin(&auth.pool, &auth.ids, now, &session)
            .await
            .unwrap()
            .unwrap();
        let session = Session::find(&auth.pool, now, &secret).await.unwrap().unwrap();
        let scopes = Scopes::parse(SCOPE).unwrap();
        let mut connection = app.connection().await;
        let grant = NewGrant {
            client: "app",
            scopes: &scopes,
            context: &Context::default(),
            person: Some(GrantedBy {
                account: &account.id,
                session: &session.id,
                proof: session.proof(),
                methods: &session.methods,
            }),
        };
        let grant = grant.store(&mut connection, &auth.ids, now).await.unwrap();
        let issued = tokens::issue(&mut connection, &auth.ids, now, &grant, &scopes, &scopes).await;
        Person {
            token: issued.unwrap().access_token,
            profile: account.profile,
        }
    }

    async fn does(&self, request: RequestBuilder) -> Answer {
        request.bearer_auth(&self.token).answer().await
    }

    async fn calls(&self, app: &TestApp, address: &str, parameters: Value) -> Answer {
        let body = json!({"resourceType": "Parameters", "parameter": parameters});
        self.does(app.post(address).fhir(&body)).await
    }

    /// Finds the first time from then on.
    async fn finds(&self, app: &TestApp, from: Timestamp) -> String {
        let address = format!("Appointment/$find?service=HealthcareService/visit&start={from}&_count=1");
        let found = self.does(app.get(&address)).await.expect(200).json();
        format!("Appointment/{}", id(&matches(&found)[0]))
    }
}

fn proposal(reference: &str) -> Value {
    json!([{"name": "appointment-reference", "valueReference": {"reference": reference}}])
}

/// A practice that is always open, with two patients and two practitioners.
async fn practice() -> (TestApp, [Person; 4]) {
    let app = spawn_guarded_app().await;
    let client = NewClient {
        id: "app",
        name: "The App",
        scopes: &Scopes::parse(SCOPE).unwrap(),
        redirect_uris: &["https://app.example/cb".to_owned()],
        launch_url: None,
        launches: false,
        proof: NewProof::Public,
    };
    clients::add(&app.app.database.write, app.app.clock.now(), &client)
        .await
        .unwrap();
    let people = [
        Person::new(&app, Role::Patient, "ada").await,
        Person::new(&app, Role::Patient, "ben").await,
        Person::new(&app, Role::Practitioner, "dora").await,
        Person::new(&app, Role::Practitioner, "emil").await,
    ];
    let (_, dora) = people[2].profile.split_once('/').unwrap();
    let always = json!([{"url": "timezone", "valueCode": "UTC"}, weekly(&EVERY_DAY, "00:00:00", "00:00:00")]);
    for resource in [
        service("visit", &[("approval", code("manual")), ("payment", code("none"))]),
        schedule("dora", dora, &["visit"], always),
    ] {
        store(&app, resource).await;
    }
    (app, people)
}

/// Stores it as the practice.
async fn store(app: &TestApp, resource: Value) {
    let ops = vec![Op {
        write: put(resource),
        full_url: None,
    }];
    commit(&app.app.fhir, &Caller::server(), ops)
        .await
        .map_err(|error| error.error)
        .unwrap();
}

fn answer(visit: &Value, who: &Person, says: &str) -> Value {
    json!({"resourceType": "AppointmentResponse", "appointment": {"reference": format!("Appointment/{}", id(visit))},
        "actor": {"reference": who.profile}, "participantStatus": says})
}

#[tokio::test]
async fn a_visit_is_asked_for_agreed_to_moved_and_cancelled_by_those_whom_it_concerns() {
    let (app, [ada, ben, dora, emil]) = practice().await;
    let now = app.app.clock.now();
    let soon = ada.finds(&app, now + SignedDuration::from_hours(2)).await;
    ada.calls(&app, "Appointment/$hold", proposal(&soon)).await.expect(200);
    ben.calls(&app, "Appointment/$book", proposal(&soon)).await.expect(409);
    let booked = ada
        .calls(&app, "Appointment/$book", proposal(&soon))
        .await
        .expect(200)
        .json();
    let visit = matches(&booked).remove(0);
    assert_eq!(label(&visit), "requested");
    let at_visit = format!("Appointment/{}", id(&visit));

    // To another patient it is not there, whatever they try; nor do they book for somebody else.
    let later = ben.finds(&app, now + SignedDuration::from_hours(30)).await;
    ben.does(app.get(&at_visit)).await.expect(404);
    ben.calls(&app, &format!("{at_visit}/$cancel"), json!([]))
        .await
        .expect(404);
    ben.calls(&app, &format!("{at_visit}/$reschedule"), proposal(&later))
        .await
        .expect(404);
    let mut for_ada = proposal(&later);
    let list = for_ada.as_array_mut().unwrap();
    list.push(json!({"name": "patient-reference", "valueReference": {"reference": ada.profile}}));
    ben.calls(&app, "Appointment/$book", for_ada).await.expect(404);

    // The answer is the practitioner's own, who is hers.
    for (who, actor) in [(&ada, &dora), (&emil, &dora), (&ben, &dora)] {
        who.does(app.post("AppointmentResponse").fhir(&answer(&visit, actor, "accepted")))
            .await
            .expect(403);
    }
    dora.does(app.post("AppointmentResponse").fhir(&answer(&visit, &dora, "accepted")))
        .await
        .expect(201);
    let approved = ada.does(app.get(&at_visit)).await.expect(200).json();
    assert_eq!(label(&approved), "approved");

    // So late, the practitioner is asked; nobody else sees the request or answers it.
    let later = ada.finds(&app, now + SignedDuration::from_hours(30)).await;
    let asked = ada
        .calls(&app, &format!("{at_visit}/$reschedule"), proposal(&later))
        .await
        .expect(200)
        .json();
    let mut task = matches(&asked).remove(0);
    assert_eq!(
        (&task["resourceType"], &task["status"]),
        (&json!("Task"), &json!("requested"))
    );
    let at_task = format!("Task/{}", id(&task));
    task["status"] = json!("accepted");
    ada.does(app.put(&at_task).fhir(&task)).await.expect(403);
    ben.does(app.get(&at_task)).await.expect(404);
    let status = ben.does(app.put(&at_task).fhir(&task)).await.status.as_u16();
    assert!(matches!(status, 403 | 404), "{status}");
    emil.does(app.put(&at_task).fhir(&task)).await.expect(403);

    // Two practitioners of the visit agree at once: it moves once, and who was second is told.
    let mut shared = approved.clone();
    let emil_takes_part = json!({"actor": {"reference": emil.profile}, "required": "optional", "status": "accepted"});
    shared["participant"].as_array_mut().unwrap().push(emil_takes_part);
    store(&app, shared).await;
    let (one, two) = tokio::join!(
        dora.does(app.put(&at_task).fhir(&task)),
        emil.does(app.put(&at_task).fhir(&task))
    );
    let (won, lost) = if one.status == 200 { (one, two) } else { (two, one) };
    assert_eq!(won.expect(200).json()["status"], "completed");
    let lost = lost.expect(409).json();
    let told = lost["issue"][0]["diagnostics"].as_str().unwrap();
    assert!(
        told.contains("answered already") || told.contains("at the same moment"),
        "{told}"
    );
    let moved = ada.does(app.get(&at_visit)).await.expect(200).json();
    assert!(
        label(&moved) == "approved" && moved["start"] != visit["start"],
        "{moved}"
    );
    let again = dora.does(app.put(&at_task).fhir(&task)).await.expect(409).json();
    assert!(
        again["issue"][0]["diagnostics"]
            .as_str()
            .unwrap()
            .contains("answered already")
    );

    // An absence offers her other times, of which she chooses one.
    let absence =
        json!([{"name": "start", "valueDateTime": moved["start"]}, {"name": "end", "valueDateTime": moved["end"]}]);
    ada.calls(&app, "Schedule/dora/$block", absence.clone())
        .await
        .expect(403);
    emil.calls(&app, "Schedule/dora/$block", absence.clone())
        .await
        .expect(403);
    dora.calls(&app, "Schedule/dora/$block", absence).await.expect(200);
    let offers = ada.does(app.get("Task?status=requested")).await.expect(200).json();
    let mut offer = matches(&offers).remove(0);
    assert_eq!(offer["code"]["coding"][0]["code"], "reschedule-offer");
    let chosen = offer["input"][1]["valueInstant"].clone();
    let mut chosen_start = offer["input"][1].clone();
    chosen_start["type"]["coding"][0]["code"] = json!("chosen-start");
    offer["output"] = json!([chosen_start]);
    offer["status"] = json!("accepted");
    let at_offer = format!("Task/{}", id(&offer));
    let status = ben.does(app.put(&at_offer).fhir(&offer)).await.status.as_u16();
    assert!(matches!(status, 403 | 404), "{status}");
    ada.does(app.put(&at_offer).fhir(&offer)).await.expect(200);
    let moved = ada.does(app.get(&at_visit)).await.expect(200).json();
    assert_eq!((&moved["start"], label(&moved)), (&chosen, "approved"));

    let cancelled = ada
        .calls(&app, &format!("{at_visit}/$cancel"), json!([]))
        .await
        .expect(200)
        .json();
    assert_eq!(label(&cancelled), "cancelled");
    let told = dora.calls(&app, &format!("{at_visit}/$confirm"), json!([])).await;
    assert!(matches!(told.status.as_u16(), 404 | 409), "{}", told.text());
}

#[tokio::test]
async fn what_the_practitioner_declines_is_rejected() {
    let (app, [ada, _, dora, emil]) = practice().await;
    let proposed = ada.finds(&app, app.app.clock.now()).await;
    let booked = ada
        .calls(&app, "Appointment/$book", proposal(&proposed))
        .await
        .expect(200)
        .json();
    let visit = matches(&booked).remove(0);
    // Somebody who does not take part may say what they like: nothing moves by it.
    emil.does(app.post("AppointmentResponse").fhir(&answer(&visit, &emil, "declined")))
        .await
        .expect(201);
    let at_visit = format!("Appointment/{}", id(&visit));
    let untouched = ada.does(app.get(&at_visit)).await.expect(200).json();
    assert_eq!(label(&untouched), "requested");
    dora.does(app.post("AppointmentResponse").fhir(&answer(&visit, &dora, "declined")))
        .await
        .expect(201);
    let rejected = ada.does(app.get(&at_visit)).await.expect(200).json();
    assert_eq!(
        (label(&rejected), &rejected["status"]),
        ("rejected", &json!("cancelled"))
    );
    let told = ada
        .calls(&app, &format!("{at_visit}/$cancel"), json!([]))
        .await
        .expect(409)
        .json();
    let told = told["issue"][0]["diagnostics"].as_str().unwrap();
    assert!(told.contains("rejected"), "{told}");
}
