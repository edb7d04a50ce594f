//! What an application is about: chosen by the person, or brought along from where it was opened.

use super::*;
use crate::audit::brief;
use medconsult::auth::launches;

const RECORDS: &str = "launch launch/patient launch/encounter openid user/*.cruds patient/*.rs";

/// The application `app` with scopes about patients, a practitioner, and two patients of theirs of whom one has been here.
async fn with_patients(app: &TestApp) -> Visitor<'_> {
    app.register_app("app", RECORDS, NewProof::Public).await;
    app.register_backend("lab", "system/*.cruds").await;
    let token = app.token("lab", "system/*.cruds").await;
    let mut grace = invited(app, Role::Practitioner).await;
    set_up(&mut grace).await;
    let practitioner = json!([{"reference": profile_of(app, GRACE).await}]);
    for (url, resource) in [
        (
            "Patient/ada",
            json!({
                "resourceType": "Patient", "id": "ada", "name": [{"given": ["Ada"], "family": "Lovelace"}],
                "birthDate": "1815-12-10", "identifier": [{"system": "urn:clinic", "value": "M-17"}],
                "generalPractitioner": practitioner,
            }),
        ),
        (
            "Patient/mary",
            json!({
                "resourceType": "Patient", "id": "mary", "name": [{"given": ["Mary"], "family": "Somerville"}],
                "generalPractitioner": practitioner,
            }),
        ),
        (
            "Encounter/visit",
            json!({
                "resourceType": "Encounter", "id": "visit", "status": "finished", "subject": {"reference": "Patient/ada"},
                "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "VR"},
                "period": {"start": "2026-03-04T10:00:00Z"},
            }),
        ),
    ] {
        app.put(url)
            .fhir(&resource)
            .bearer_auth(&token)
            .answer()
            .await
            .expect(201);
    }
    grace
}

/// What the token's answer says about the context.
fn context(token: &Value) -> Value {
    let names = ["patient", "encounter", "intent", "need_patient_banner", "fhirContext"];
    let present = names.into_iter().filter(|name| token.get(name).is_some());
    present.map(|name| (name.to_owned(), token[name].clone())).collect()
}

impl TestApp {
    async fn token_of(&self, answer: &Answer) -> Value {
        let code = parameters(answer)["code"].as_str().unwrap().to_owned();
        self.change(&code, &PUBLIC).await.expect(200).json()
    }
}

/// What the application finds in the address by which it is opened.
#[track_caller]
fn opened(app: &TestApp, url: &str) -> String {
    let query = url
        .strip_prefix(&format!("{OPENED_AT}?"))
        .unwrap_or_else(|| panic!("{url}"));
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert_eq!(pairs[0], ("iss".to_owned(), app.base.clone()));
    assert_eq!((pairs[1].0.as_str(), pairs.len()), ("launch", 2));
    pairs[1].1.clone()
}

#[tokio::test]
async fn a_patient_is_found_by_name_birth_date_and_number() {
    let app = spawn_guarded_app().await;
    let mut grace = with_patients(&app).await;
    let scope = ("scope", "launch/patient openid patient/*.rs");
    let page = grace.authorize(&[scope]).await.expect(200);
    assert!(page.text().contains("Whose record?") && !page.text().contains("Ada Lovelace"));
    assert!(
        page.header("content-security-policy")
            .contains("form-action 'self' https://app.example;")
    );
    for search in ["lovelace", "Ada Love", "1815-12-10", "M-17", "ada 1815-12-10 M-17"] {
        let page = grace.choose(&page, ("search", search)).await.expect(200);
        assert!(page.text().contains("Ada Lovelace, born 1815-12-10"), "{search}");
        assert!(!page.text().contains("Somerville"));
    }
    for search in ["nobody", "Ada Somerville", "1815-12-11", "a,b", "*", "%"] {
        let page = grace.choose(&page, ("search", search)).await.expect(200);
        assert!(page.text().contains("Nobody of yours"), "{search}");
    }

    let consent = grace.choose(&page, ("patient", "ada")).await.expect(200);
    assert!(consent.text().contains("Allow access?"));
    let token = app.token_of(&grace.decide(&consent, "allow", |_| true).await).await;
    assert_eq!(token["scope"], "launch/patient openid patient/*.rs");
    assert_eq!(context(&token), json!({"patient": "ada", "need_patient_banner": true}));
    let style = token["smart_style_url"].as_str().unwrap();
    let style = app.get(style).answer().await.expect(200);
    assert_eq!(style.header("content-type"), "application/json");
    assert!(style.json()["color_background"].is_string());
    let seen = app
        .form(
            "/auth/introspect",
            &[("token", token["access_token"].as_str().unwrap())],
        )
        .bearer_auth(token["access_token"].as_str().unwrap());
    assert_eq!(seen.answer().await.expect(200).json()["patient"], "ada");
}

