//! How surely and how freshly a person proved who they are: told to applications, asked for by them, and asked for before
//! something is signed.

use super::*;

/// What the id_token says.
fn claims(tokens: &Value) -> Value {
    let payload = tokens["id_token"]
        .as_str()
        .unwrap()
        .split('.')
        .nth(1)
        .unwrap()
        .to_owned();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// Lets the proofs of all sessions and grants be this much older.
async fn age(app: &TestApp, minutes: i32) {
    let mut connection = app.connection().await;
    for table in ["session", "oauth_grant"] {
        let sql = format!("UPDATE {table} SET proved_at = proved_at - make_interval(mins => $1)");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(minutes)
            .execute(&mut connection)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn applications_ask_for_a_fresh_or_stronger_proof() {
    let app = spawn_guarded_app().await;
    app.register_app("app", SCOPE, NewProof::Public).await;
    let mut grace = invited(&app, Role::Admin).await;
    let (_, codes) = set_up(&mut grace).await;
    let code = grace
        .code(&[("acr_values", "phr https://refeds.org/profile/mfa")])
        .await;
    let told = claims(&app.change(&code, &PUBLIC).await.expect(200).json());
    assert_eq!(
        (&told["acr"], &told["amr"]),
        (&json!("https://refeds.org/profile/mfa"), &json!(["pwd", "otp", "mfa"]))
    );

    age(&app, 8).await;
    grace.authorize(&[("max_age", "600")]).await.expect(200);
    for changes in [("max_age", "300"), ("max_age", "0"), ("prompt", "login")] {
        let answer = grace.authorize(&[changes]).await.expect(303);
        let location = answer.header("location");
        assert!(
            location.starts_with("/auth/prove?next=%2Fauth%2Fauthorize%3F"),
            "{location}"
        );
    }
    for (changes, error) in [
        (vec![("max_age", "300"), ("prompt", "none")], "login_required"),
        (vec![("acr_values", "phr")], "unmet_authentication_requirements"),
        (vec![("acr_values", "gold")], "unmet_authentication_requirements"),
        (vec![("max_age", "soon")], "invalid_request"),
    ] {
        let answer = grace.authorize(&changes).await;
        assert_eq!(parameters(&answer)["error"], error, "{changes:?}");
    }

    // Proved again, the request goes on, and the application is told when that was.
    let answer = grace.authorize(&[("prompt", "login"), ("max_age", "300")]).await;
    let page = grace.open(answer.header("location")).await.expect(200).text();
    let next = page
        .split("name=\"next\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let next = next.replace("&amp;", "&");
    let fields = [("password", PASSWORD), ("code", codes[0].as_str()), ("next", &next)];
    sent_to(&grace.submit("/auth/prove", &fields).await, &next);
    let page = grace.open(&next).await.expect(200);
    let back = parameters(&grace.decide(&page, "allow", |_| true).await);
    let tokens = app
        .change(back["code"].as_str().unwrap(), &PUBLIC)
        .await
        .expect(200)
        .json();
    let fresh = claims(&tokens);
    assert!(fresh["auth_time"].as_i64() > told["auth_time"].as_i64());

    let metadata = app
        .get("/.well-known/openid-configuration")
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(
        metadata["acr_values_supported"],
        json!([
            "https://refeds.org/profile/sfa",
            "https://refeds.org/profile/mfa",
            "phr"
        ])
    );
}

#[tokio::test]
async fn signing_asks_for_a_fresh_proof() {
    let app = spawn_guarded_app().await;
    app.register_app("app", SCOPE, NewProof::Public).await;
    let mut grace = invited(&app, Role::Practitioner).await;
    set_up(&mut grace).await;
    let mut connection = app.connection().await;
    let grace_is: String = sqlx::query_scalar("SELECT profile FROM account")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    app.register_backend("lab", "system/*.cruds").await;
    let lab = app.token("lab", "system/*.cruds").await;
    let patient = json!({"resourceType": "Patient", "id": "ada", "generalPractitioner": [{"reference": grace_is}]});
    app.put("Patient/ada")
        .bearer_auth(&lab)
        .fhir(&patient)
        .answer()
        .await
        .expect(201);

    let code = grace.code(&[]).await;
    let token = app.change(&code, &PUBLIC).await.expect(200).json()["access_token"].clone();
    let sign = async |token: &str, signature: Option<Value>| {
        let mut provenance = json!({
            "resourceType": "Provenance", "target": [{"reference": "Patient/ada"}], "recorded": "2026-01-01T00:00:00Z",
            "agent": [{"who": {"reference": grace_is}}],
        });
        if let Some(signature) = signature {
            provenance["signature"] = json!([signature]);
        }
        app.post("Provenance")
            .bearer_auth(token)
            .fhir(&provenance)
            .answer()
            .await
    };
    let signature = json!({
        "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.1"}],
        "when": "2026-01-01T00:00:00Z", "who": {"reference": grace_is}, "data": "c2lnbmVk",
    });
    let token = token.as_str().unwrap();
    sign(token, Some(signature.clone())).await.expect(201);
    age(&app, 6).await;
    let refused = sign(token, Some(signature.clone())).await.expect(401);
    assert_eq!(
        refused.header("www-authenticate"),
        "Bearer error=\"insufficient_user_authentication\", acr_values=\"https://refeds.org/profile/mfa phr\", max_age=\"300\""
    );
    assert_eq!(refused.json()["issue"][0]["code"], "login");
    // What is no signature needs no proof, and a back end has nobody to prove anything.
    sign(token, None).await.expect(201);
    sign(&lab, Some(signature)).await.expect(201);
}
