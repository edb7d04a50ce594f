//! What a person allows, and what is left of it.

use super::*;

#[tokio::test]
async fn the_role_counts_at_every_use() {
    let app = spawn_guarded_app().await;
    app.register_app("app", SCOPE, NewProof::Public).await;
    // An administrator who is made a practitioner loses what only administrators may see, at once.
    let mut grace = invited(&app, Role::Admin).await;
    set_up(&mut grace).await;
    let code = grace.code(&[]).await;
    let token = app.change(&code, &PUBLIC).await.expect(200).json();
    let bearer = token["access_token"].as_str().unwrap();
    let trail = async || app.get("AuditEvent").bearer_auth(bearer).answer().await.status;
    assert_eq!(trail().await, 200);
    let mut connection = app.connection().await;
    sqlx::query("UPDATE account SET role = 'practitioner' WHERE email = $1")
        .bind(GRACE)
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(trail().await, 403);
}

#[tokio::test]
async fn a_person_refuses_or_leaves_out_what_they_like() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    let page = grace.authorize(&[]).await.expect(200);
    let back = parameters(&grace.decide(&page, "deny", |_| true).await);
    assert_eq!((&back["error"], back.get("code")), (&json!("access_denied"), None));
    // Nothing ticked is no grant either.
    let back = parameters(&grace.decide(&page, "allow", |_| false).await);
    assert_eq!(back["error"], "access_denied");

    // Without offline_access there is nothing to refresh; without one type there is no access to all of them.
    let no_media = |value: &str| value != "offline_access" && value != "user/Media.cruds";
    let answer = grace.decide(&page, "allow", no_media).await;
    let code = parameters(&answer)["code"].as_str().unwrap().to_owned();
    let token = app.change(&code, &PUBLIC).await.expect(200).json();
    let granted: Vec<&str> = token["scope"].as_str().unwrap().split(' ').collect();
    assert!(granted.starts_with(&["openid", "fhirUser", "profile"]) && granted.contains(&"user/Patient.cruds"));
    assert!(
        !granted
            .iter()
            .any(|scope| scope.contains('*') || scope.contains("Media"))
    );
    assert!(token.get("refresh_token").is_none());
}

#[tokio::test]
async fn a_category_is_let_in_alone() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    let asked = "user/Observation.rs user/Patient.rs";
    let page = grace.authorize(&[("scope", asked)]).await.expect(200);
    let laboratory =
        "user/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory";
    let answer = grace
        .decide(&page, "allow", |value| {
            value == laboratory || value == "user/Patient.rs"
        })
        .await;
    let code = parameters(&answer)["code"].as_str().unwrap().to_owned();
    let token = app.change(&code, &PUBLIC).await.expect(200).json();
    assert_eq!(token["scope"], format!("{laboratory} user/Patient.rs"));
}

#[tokio::test]
async fn a_decision_is_taken_on_our_page_about_what_it_showed() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    let page = grace.authorize(&[]).await.expect(200);
    let sealed = request_in(&page);
    let decision = ("decision", "allow");
    // What was not asked for, though it was registered or sounds alike.
    for other in ["system/*.cruds", "online_access", "user/Patient.rs", "user/*.rs"] {
        let fields = [
            ("request", sealed.as_str()),
            decision,
            ("scope", "openid"),
            ("scope", other),
        ];
        grace.submit("/auth/consent", &fields).await.expect(403);
    }
    // A request that was changed, one of somebody else, and one without proof that the form is ours.
    let broken = [("request", &sealed[4..]), decision, ("scope", "openid")];
    grace.submit("/auth/consent", &broken).await.expect(403);
    let fields = [("request", sealed.as_str()), decision, ("scope", "openid")];
    let mut ada = app.visitor();
    ada.sign_up("ada@clinic.example", PASSWORD).await;
    ada.sign_in("ada@clinic.example", PASSWORD).await;
    ada.open("/auth/account").await.expect(200);
    ada.submit("/auth/consent", &fields).await.expect(403);
    ada.submit("/auth/authorize/about", &fields).await.expect(403);
    grace.submit_raw("/auth/consent", &fields, &[]).await.expect(403);
    let mut grants = app.connection().await;
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM oauth_grant")
        .fetch_one(&mut grants)
        .await
        .unwrap();
    assert_eq!(count, 0);
}
