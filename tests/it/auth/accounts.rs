//! Accounts, from signing up to closing.

use serde_json::json;

use super::spawn_guarded_app;
use super::visitor::{Visitor, sent_to};
use crate::app::{Ask, TestApp};
use medconsult::auth::accounts::Account;
use medconsult::auth::factors::Shown;
use medconsult::auth::sessions::{NewSession, Session};

const ADA: &str = "ada@clinic.example";
const PASSWORD: &str = "plover wants eleven lamps";
const OTHER_PASSWORD: &str = "seven quiet harbours sleep";

/// A patient who is signed in.
async fn signed_in(app: &TestApp) -> Visitor<'_> {
    let mut ada = app.visitor();
    ada.sign_up(ADA, PASSWORD).await;
    sent_to(&ada.sign_in(ADA, PASSWORD).await, "/auth/account");
    ada
}

#[tokio::test]
async fn a_patient_signs_up_and_stands_in_the_records() {
    let app = spawn_guarded_app().await;
    let mut ada = app.visitor();
    ada.open("/auth/sign-up").await.expect(200);
    let fields = [
        ("given", " Ada "),
        ("family", "Lovelace"),
        ("email", "Ada@Clinic.Example"),
        ("password", PASSWORD),
    ];
    sent_to(&ada.submit("/auth/sign-up", &fields).await, "/auth/check-mail");
    // Before the address is proved there is neither an account nor a record.
    ada.open("/auth/sign-in").await.expect(200);
    ada.submit("/auth/sign-in", &[("email", ADA), ("password", PASSWORD)])
        .await
        .expect(401);
    app.register_backend("lab", "system/*.rs").await;
    let token = app.token("lab", "system/*.rs").await;
    let count = async |path: &str| app.get(path).bearer_auth(&token).answer().await.expect(200).json()["total"].clone();
    assert_eq!(count("Patient?_total=accurate").await, json!(0));

    let link = app.mailed_link(ADA).await;
    // Opening the link does nothing yet: mail programs open links by themselves.
    ada.open(&link).await.expect(200);
    assert_eq!(count("Patient?_total=accurate").await, json!(0));
    let secret = link.split_once("link=").unwrap().1;
    sent_to(&ada.submit("/auth/confirm", &[("link", secret)]).await, "/auth/sign-in");
    ada.open(&link).await.expect(410);
    let told = app.mails_to(ADA).await;
    assert!(told.len() == 1 && told[0].contains("Your account is open"), "{told:?}");

    sent_to(&ada.sign_in(ADA, PASSWORD).await, "/auth/account");
    let page = ada.open("/auth/account").await.expect(200).text();
    assert!(page.contains("Ada Lovelace, patient") && page.contains(ADA), "{page}");

    let found = app
        .get("Person?name=lovelace")
        .bearer_auth(&token)
        .answer()
        .await
        .expect(200)
        .json();
    let person = &found["entry"][0]["resource"];
    let patient = person["link"][0]["target"]["reference"].as_str().unwrap();
    let patient = app.get(patient).bearer_auth(&token).answer().await.expect(200).json();
    assert_eq!(
        (&patient["resourceType"], &patient["name"][0]["given"][0]),
        (&json!("Patient"), &json!("Ada"))
    );
    assert!(
        !found.to_string().contains("clinic.example"),
        "an address for signing in is not part of the record"
    );
}

#[tokio::test]
async fn nobody_learns_whether_an_address_has_an_account() {
    let app = spawn_guarded_app().await;
    signed_in(&app).await;
    let mut eve = app.visitor();
    eve.open("/auth/sign-up").await.expect(200);
    let fields = [
        ("given", "Eve"),
        ("family", "E"),
        ("email", ADA),
        ("password", OTHER_PASSWORD),
    ];
    sent_to(&eve.submit("/auth/sign-up", &fields).await, "/auth/check-mail");
    let mails = app.mails_to(ADA).await;
    assert!(
        mails.len() == 1 && mails[0].contains("You already have an account"),
        "{mails:?}"
    );

    for address in [ADA, "nobody@clinic.example"] {
        eve.open("/auth/forgot").await.expect(200);
        sent_to(
            &eve.submit("/auth/forgot", &[("email", address)]).await,
            "/auth/check-mail",
        );
    }
    assert_eq!(app.mails_to(ADA).await.len(), 1);

    let wrong = eve.sign_in(ADA, OTHER_PASSWORD).await.expect(401).text();
    let unknown = eve
        .sign_in("nobody@clinic.example", OTHER_PASSWORD)
        .await
        .expect(401)
        .text();
    assert_eq!(wrong.replace(ADA, "x"), unknown.replace("nobody@clinic.example", "x"));
}

