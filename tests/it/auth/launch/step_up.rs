//! How surely and how freshly a person proved who they are: told to applications, asked for by them, and asked for before
//! something is signed.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::response::IntoResponse;
use medconsult::auth::bearer;
use medconsult::fhir::caller::Caller;
use medconsult::fhir::commit::{Op, Write, commit};

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
    let code = grace.code(&[("max_age", "600")]).await;
    let old = claims(&app.change(&code, &PUBLIC).await.expect(200).json());
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
    assert!(fresh["auth_time"].as_i64() > old["auth_time"].as_i64());

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
    let mut grace = with_admin(&app).await;
    let code = grace.code(&[]).await;
    let tokens = app.change(&code, &PUBLIC).await.expect(200).json();
    let token = tokens["access_token"].as_str().unwrap();
    // Whoever holds the token, as far as their proof goes: what they may write at all is for others to test.
    let holder = async || {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {token}").parse().unwrap())]);
        let auth = app.app.auth.as_deref().unwrap();
        bearer::caller(auth, &headers).await.expect("a caller").practice()
    };
    let signature = json!([{
        "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.1"}],
        "when": "2026-01-01T00:00:00Z", "who": {"display": "Grace Hopper"}, "data": "c2lnbmVk",
    }]);
    let write = async |caller: &Caller, signature: Option<&Value>| {
        let mut resource = json!({
            "resourceType": "Provenance", "target": [{"reference": "MedicationRequest/1"}],
            "recorded": "2026-01-01T00:00:00Z", "agent": [{"who": {"display": "Grace Hopper"}}],
        });
        if let Some(signature) = signature {
            resource["signature"] = signature.clone();
        }
        let write = Write::Create {
            resource,
            if_none_exist: None,
        };
        let written = commit(&app.app.fhir, caller, vec![Op { write, full_url: None }]).await;
        written.map(|_| ()).map_err(|error| error.error.into_response())
    };
    write(&holder().await, Some(&signature))
        .await
        .expect("a fresh signature");
    age(&app, 6).await;
    let refused = write(&holder().await, Some(&signature)).await.unwrap_err();
    assert_eq!(refused.status(), 401);
    assert_eq!(
        refused.headers()["www-authenticate"],
        "Bearer error=\"insufficient_user_authentication\", acr_values=\"https://refeds.org/profile/mfa phr\", max_age=\"300\""
    );
    // What is no signature needs no proof, and a back end has nobody to prove anything.
    write(&holder().await, None).await.expect("no signature");
    write(&Caller::server(), Some(&signature)).await.expect("a back end");
}
