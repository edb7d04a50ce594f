//! What applications ask for at the authorize endpoint, and what they may not.

use super::*;

#[tokio::test]
async fn requests_that_name_no_registered_application_end_at_a_page() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    for change in [
        ("client_id", "nobody"),
        ("client_id", "APP"),
        ("client_id", "a\u{0}"),
        ("client_id", ""),
        ("redirect_uri", ""),
        ("redirect_uri", "https://app.example/cb/"),
        ("redirect_uri", "https://app.example/cb?x=1"),
        ("redirect_uri", "https://evil.example/cb"),
        ("redirect_uri", "javascript:alert(1)"),
        ("redirect_uri", "data:text/html,x"),
        ("redirect_uri", "http://app.example/cb"),
    ] {
        let page = grace.authorize(&[change]).await.expect(400);
        assert_eq!(page.header("location"), "");
    }
    let query = encode(&app.request_of(&[], &challenge()));
    for repeated in ["client_id=app", "redirect_uri=https%3A%2F%2Fapp.example%2Fcb"] {
        grace
            .open(&format!("/auth/authorize?{query}&{repeated}"))
            .await
            .expect(400);
    }
    clients::set_enabled(&app.app.database.write, "app", false)
        .await
        .unwrap();
    grace.authorize(&[]).await.expect(400);
}

#[tokio::test]
async fn other_wrong_requests_go_back_with_the_reason() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    let elsewhere = format!("{}/x", app.base);
    for (change, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", "id_token"), "unsupported_response_type"),
        (("response_type", "code id_token"), "unsupported_response_type"),
        (("response_mode", "fragment"), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("code_challenge_method", "S512"), "invalid_request"),
        (("aud", ""), "invalid_request"),
        (("aud", "https://other.example/fhir"), "invalid_request"),
        (("aud", elsewhere.as_str()), "invalid_request"),
        (("launch", "xyz"), "invalid_scope"),
        (("request", "xyz"), "request_not_supported"),
        (("scope", ""), "invalid_scope"),
        (("scope", "system/*.rs"), "invalid_scope"),
        (("scope", "patient/*.rs launch/patient"), "invalid_scope"),
        (("scope", "openid user/*.dus"), "invalid_scope"),
        (("scope", "openid user/Paitent.rs"), "invalid_scope"),
        (("scope", "openid user/Patient.rs?colour=red"), "invalid_scope"),
        (
            ("scope", "openid user/Patient.rs?general-practitioner.name=x"),
            "invalid_scope",
        ),
        (("scope", "openid user/*.rs?gender=female"), "invalid_scope"),
        (("scope", "online_access"), "invalid_scope"),
        (("prompt", "none"), "consent_required"),
    ] {
        let answer = grace.authorize(&[change]).await;
        let back = parameters(&answer);
        assert_eq!(
            (&back["error"], &back["state"]),
            (&json!(error), &json!("s/1 ä")),
            "{change:?}"
        );
        assert_eq!(back["iss"], app.address);
        assert!(back.get("code").is_none());
    }
    let back = parameters(&grace.authorize(&[("state", "")]).await);
    assert_eq!((&back["error"], back.get("state")), (&json!("invalid_request"), None));
    let query = encode(&app.request_of(&[], &challenge()));
    let back = parameters(&grace.open(&format!("/auth/authorize?{query}&scope=openid")).await);
    assert_eq!(back["error"], "invalid_request");
    let back = parameters(&app.visitor().authorize(&[("prompt", "none")]).await);
    assert_eq!(back["error"], "login_required");
}

#[tokio::test]
async fn what_is_asked_for_beyond_the_registration_is_left_out() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    let narrow = "openid user/Patient.rs user/Observation.cu user/Condition.rs?category=a";
    app.register_app("narrow", narrow, NewProof::Public).await;
    for (client, asked, granted) in [
        (
            "app",
            "openid launch/patient patient/*.rs user/*.read system/*.rs online_access",
            "openid user/*.read",
        ),
        (
            "narrow",
            "fhirUser user/*.cruds openid offline_access",
            "user/Patient.rs user/Observation.cu user/Condition.rs?category=a openid",
        ),
        ("narrow", "user/Patient.* user/Procedure.rs", "user/Patient.read"),
    ] {
        let page = grace
            .authorize(&[("client_id", client), ("scope", asked)])
            .await
            .expect(200);
        let most = Scopes::parse(granted).unwrap();
        for offered in boxes(&page) {
            assert!(most.cover(&Scopes::parse(&offered).unwrap()), "{offered} of {asked}");
        }
        let answer = grace.decide(&page, "allow", |_| true).await;
        let code = parameters(&answer)["code"].as_str().unwrap().to_owned();
        let token = app
            .change(&code, &[("client_id", client), PUBLIC[1]])
            .await
            .expect(200)
            .json();
        assert_eq!(token["scope"], granted, "{asked}");
        assert!(token.get("refresh_token").is_none());
    }
}

#[tokio::test]
async fn who_is_not_signed_in_signs_in_first() {
    let app = spawn_guarded_app().await;
    app.register_app("app", "openid profile", NewProof::Public).await;
    let mut ada = app.visitor();
    ada.sign_up("ada@clinic.example", PASSWORD).await;
    let there = ada.authorize(&[("scope", "openid profile")]).await;
    let location = there.header("location").to_owned();
    assert!(
        location.starts_with("/auth/sign-in?next=%2Fauth%2Fauthorize%3F"),
        "{location}"
    );
    let page = ada.open(&location).await.expect(200).text();
    let next = page
        .split_once("name=\"next\" value=\"")
        .unwrap()
        .1
        .split('"')
        .next()
        .unwrap()
        .replace("&amp;", "&");
    let fields = [("email", "ada@clinic.example"), ("password", PASSWORD), ("next", &next)];
    let back = ada.submit("/auth/sign-in", &fields).await;
    sent_to(&back, &next);
    let page = ada.open(&next).await.expect(200);
    assert!(page.text().contains("The App") && page.text().contains("know that it is you"));
    // Browsers let the form end at the application, and nowhere else.
    assert!(
        page.header("content-security-policy")
            .contains("form-action 'self' https://app.example;")
    );
    let answer = ada.decide(&page, "allow", |_| true).await;
    let code = parameters(&answer)["code"].as_str().unwrap().to_owned();

    let token = app.change(&code, &PUBLIC).await.expect(200).json();
    assert!(token.get("refresh_token").is_none());
    let bearer = token["access_token"].as_str().unwrap();
    let user = app
        .get("/auth/userinfo")
        .bearer_auth(bearer)
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!((&user["name"], user.get("fhirUser")), (&json!("Ada Lovelace"), None));
    // It tells who she is, and opens no records.
    assert_eq!(app.opens(bearer).await, 403);
    assert_eq!(app.opens(token["id_token"].as_str().unwrap()).await, 401);
    app.get("/auth/userinfo").answer().await.expect(401);
}