#[tokio::test]
async fn whoever_signs_up_first_does_not_own_the_address() {
    let app = spawn_guarded_app().await;
    let mut eve = app.visitor();
    eve.open("/auth/sign-up").await.expect(200);
    let fields = [
        ("given", "Ada"),
        ("family", "L"),
        ("email", ADA),
        ("password", OTHER_PASSWORD),
    ];
    sent_to(&eve.submit("/auth/sign-up", &fields).await, "/auth/check-mail");
    app.mailed_link(ADA).await;
    // The owner of the address signs up as well, and follows the link of her own form.
    let mut ada = app.visitor();
    ada.sign_up(ADA, PASSWORD).await;
    eve.sign_in(ADA, OTHER_PASSWORD).await.expect(401);
    sent_to(&ada.sign_in(ADA, PASSWORD).await, "/auth/account");
}

#[tokio::test]
async fn weak_passwords_and_half_filled_forms_are_sent_back() {
    let app = spawn_guarded_app().await;
    let mut ada = app.visitor();
    for (field, value, sentence) in [
        ("password", "password123", "too easy to guess"),
        ("password", "short", "at least 8"),
        ("email", "nonsense", "an e-mail address"),
        ("family", " ", "Fill in your family name"),
    ] {
        ada.open("/auth/sign-up").await.expect(200);
        let mut fields = vec![
            ("given", "Ada"),
            ("family", "L"),
            ("email", ADA),
            ("password", PASSWORD),
        ];
        fields.retain(|(name, _)| *name != field);
        fields.push((field, value));
        let page = ada.submit("/auth/sign-up", &fields).await.expect(200).text();
        assert!(page.contains(sentence) && page.contains("role=\"alert\""), "{page}");
        assert!(!page.contains(PASSWORD));
    }
    assert!(app.mails_to(ADA).await.is_empty());
}

#[tokio::test]
async fn forms_that_are_not_ours_are_refused() {
    let app = spawn_guarded_app().await;
    let mut ada = signed_in(&app).await;
    ada.open("/auth/account").await.expect(200);
    let token = ada.form_token.clone();
    let mut eve = app.visitor();
    eve.open("/auth/sign-in").await.expect(200);
    let foreign = eve.form_token.clone();
    for fields in [
        vec![],
        vec![("form_token", "")],
        vec![("form_token", foreign.as_str())],
        vec![("form_token", "é")],
    ] {
        ada.submit_raw("/auth/account/end-sessions", &fields, &[])
            .await
            .expect(403);
    }
    let ours = [("form_token", token.as_str())];
    for site in ["cross-site", "same-site", "none"] {
        ada.submit_raw("/auth/account/end-sessions", &ours, &[("sec-fetch-site", site)])
            .await
            .expect(403);
    }
    let answer = ada
        .submit_raw(
            "/auth/account/end-sessions",
            &ours,
            &[("sec-fetch-site", "same-origin")],
        )
        .await;
    sent_to(&answer, "/auth/account");
    // No web page of another origin reads ours, and nobody sends a form by GET.
    let answer = app
        .get("/auth/sign-in")
        .header("origin", "https://evil.example")
        .answer()
        .await
        .expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "");
    app.get("/auth/account/close").answer().await.expect(405);
}

#[tokio::test]
async fn a_cookie_that_was_planted_is_worth_nothing_after_signing_in() {
    let app = spawn_guarded_app().await;
    let mut ada = app.visitor();
    ada.sign_up(ADA, PASSWORD).await;
    ada.open("/auth/sign-in").await.expect(200);
    let planted = ada.cookies.clone();
    sent_to(&ada.sign_in(ADA, PASSWORD).await, "/auth/account");
    assert_ne!(planted, ada.cookies);
    let mut eve = app.visitor();
    eve.cookies = planted;
    sent_to(&eve.open("/auth/account").await, "/auth/sign-in");

    // Signing out ends the session, not only the cookie.
    let stolen = ada.cookies.clone();
    ada.open("/auth/account").await.expect(200);
    sent_to(&ada.submit("/auth/sign-out", &[]).await, "/auth/sign-in");
    eve.cookies = stolen;
    sent_to(&eve.open("/auth/account").await, "/auth/sign-in");
}