#[tokio::test]
async fn only_patients_and_visits_that_were_offered_can_be_chosen() {
    let app = spawn_guarded_app().await;
    let mut grace = with_patients(&app).await;
    let scope = ("scope", "launch/patient launch/encounter");
    let page = grace.authorize(&[scope]).await.expect(200);
    for other in ["nobody", "", "../x", "ada&_id=mary"] {
        grace.choose(&page, ("patient", other)).await.expect(403);
    }
    let visits = grace.choose(&page, ("patient", "ada")).await.expect(200);
    assert!(visits.text().contains("2026-03-04, VR, finished"));
    grace.choose(&visits, ("encounter", "other")).await.expect(403);
    // The question is not skipped by deciding before it was answered.
    let sealed = request_in(&visits);
    let early = [
        ("request", sealed.as_str()),
        ("decision", "allow"),
        ("scope", "launch/patient"),
    ];
    grace.submit("/auth/consent", &early).await.expect(403);
    assert_eq!(
        parameters(&grace.choose(&visits, ("decision", "deny")).await)["error"],
        "access_denied"
    );

    let consent = grace.choose(&visits, ("encounter", "visit")).await.expect(200);
    let token = app.token_of(&grace.decide(&consent, "allow", |_| true).await).await;
    assert_eq!(
        context(&token),
        json!({"patient": "ada", "encounter": "visit", "need_patient_banner": true})
    );
    let consent = grace.choose(&visits, ("encounter", "")).await.expect(200);
    let token = app.token_of(&grace.decide(&consent, "allow", |_| true).await).await;
    assert_eq!(context(&token)["encounter"], Value::Null);
    // Who has never been here is not asked about visits, and who takes the tick away keeps the patient to themselves.
    let consent = grace.choose(&page, ("patient", "mary")).await.expect(200);
    let granted = grace
        .decide(&consent, "allow", |value| value == "launch/encounter")
        .await;
    assert_eq!(context(&app.token_of(&granted).await), json!({}));
}

#[tokio::test]
async fn an_application_is_opened_about_a_patient_and_a_visit() {
    let app = spawn_guarded_app().await;
    let mut grace = with_patients(&app).await;
    let account = grace.open("/auth/account").await.expect(200).text();
    assert!(account.contains("href=\"/auth/apps\""));
    let list = grace.open("/auth/apps").await.expect(200).text();
    assert!(list.contains("/auth/apps/open?client=app") && list.contains("The App"));
    let page = grace.open("/auth/apps/open?client=app").await.expect(200);
    assert!(
        page.header("content-security-policy")
            .contains("form-action 'self' https://app.example;")
    );
    let client = ("client", "app");
    let page = grace.submit("/auth/apps/open", &[client]).await.expect(200);
    assert!(page.text().contains("Whose record?"));
    grace
        .submit("/auth/apps/open", &[client, ("patient", "nobody")])
        .await
        .expect(403);
    let page = grace
        .submit("/auth/apps/open", &[client, ("patient", "ada")])
        .await
        .expect(200);
    assert!(page.text().contains("name=\"patient\" value=\"ada\"") && page.text().contains("value=\"visit\""));
    let fields = [client, ("patient", "ada"), ("encounter", "visit")];
    let known = app.trail().await.len();
    let there = grace.submit("/auth/apps/open", &fields).await.expect(303);
    let launch = opened(&app, there.header("location"));
    let events = app.trail_since(known).await;
    assert_eq!(brief(events.last().unwrap()), "110120 Encounter/visit [ada] 0");
    assert!(
        events.iter().all(|event| !event.to_string().contains(&launch)),
        "the secret is not told"
    );

    let changes = [("scope", "launch openid user/*.cruds"), ("launch", launch.as_str())];
    let page = grace.authorize(&changes).await.expect(200);
    assert!(page.text().contains("know what it was opened for"));
    let granted = grace.decide(&page, "allow", |_| true).await;
    let token = app.token_of(&granted).await;
    assert_eq!(
        context(&token),
        json!({"patient": "ada", "encounter": "visit", "need_patient_banner": true})
    );
    // Once: neither by the page that is still open nor by the address.
    assert_eq!(
        parameters(&grace.decide(&page, "allow", |_| true).await)["error"],
        "invalid_request"
    );
    assert_eq!(parameters(&grace.authorize(&changes).await)["error"], "invalid_request");
    // Without a patient, one can be chosen later.
    let there = grace
        .submit("/auth/apps/open", &[client, ("patient", "")])
        .await
        .expect(303);
    let launch = opened(&app, there.header("location"));
    let changes = [("scope", "launch patient/*.rs"), ("launch", launch.as_str())];
    assert!(
        grace
            .authorize(&changes)
            .await
            .expect(200)
            .text()
            .contains("Whose record?")
    );
    grace.open("/auth/apps/open?client=other").await.expect(403);
}

