//! Refresh tokens, and how access ends.

use super::super::backend::instance_beside;
use super::*;

#[tokio::test]
async fn refresh_tokens_are_changed_each_time_and_a_stolen_one_ends_the_family() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    app.register_app("other", SCOPE, NewProof::Public).await;
    let code = grace.code(&[]).await;
    let first = app.change(&code, &PUBLIC).await.expect(200).json();
    let first_refresh = first["refresh_token"].as_str().unwrap();

    // Neither for more, nor for another client; and neither question uses it up.
    refused(
        app.refresh(first_refresh, &[("scope", "openid system/*.rs")]).await,
        400,
        "invalid_scope",
    );
    refused(
        app.refresh(first_refresh, &[("scope", "openid online_access")]).await,
        400,
        "invalid_scope",
    );
    let stranger = [
        ("grant_type", "refresh_token"),
        ("refresh_token", first_refresh),
        ("client_id", "other"),
    ];
    refused(app.form("/auth/token", &stranger).answer().await, 400, "invalid_grant");
    refused(app.refresh("made-up", &[]).await, 400, "invalid_grant");
    // Who need not prove anything need not say who they are; who must, must.
    let unnamed = [("grant_type", "refresh_token"), ("refresh_token", "made-up")];
    refused(app.form("/auth/token", &unnamed).answer().await, 400, "invalid_grant");
    app.register_app("secret", SCOPE, NewProof::Secret(crypto::digest(SECRET)))
        .await;
    let code = grace.code(&[("client_id", "secret")]).await;
    let secret = [("client_id", "secret"), ("client_secret", SECRET), PUBLIC[1]];
    let of_secret = app.change(&code, &secret).await.expect(200).json();
    let of_secret = of_secret["refresh_token"].as_str().unwrap();
    let unnamed = [("grant_type", "refresh_token"), ("refresh_token", of_secret)];
    refused(app.form("/auth/token", &unnamed).answer().await, 401, "invalid_client");

    let second = app
        .refresh(first_refresh, &[("scope", "openid user/*.rs")])
        .await
        .expect(200)
        .json();
    assert_eq!(second["scope"], "openid user/*.rs");
    let bearer = second["access_token"].as_str().unwrap();
    assert_eq!(app.opens(bearer).await, 200);
    let patient = json!({"resourceType": "Patient"});
    app.post("Patient")
        .fhir(&patient)
        .bearer_auth(bearer)
        .answer()
        .await
        .expect(403);
    // Narrowed once is not narrowed for ever: the grant is what the person allowed.
    let third = app
        .refresh(second["refresh_token"].as_str().unwrap(), &[])
        .await
        .expect(200)
        .json();
    assert_eq!(third["scope"], SCOPE);

    refused(app.refresh(first_refresh, &[]).await, 400, "invalid_grant");
    for token in [&first, &second, &third] {
        assert_eq!(app.opens(token["access_token"].as_str().unwrap()).await, 401);
    }
    refused(
        app.refresh(third["refresh_token"].as_str().unwrap(), &[]).await,
        400,
        "invalid_grant",
    );
}

#[tokio::test]
async fn access_ends_with_the_session_unless_it_was_to_outlive_it() {
    let app = spawn_guarded_app().await;
    let scopes = "openid online_access offline_access user/*.rs";
    app.register_app("app", scopes, NewProof::Public).await;
    let mut grace = invited(&app, Role::Admin).await;
    set_up(&mut grace).await;
    let mut given = Vec::new();
    for scope in ["user/*.rs", "online_access user/*.rs", "offline_access user/*.rs"] {
        let code = grace.code(&[("scope", scope)]).await;
        given.push(app.change(&code, &PUBLIC).await.expect(200).json());
    }
    assert!(given[0].get("refresh_token").is_none() && given[1]["refresh_token"].is_string());
    grace.open("/auth/account").await.expect(200);
    sent_to(&grace.submit("/auth/sign-out", &[]).await, "/auth/sign-in");
    let mut opened = Vec::new();
    for token in &given {
        opened.push(app.opens(token["access_token"].as_str().unwrap()).await);
    }
    assert_eq!(opened, [401, 401, 200]);
    refused(
        app.refresh(given[1]["refresh_token"].as_str().unwrap(), &[]).await,
        400,
        "invalid_grant",
    );
    app.refresh(given[2]["refresh_token"].as_str().unwrap(), &[])
        .await
        .expect(200);
}

#[tokio::test]
async fn access_is_taken_away_by_person_application_and_password() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    let let_in = async |grace: &mut Visitor<'_>| {
        let code = grace.code(&[]).await;
        app.change(&code, &PUBLIC).await.expect(200).json()
    };
    // By the person, on the page of the account.
    let token = let_in(&mut grace).await;
    assert!(grace.open("/auth/account").await.expect(200).text().contains("The App"));
    sent_to(
        &grace
            .submit("/auth/account/end-application", &[("client", "app")])
            .await,
        "/auth/account",
    );
    assert_eq!(app.opens(token["access_token"].as_str().unwrap()).await, 401);
    refused(
        app.refresh(token["refresh_token"].as_str().unwrap(), &[]).await,
        400,
        "invalid_grant",
    );
    assert!(!grace.open("/auth/account").await.expect(200).text().contains("The App"));

    // By the application, with either token.
    for kind in ["access_token", "refresh_token"] {
        let token = let_in(&mut grace).await;
        let fields = [("client_id", "app"), ("token", token[kind].as_str().unwrap())];
        app.form("/auth/revoke", &fields).answer().await.expect(200);
        assert_eq!(app.opens(token["access_token"].as_str().unwrap()).await, 401);
    }

    // By another password, and by closing the account.
    let token = let_in(&mut grace).await;
    grace.open("/auth/account").await.expect(200);
    grace
        .submit("/auth/account/password", &[("password", "seven quiet harbours sleep")])
        .await
        .expect(303);
    app.mails_to(GRACE).await;
    assert_eq!(app.opens(token["access_token"].as_str().unwrap()).await, 401);
}