#[tokio::test]
async fn passwords_are_guessed_ten_times_only() {
    let app = spawn_guarded_app().await;
    let mut ada = app.visitor();
    ada.sign_up(ADA, PASSWORD).await;
    for address in [ADA, "nobody@clinic.example"] {
        for _ in 0..10 {
            ada.sign_in(address, "wrong and wrong again").await.expect(401);
        }
        let answer = ada.sign_in(address, PASSWORD).await.expect(429);
        assert_eq!(answer.header("retry-after"), "900");
    }
    // Another account is still open from here.
    ada.sign_in("other@clinic.example", PASSWORD).await.expect(401);
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_and_every_session_ends() {
    let app = spawn_guarded_app().await;
    let mut ada = signed_in(&app).await;
    let mut elsewhere = app.visitor();
    elsewhere.open("/auth/forgot").await.expect(200);
    sent_to(
        &elsewhere
            .submit("/auth/forgot", &[("email", " ADA@clinic.example")])
            .await,
        "/auth/check-mail",
    );
    let link = app.mailed_link(ADA).await;
    let secret = link.split_once("link=").unwrap().1.to_owned();
    elsewhere.open(&link).await.expect(200);
    let weak = elsewhere
        .submit("/auth/confirm", &[("link", &secret), ("password", "ada12345")])
        .await
        .expect(200);
    assert!(weak.text().contains("too easy"));
    let chosen = elsewhere
        .submit("/auth/confirm", &[("link", &secret), ("password", OTHER_PASSWORD)])
        .await;
    sent_to(&chosen, "/auth/sign-in");
    elsewhere
        .submit("/auth/confirm", &[("link", &secret), ("password", PASSWORD)])
        .await
        .expect(410);
    assert!(app.mails_to(ADA).await[0].contains("Your account was changed"));

    sent_to(&ada.open("/auth/account").await, "/auth/sign-in");
    ada.sign_in(ADA, PASSWORD).await.expect(401);
    sent_to(&ada.sign_in(ADA, OTHER_PASSWORD).await, "/auth/account");
}

#[tokio::test]
async fn an_account_moves_to_another_address() {
    let app = spawn_guarded_app().await;
    let mut ada = signed_in(&app).await;
    ada.open("/auth/account").await.expect(200);
    let new = "ada@home.example";
    sent_to(
        &ada.submit("/auth/account/email", &[("email", new)]).await,
        "/auth/check-mail",
    );
    let link = app.mailed_link(new).await;
    ada.open(&link).await.expect(200);
    let secret = link.split_once("link=").unwrap().1.to_owned();
    sent_to(
        &ada.submit("/auth/confirm", &[("link", &secret)]).await,
        "/auth/account",
    );
    assert!(ada.open("/auth/account").await.expect(200).text().contains(new));
    let mut again = app.visitor();
    again.sign_in(ADA, PASSWORD).await.expect(401);
    sent_to(&again.sign_in(new, PASSWORD).await, "/auth/account");
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let app = spawn_guarded_app().await;
    let mut here = signed_in(&app).await;
    let (mut there, mut third) = (app.visitor(), app.visitor());
    there.sign_in(ADA, PASSWORD).await;
    third.sign_in(ADA, PASSWORD).await;
    let page = here.open("/auth/account").await.expect(200).text();
    let ids: Vec<&str> = page
        .split("name=\"session\" value=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(ids.len(), 3);

    // A stranger cannot end them.
    let mut eve = app.visitor();
    eve.sign_up("eve@clinic.example", OTHER_PASSWORD).await;
    eve.sign_in("eve@clinic.example", OTHER_PASSWORD).await;
    eve.open("/auth/account").await.expect(200);
    for id in &ids {
        eve.submit("/auth/account/end-session", &[("session", id)]).await;
    }
    there.open("/auth/account").await.expect(200);

    here.submit("/auth/account/end-sessions", &[]).await;
    here.open("/auth/account").await.expect(200);
    sent_to(&there.open("/auth/account").await, "/auth/sign-in");
    sent_to(&third.open("/auth/account").await, "/auth/sign-in");
}

#[tokio::test]
async fn what_protects_an_account_asks_for_a_fresh_proof() {
    let app = spawn_guarded_app().await;
    let mut ada = signed_in(&app).await;
    let mut connection = app.connection().await;
    sqlx::query("UPDATE session SET proved_at = proved_at - interval '11 minutes'")
        .execute(&mut connection)
        .await
        .unwrap();
    ada.open("/auth/account").await.expect(200);
    for path in [
        "/auth/account/password",
        "/auth/account/email",
        "/auth/second-factor/remove",
        "/auth/second-factor/mail-codes",
        "/auth/second-factor/backup-codes",
        "/auth/passkeys/remove",
    ] {
        let fields = [("password", OTHER_PASSWORD), ("email", "eve@clinic.example")];
        sent_to(
            &ada.submit(path, &fields).await,
            "/auth/prove?next=%2Fauth%2Faccount%2Fsecurity",
        );
    }
    sent_to(
        &ada.submit("/auth/account/close", &[]).await,
        "/auth/prove?next=%2Fauth%2Faccount",
    );
    for path in ["/auth/second-factor/set-up", "/auth/passkeys"] {
        sent_to(&ada.open(path).await, "/auth/prove?next=%2Fauth%2Faccount%2Fsecurity");
    }
    ada.open("/auth/prove").await.expect(200);
    ada.submit("/auth/prove", &[("password", OTHER_PASSWORD)])
        .await
        .expect(401);
    sent_to(
        &ada.submit("/auth/prove", &[("password", PASSWORD)]).await,
        "/auth/account",
    );
    ada.open("/auth/account/security").await.expect(200);
    sent_to(
        &ada.submit("/auth/account/password", &[("password", OTHER_PASSWORD)])
            .await,
        "/auth/sign-in",
    );
    assert_eq!(app.mails_to(ADA).await.len(), 1);
    sent_to(&ada.sign_in(ADA, OTHER_PASSWORD).await, "/auth/account");
}

#[tokio::test]
async fn sessions_end_by_themselves() {
    let app = spawn_guarded_app().await;
    let mut ada = signed_in(&app).await;
    let mut connection = app.connection().await;
    sqlx::query("UPDATE session SET last_seen_at = last_seen_at - interval '59 minutes'")
        .execute(&mut connection)
        .await
        .unwrap();
    ada.open("/auth/account").await.expect(200);
    sqlx::query("UPDATE session SET last_seen_at = last_seen_at - interval '61 minutes'")
        .execute(&mut connection)
        .await
        .unwrap();
    sent_to(&ada.open("/auth/account").await, "/auth/sign-in");
    ada.sign_in(ADA, PASSWORD).await;
    sqlx::query("UPDATE session SET expires_at = expires_at - interval '12 hours'")
        .execute(&mut connection)
        .await
        .unwrap();
    sent_to(&ada.open("/auth/account").await, "/auth/sign-in");
}

#[tokio::test]
async fn a_closed_account_is_closed_and_the_record_stays() {
    let app = spawn_guarded_app().await;
    let mut ada = signed_in(&app).await;
    ada.open("/auth/account").await.expect(200);
    sent_to(&ada.submit("/auth/account/close", &[]).await, "/auth/sign-in");
    sent_to(&ada.open("/auth/account").await, "/auth/sign-in");
    ada.sign_in(ADA, PASSWORD).await.expect(401);
    app.register_backend("lab", "system/*.rs").await;
    let token = app.token("lab", "system/*.rs").await;
    let found = app
        .get("Patient?name=lovelace")
        .bearer_auth(&token)
        .answer()
        .await
        .expect(200)
        .json();
    assert_eq!(found["entry"].as_array().unwrap().len(), 1);
    assert!(app.mails_to(ADA).await[0].contains("Your account was closed"));
}

/// Asks for another password; gives the only mail that follows.
async fn forgotten(app: &TestApp) -> String {
    let mut visitor = app.visitor();
    visitor.open("/auth/forgot").await.expect(200);
    sent_to(
        &visitor.submit("/auth/forgot", &[("email", ADA)]).await,
        "/auth/check-mail",
    );
    let mails = app.mails_to(ADA).await;
    assert_eq!(mails.len(), 1, "{mails:?}");
    mails[0].replace("=\r\n", "").replace("=3D", "=")
}

fn link_in<'m>(app: &TestApp, mail: &'m str) -> &'m str {
    let link = mail.lines().find_map(|line| line.strip_prefix(app.address.as_str()));
    link.expect("a link").trim_end()
}