#[tokio::test]
async fn a_launch_is_for_one_application_one_session_and_some_minutes() {
    let app = spawn_guarded_app().await;
    let mut grace = with_patients(&app).await;
    app.register_app("other", RECORDS, NewProof::Public).await;
    let mut connection = app.connection().await;
    let session: String = sqlx::query_scalar("SELECT id FROM session WHERE complete")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let mut mint = async |client: &str| {
        let now = app.app.clock.now();
        launches::store(&mut connection, now, client, &session, &launches::Context::default())
            .await
            .unwrap()
    };
    let (good, foreign) = (mint("app").await, mint("other").await);
    let scope = ("scope", "launch openid");
    for launch in ["made-up", foreign.as_str()] {
        let back = parameters(&grace.authorize(&[scope, ("launch", launch)]).await);
        assert_eq!((&back["error"], back.get("code")), (&json!("invalid_request"), None));
    }
    let mut ada = app.visitor();
    ada.sign_up("ada@clinic.example", PASSWORD).await;
    ada.sign_in("ada@clinic.example", PASSWORD).await;
    let back = parameters(&ada.authorize(&[scope, ("launch", &good)]).await);
    assert_eq!(back["error"], "invalid_request");

    let page = grace.authorize(&[scope, ("launch", &good)]).await.expect(200);
    let past = (app.app.clock.now() - SignedDuration::from_secs(1)).to_sqlx();
    sqlx::query("UPDATE launch SET expires_at = $1")
        .bind(past)
        .execute(&mut connection)
        .await
        .unwrap();
    for late in [
        grace.decide(&page, "allow", |_| true).await,
        grace.authorize(&[scope, ("launch", &good)]).await,
    ] {
        assert_eq!(parameters(&late)["error"], "invalid_request");
    }
    // The scope launch says nothing without a launch.
    let page = grace.authorize(&[scope]).await.expect(200);
    assert_eq!(boxes(&page), ["openid"]);
}