#[tokio::test]
async fn a_grant_is_swept_away_when_nothing_of_it_is_left() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    let code = grace.code(&[("scope", "openid user/*.rs")]).await;
    app.change(&code, &PUBLIC).await.expect(200);
    let code = grace.code(&[]).await;
    let kept = app.change(&code, &PUBLIC).await.expect(200).json();
    let mut connection = app.connection().await;
    tokens::sweep(&mut connection, app.app.clock.now() + SignedDuration::from_hours(2))
        .await
        .unwrap();
    let left: (i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM oauth_grant), (SELECT count(*) FROM access_token)")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(left, (1, 0));
    app.refresh(kept["refresh_token"].as_str().unwrap(), &[])
        .await
        .expect(200);
}

#[tokio::test]
async fn a_refresh_token_ends_with_its_client_its_person_their_consent_and_in_time() {
    let app = spawn_guarded_app().await;
    let mut grace = with_admin(&app).await;
    let mut connection = app.connection().await;
    let past = (app.app.clock.now() - SignedDuration::from_secs(1)).to_sqlx();
    for (what, undo) in [
        ("UPDATE oauth_grant SET ends_at = $1", None),
        ("UPDATE refresh_token SET expires_at = $1", None),
        (
            "UPDATE oauth_client SET enabled = false, created_at = $1",
            Some("UPDATE oauth_client SET enabled = true"),
        ),
        (
            "UPDATE account SET active = false, closed_at = $1, closed_by = 'operator'",
            Some("UPDATE account SET active = true, closed_at = NULL, closed_by = NULL"),
        ),
        ("DELETE FROM oauth_grant WHERE created_at > $1", None),
    ] {
        let code = grace.code(&[]).await;
        let token = app.change(&code, &PUBLIC).await.expect(200).json();
        sqlx::query(what).bind(past).execute(&mut connection).await.unwrap();
        let answer = app.refresh(token["refresh_token"].as_str().unwrap(), &[]).await;
        assert!(
            [400, 401].contains(&answer.status.as_u16()),
            "{what}: {}",
            answer.text()
        );
        if let Some(undo) = undo {
            sqlx::query(undo).execute(&mut connection).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_instances_remember_of_a_token_ends_with_it_and_with_what_stands_for_its_person() {
    let app = spawn_guarded_app().await;
    let other = instance_beside(&app).await;
    app.register_app("app", SCOPE, NewProof::Public).await;
    app.register_backend("lab", "system/*.cruds").await;
    let lab = app.token("lab", "system/*.cruds").await;
    let mut grace = invited(&app, Role::Practitioner).await;
    set_up(&mut grace).await;
    let code = grace.code(&[]).await;
    let token = app.change(&code, &PUBLIC).await.expect(200).json();
    let bearer = token["access_token"].as_str().unwrap();
    let reads = async || {
        let mut statuses = [0; 2];
        for (status, instance) in statuses.iter_mut().zip([&app, &other]) {
            *status = instance
                .get("Patient/p")
                .bearer_auth(bearer)
                .answer()
                .await
                .status
                .as_u16();
        }
        statuses
    };
    let put = async |resource: Value| {
        let text = |name: &str| resource[name].as_str().unwrap().to_owned();
        let path = format!("{}/{}", text("resourceType"), text("id"));
        let answer = other.put(&path).fhir(&resource).bearer_auth(&lab).answer().await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text());
    };
    put(json!({"resourceType": "Organization", "id": "ward", "name": "Ward"})).await;
    put(json!({"resourceType": "Patient", "id": "p"})).await;
    put(json!({
        "resourceType": "CareTeam", "id": "team", "status": "active", "subject": {"reference": "Patient/p"},
        "participant": [{"member": {"reference": "Organization/ward"}}],
    }))
    .await;
    assert_eq!(reads().await, [404, 404]);

    // Her role in the ward begins, is suspended, and goes on; the ward is closed and opened again.
    let practitioner = profile_of(&app, GRACE).await;
    let role = |active: bool| {
        json!({
            "resourceType": "PractitionerRole", "id": "role", "active": active,
            "practitioner": {"reference": practitioner}, "organization": {"reference": "Organization/ward"},
        })
    };
    put(role(true)).await;
    assert_eq!(reads().await, [200, 200]);
    put(role(false)).await;
    assert_eq!(reads().await, [404, 404]);
    put(role(true)).await;
    assert_eq!(reads().await, [200, 200]);
    other
        .delete("Organization/ward")
        .bearer_auth(&lab)
        .answer()
        .await
        .expect(204);
    assert_eq!(reads().await, [404, 404]);
    put(json!({"resourceType": "Organization", "id": "ward", "name": "Ward"})).await;
    assert_eq!(reads().await, [200, 200]);

    // The token itself.
    let fields = [("token", bearer), ("client_id", "app")];
    other.form("/auth/revoke", &fields).answer().await.expect(200);
    assert_eq!(reads().await, [401, 401]);
}