#[tokio::test]
async fn who_closed_their_account_opens_it_again_by_mail_for_a_month() {
    let app = spawn_guarded_app().await;
    let mut ada = signed_in(&app).await;
    let old_reset = forgotten(&app).await;
    ada.open("/auth/account").await.expect(200);
    sent_to(&ada.submit("/auth/account/close", &[]).await, "/auth/sign-in");
    assert_eq!(app.mails_to(ADA).await.len(), 1);
    // A link of before does not get around it.
    ada.open(link_in(&app, &old_reset)).await.expect(410);

    // Signing up again leads the same way, and tells nobody but the owner.
    ada.open("/auth/sign-up").await.expect(200);
    let fields = [
        ("given", "Ada"),
        ("family", "L"),
        ("email", ADA),
        ("password", OTHER_PASSWORD),
    ];
    sent_to(&ada.submit("/auth/sign-up", &fields).await, "/auth/check-mail");
    assert!(app.mails_to(ADA).await[0].contains("You already have an account"));

    let mail = forgotten(&app).await;
    assert!(mail.contains("Subject: Open your account again"), "{mail}");
    let link = link_in(&app, &mail);
    ada.open(link).await.expect(200);
    let secret = link.split_once("link=").unwrap().1;
    let fields = [("link", secret), ("password", OTHER_PASSWORD)];
    sent_to(&ada.submit("/auth/confirm", &fields).await, "/auth/sign-in");
    ada.submit("/auth/confirm", &fields).await.expect(410);
    assert!(app.mails_to(ADA).await[0].contains("opened again"));
    ada.sign_in(ADA, PASSWORD).await.expect(401);
    sent_to(&ada.sign_in(ADA, OTHER_PASSWORD).await, "/auth/account");

    // After a month, or when the practice closed it, only the practice opens it.
    let mut connection = app.connection().await;
    // So many mails in an hour would be held back.
    sqlx::query("DELETE FROM attempt")
        .execute(&mut connection)
        .await
        .unwrap();
    for (by, ago) in [("owner", "31 days"), ("operator", "1 day")] {
        sqlx::query("UPDATE account SET active = false, closed_by = $1, closed_at = now() - $2::interval")
            .bind(by)
            .bind(ago)
            .execute(&mut connection)
            .await
            .unwrap();
        let mail = forgotten(&app).await;
        assert!(
            mail.contains("Subject: Your account is closed") && !mail.contains("link="),
            "{mail}"
        );
    }
}