#[tokio::test]
async fn our_own_application_launches_others() {
    let app = spawn_guarded_app().await;
    let mut grace = with_patients(&app).await;
    let back = [BACK.to_owned()];
    let scopes = Scopes::parse("openid user/*.rs offline_access").unwrap();
    let desk = NewClient {
        id: "desk",
        name: "The desk",
        scopes: &scopes,
        redirect_uris: &back,
        launch_url: None,
        launches: true,
        proof: NewProof::Public,
    };
    assert!(
        clients::add(&app.app.database.write, app.app.clock.now(), &desk)
            .await
            .unwrap()
    );
    let mut let_in = async |client: &str, scope: &str| {
        let code = grace.code(&[("client_id", client), ("scope", scope)]).await;
        let fields = [("client_id", client), PUBLIC[1]];
        let token = app.change(&code, &fields).await.expect(200).json();
        token["access_token"].as_str().unwrap().to_owned()
    };
    let desk = let_in("desk", "user/*.rs").await;
    let offline = let_in("desk", "user/*.rs offline_access").await;
    let other = let_in("app", "user/*.cruds").await;
    let launch = async |token: &str, body: Value| {
        let request = app.post("/auth/launch").bearer_auth(token).body(body.to_string());
        request.answer().await
    };
    let whole = json!({
        "client_id": "app", "patient": "ada", "encounter": "visit", "intent": "reconcile-medications",
        "need_patient_banner": false, "fhirContext": [{"reference": "ImagingStudy/7"}],
    });
    let known = app.trail().await.len();
    let answer = launch(&desk, whole.clone()).await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let events = app.trail_since(known).await;
    assert_eq!(
        events.iter().map(brief).collect::<Vec<_>>(),
        [
            "read Patient/ada/_history/1 [ada] 0",
            "read Encounter/visit/_history/1 [ada] 0",
            "110120 Encounter/visit [ada] 0"
        ]
    );
    let by = |agent: usize| &events[2]["agent"][agent]["who"];
    assert_eq!(
        (&by(0)["identifier"]["value"], &by(2)["reference"]),
        (&json!("desk"), &json!(profile_of(&app, GRACE).await))
    );
    assert!(
        events[2]
            .to_string()
            .contains(r#"{"type":"opens","valueString":"app"}"#),
        "{}",
        events[2]
    );
    let answer = answer.json();
    assert_eq!(answer["expires_in"], 600);
    let secret = opened(&app, answer["url"].as_str().unwrap());
    assert_eq!(answer["launch"], secret);
    let changes = [("scope", "launch openid"), ("launch", secret.as_str())];
    let code = grace.code(&changes).await;
    let token = app.change(&code, &PUBLIC).await.expect(200).json();
    let mut told = whole.clone();
    told.as_object_mut().unwrap().remove("client_id");
    assert_eq!(context(&token), told);

    // Which ones there are: all that have an address for it.
    let list = async |token: &str| app.get("/auth/launch").bearer_auth(token).answer().await;
    let others = list(&desk).await.expect(200);
    assert_eq!(others.header("cache-control"), "no-store");
    assert_eq!(
        others.json(),
        json!({"applications": [{"client_id": "app", "name": "The App"}]})
    );
    app.get("/auth/launch").answer().await.expect(401);
    refused(list(&offline).await, 403, "insufficient_scope");
    refused(list(&other).await, 403, "insufficient_scope");

    // Not without a token, not with one that outlives the session, not for an application that was not registered to do it.
    app.post("/auth/launch").body("{}").answer().await.expect(401);
    let known = app.trail().await.len();
    refused(launch(&offline, whole.clone()).await, 403, "insufficient_scope");
    refused(launch(&other, whole.clone()).await, 403, "insufficient_scope");
    let events = app.trail_since(known).await;
    assert_eq!(
        events.iter().map(brief).collect::<Vec<_>>(),
        ["110120  [] 4", "110120  [] 4"]
    );
    for (name, value) in [
        ("client_id", json!("nobody")),
        ("client_id", json!("desk")),
        ("client_id", json!("a\u{0}")),
        ("patient", json!("nobody")),
        ("patient", json!("ada?x")),
        ("patient", json!("mary")),
        ("patient", Value::Null),
        ("encounter", json!("nobody")),
        ("intent", json!("")),
        ("intent", json!(7)),
        ("fhirContext", json!([{"reference": "Patient/ada"}])),
        ("fhirContext", json!([{}])),
        ("colour", json!("red")),
    ] {
        let mut body = whole.clone();
        body[name] = value;
        refused(launch(&desk, body).await, 400, "invalid_request");
    }
    grace.open("/auth/account").await.expect(200);
    grace.submit("/auth/sign-out", &[]).await.expect(303);
    launch(&desk, whole).await.expect(401);
}

#[tokio::test]
async fn a_request_that_comes_as_a_form_of_another_site_is_answered_like_a_link() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    let challenge = challenge();
    let pairs = app.request_of(&[], &challenge);
    // Browsers send no cookie with it.
    let mut stranger = app.visitor();
    let answer = stranger.submit_raw("/auth/authorize", &pairs, &[]).await.expect(303);
    let link = answer.header("location").to_owned();
    assert!(link.starts_with("/auth/authorize?response_type=code&"), "{link}");
    assert!(grace.open(&link).await.expect(200).text().contains("Allow access?"));
    let wrong = app.request_of(&[("aud", "https://other.example")], &challenge);
    let back = parameters(&stranger.submit_raw("/auth/authorize", &wrong, &[]).await);
    assert_eq!(back["error"], "invalid_request");
}