#[tokio::test]
async fn a_sign_in_that_crosses_a_change_of_the_password_does_not_outlive_it() {
    let app = spawn_guarded_app().await;
    let auth = app.app.auth.as_deref().unwrap();
    signed_in(&app).await;
    let (account, kept) = Account::by_email(&auth.pool, ADA).await.unwrap().unwrap();
    let mut change = auth.pool.begin().await.unwrap();
    Account::set_password(&mut change, &account.id, "$argon2id$another")
        .await
        .unwrap();
    // Whoever knows the old password has proved it by now, and begins a session before the change is committed.
    let (pool, ids, now) = (auth.pool.clone(), auth.ids.clone(), auth.clock.now());
    let begin = tokio::spawn(async move {
        let new = NewSession {
            account: &account.id,
            password: Some(&kept),
            shown: &Shown::password(),
            complete: true,
            device: "a thief's",
        };
        Session::begin(&pool, &ids, now, &new).await.unwrap()
    });
    let mut connection = app.connection().await;
    let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid')";
    while !sqlx::query_scalar::<_, bool>(waits)
        .fetch_one(&mut connection)
        .await
        .unwrap()
    {
        tokio::task::yield_now().await;
    }
    change.commit().await.unwrap();
    assert_eq!(begin.await.unwrap(), None);
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM session")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, 0);
}