#[tokio::test]
async fn staff_find_only_patients_of_their_own() {
    let app = spawn_guarded_app().await;
    app.register_app("app", RECORDS, NewProof::Public).await;
    app.register_backend("lab", "system/*.cruds").await;
    let token = app.token("lab", "system/*.cruds").await;
    let mut grace = invited(&app, Role::Practitioner).await;
    set_up(&mut grace).await;
    let profile = profile_of(&app, GRACE).await;
    for (id, practitioner) in [("hers", profile.as_str()), ("others", "Practitioner/other")] {
        let patient = json!({
            "resourceType": "Patient", "id": id, "name": [{"given": [id], "family": "Somerville"}],
            "generalPractitioner": [{"reference": practitioner}],
        });
        let url = format!("Patient/{id}");
        app.put(&url)
            .fhir(&patient)
            .bearer_auth(&token)
            .answer()
            .await
            .expect(201);
    }
    let page = grace
        .authorize(&[("scope", "launch/patient patient/*.rs")])
        .await
        .expect(200);
    let found = grace.choose(&page, ("search", "Somerville")).await.expect(200).text();
    assert!(
        found.contains("hers Somerville") && !found.contains("others Somerville"),
        "{found}"
    );
    grace.choose(&page, ("patient", "others")).await.expect(403);
    let consent = grace.choose(&page, ("patient", "hers")).await.expect(200);
    let token = app.token_of(&grace.decide(&consent, "allow", |_| true).await).await;
    assert_eq!(token["patient"], "hers");
}

#[tokio::test]
async fn whoever_is_one_patient_is_not_asked_and_whoever_acts_for_another_is() {
    let app = spawn_guarded_app().await;
    app.register_app("app", RECORDS, NewProof::Public).await;
    app.register_backend("lab", "system/*.cruds").await;
    let lab = app.token("lab", "system/*.cruds").await;
    let mut ada = app.visitor();
    ada.sign_up("ada@clinic.example", PASSWORD).await;
    ada.sign_in("ada@clinic.example", PASSWORD).await;
    let scope = ("scope", "launch/patient patient/*.rs");
    let own = profile_of(&app, "ada@clinic.example").await;
    let consent = ada.authorize(&[scope]).await.expect(200);
    let token = app.token_of(&ada.decide(&consent, "allow", |_| true).await).await;
    assert_eq!(format!("Patient/{}", token["patient"].as_str().unwrap()), own);

    let child = json!({"resourceType": "Patient", "id": "child", "name": [{"given": ["Byron"], "family": "King"}]});
    app.put("Patient/child")
        .fhir(&child)
        .bearer_auth(&lab)
        .answer()
        .await
        .expect(201);
    let person: String = sqlx::query_scalar("SELECT person FROM account")
        .fetch_one(&app.app.database.write)
        .await
        .unwrap();
    let url = format!("Person/{person}");
    let mut person = app.get(&url).bearer_auth(&lab).answer().await.expect(200).json();
    let link = json!({"target": {"reference": "Patient/child"}});
    person["link"].as_array_mut().unwrap().push(link);
    app.put(&url).fhir(&person).bearer_auth(&lab).answer().await.expect(200);

    let page = ada.authorize(&[scope]).await.expect(200);
    assert!(page.text().contains("Ada Lovelace") && page.text().contains("Byron King"));
    assert!(!page.text().contains("type=\"search\""));
    let consent = ada.choose(&page, ("patient", "child")).await.expect(200);
    let token = app.token_of(&ada.decide(&consent, "allow", |_| true).await).await;
    assert_eq!(token["patient"], "child");
    let bearer = token["access_token"].as_str().unwrap();
    app.get("Patient/child").bearer_auth(bearer).answer().await.expect(200);
    // The token is about the child only, though Ada may see herself too.
    app.get(&own).bearer_auth(bearer).answer().await.expect(404);
}
