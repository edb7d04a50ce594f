//! Second factors: who must have one, how it is set up, and that each code is good once.

use jiff::SignedDuration;
use totp_rs::{Algorithm, Builder, Secret};

use super::visitor::{Visitor, sent_to};
use super::{guard, spawn_guarded_app};
use crate::app::{Ask, TestApp, spawn_app_with};
use medconsult::app::App;
use medconsult::auth::accounts::Role;
use medconsult::auth::links::{Link, Purpose};
use medconsult::base::{Clock, IdGenerator};
use medconsult::config::FactorDemand;

pub(super) const GRACE: &str = "grace@clinic.example";
pub(super) const PASSWORD: &str = "plover wants eleven lamps";

/// The app on a phone. Its clock can be moved, so that a test need not wait for the next code.
pub(super) struct Phone {
    key: String,
    /// The code that proved at the set-up that the app has the key.
    first_code: String,
}

impl Phone {
    /// Reads the key off the page.
    fn scan(page: &str) -> Phone {
        let (_, rest) = page.split_once("into the app: <code>").expect("the key");
        Phone {
            key: rest.split('<').next().unwrap().to_owned(),
            first_code: String::new(),
        }
    }

    fn code(&self, app: &TestApp, later: i64) -> String {
        let secret = Secret::try_from_base32(&self.key).unwrap();
        let totp = Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_secret(secret)
            .build()
            .unwrap();
        let second = (app.app.clock.now() + SignedDuration::from_secs(later)).as_second();
        totp.generate(second as u64).to_string()
    }
}

/// Somebody who was invited, opened an account and signed in with the password.
pub(super) async fn invited(app: &TestApp, role: Role) -> Visitor<'_> {
    let link = Link {
        email: GRACE.to_owned(),
        purpose: Purpose::Invitation { role },
    };
    let secret = link.store(&app.app.database.write, app.app.clock.now()).await.unwrap();
    let mut grace = app.visitor();
    grace.open(&format!("/auth/confirm?link={secret}")).await.expect(200);
    let fields = [
        ("link", secret.as_str()),
        ("given", "Grace"),
        ("family", "Hopper"),
        ("password", PASSWORD),
    ];
    sent_to(&grace.submit("/auth/confirm", &fields).await, "/auth/sign-in");
    app.app.worker().run_due().await.unwrap();
    grace.sign_in(GRACE, PASSWORD).await.expect(303);
    grace
}

/// Sets an authenticator up; gives the phone and the codes on paper.
pub(super) async fn set_up(grace: &mut Visitor<'_>) -> (Phone, Vec<String>) {
    let page = grace.open("/auth/second-factor/set-up").await.expect(200).text();
    let mut phone = Phone::scan(&page);
    let sealed = page
        .split_once("name=\"sealed\" value=\"")
        .unwrap()
        .1
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let wrong = grace
        .submit("/auth/second-factor/set-up", &[("sealed", &sealed), ("code", "000000")])
        .await
        .expect(200);
    assert!(wrong.text().contains("not right"));
    phone.first_code = phone.code(grace.app, 0);
    let fields = [("sealed", sealed.as_str()), ("code", phone.first_code.as_str())];
    let page = grace
        .submit("/auth/second-factor/set-up", &fields)
        .await
        .expect(200)
        .text();
    let codes: Vec<String> = page
        .split("<li>")
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap().to_owned())
        .collect();
    assert_eq!(codes.len(), 10);
    assert_eq!(grace.app.mails_to(GRACE).await.len(), 1);
    (phone, codes)
}

#[tokio::test]
async fn practitioners_and_administrators_must_have_one() {
    for role in [Role::Practitioner, Role::Admin] {
        let app = spawn_guarded_app().await;
        let mut grace = invited(&app, role).await;
        for path in ["/auth/account", "/auth/invite", "/auth/prove"] {
            sent_to(&grace.open(path).await, "/auth/second-factor/set-up");
        }
        let (phone, _) = set_up(&mut grace).await;
        assert!(
            grace
                .open("/auth/account")
                .await
                .expect(200)
                .text()
                .contains(&format!("Grace Hopper, {role}"))
        );
        grace.submit("/auth/second-factor/remove", &[]).await.expect(403);

        let mut again = app.visitor();
        sent_to(
            &again.sign_in(GRACE, PASSWORD).await,
            "/auth/second-factor?next=%2Fauth%2Faccount",
        );
        sent_to(&again.open("/auth/account").await, "/auth/second-factor");
        // Another authenticator cannot be set up to get around the first.
        sent_to(&again.open("/auth/second-factor/set-up").await, "/auth/second-factor");
        again.open("/auth/second-factor").await.expect(200);
        again
            .submit("/auth/second-factor", &[("code", "000000")])
            .await
            .expect(401);
        // The code that set it up is used already; the next one is good, once.
        again
            .submit("/auth/second-factor", &[("code", &phone.first_code)])
            .await
            .expect(401);
        let next = phone.code(&app, 30);
        sent_to(
            &again.submit("/auth/second-factor", &[("code", &next)]).await,
            "/auth/account",
        );
        again.open("/auth/account").await.expect(200);
        let mut third = app.visitor();
        third.sign_in(GRACE, PASSWORD).await;
        third.open("/auth/second-factor").await.expect(200);
        third
            .submit("/auth/second-factor", &[("code", &next)])
            .await
            .expect(401);
    }
}

#[tokio::test]
async fn a_code_on_paper_is_good_once() {
    let app = spawn_guarded_app().await;
    let mut grace = invited(&app, Role::Practitioner).await;
    let (_, codes) = set_up(&mut grace).await;
    let enter = async |code: &str| {
        let mut visitor = app.visitor();
        visitor.sign_in(GRACE, PASSWORD).await;
        visitor.open("/auth/second-factor").await.expect(200);
        visitor
            .submit("/auth/second-factor", &[("code", code)])
            .await
            .status
            .as_u16()
    };
    assert_eq!(enter(&codes[0].to_uppercase().replace('-', " ")).await, 303);
    assert_eq!(enter(&codes[0]).await, 401);
    assert_eq!(enter(&codes[1]).await, 303);

    grace.open("/auth/account").await.expect(200);
    grace.submit("/auth/second-factor/backup-codes", &[]).await.expect(200);
    assert_eq!(enter(&codes[2]).await, 401);
    assert_eq!(app.mails_to(GRACE).await.len(), 1);
}

#[tokio::test]
async fn a_remembered_browser_is_not_asked_again() {
    let app = spawn_guarded_app().await;
    let mut grace = invited(&app, Role::Admin).await;
    let (_, codes) = set_up(&mut grace).await;
    let mut browser = app.visitor();
    browser.sign_in(GRACE, PASSWORD).await;
    browser.open("/auth/second-factor").await.expect(200);
    let fields = [("code", codes[0].as_str()), ("remember", "yes")];
    sent_to(&browser.submit("/auth/second-factor", &fields).await, "/auth/account");
    browser.open("/auth/account").await.expect(200);
    browser.submit("/auth/sign-out", &[]).await;
    sent_to(&browser.sign_in(GRACE, PASSWORD).await, "/auth/account");
    // Not for another person, and not without the cookie.
    browser.cookies.remove("medconsult-device");
    sent_to(
        &browser.sign_in(GRACE, PASSWORD).await,
        "/auth/second-factor?next=%2Fauth%2Faccount",
    );
}

#[tokio::test]
async fn a_remembered_browser_does_not_stand_in_for_the_factor() {
    let app = spawn_guarded_app().await;
    let mut grace = invited(&app, Role::Practitioner).await;
    let (_, codes) = set_up(&mut grace).await;
    let mut browser = app.visitor();
    browser.sign_in(GRACE, PASSWORD).await;
    browser.open("/auth/second-factor").await.expect(200);
    let fields = [("code", codes[0].as_str()), ("remember", "yes")];
    sent_to(&browser.submit("/auth/second-factor", &fields).await, "/auth/account");
    browser.open("/auth/account").await.expect(200);
    browser.submit("/auth/sign-out", &[]).await;
    sent_to(&browser.sign_in(GRACE, PASSWORD).await, "/auth/account");
    browser.open("/auth/account").await.expect(200);
    // Whoever has the browser and the password sees the account, and cannot take it over.
    for path in ["/auth/second-factor/backup-codes", "/auth/account/email"] {
        sent_to(
            &browser.submit(path, &[("email", "eve@clinic.example")]).await,
            "/auth/prove?next=%2Fauth%2Faccount%2Fsecurity",
        );
    }
    browser.open("/auth/prove").await.expect(200);
    browser
        .submit("/auth/prove", &[("password", PASSWORD)])
        .await
        .expect(401);
    let both = [("password", PASSWORD), ("code", codes[1].as_str())];
    sent_to(&browser.submit("/auth/prove", &both).await, "/auth/account");
    browser.open("/auth/account/security").await.expect(200);
    browser
        .submit("/auth/second-factor/backup-codes", &[])
        .await
        .expect(200);
    assert_eq!(app.mails_to(GRACE).await.len(), 1);
}

#[tokio::test]
async fn each_proof_changes_the_cookie() {
    let app = spawn_guarded_app().await;
    let mut grace = invited(&app, Role::Admin).await;
    let (phone, _) = set_up(&mut grace).await;
    grace.open("/auth/account").await.expect(200);
    let set_up_with = grace.cookies["medconsult"].clone();
    let mut browser = app.visitor();
    browser.sign_in(GRACE, PASSWORD).await;
    let by_password = browser.cookies["medconsult"].clone();
    browser.open("/auth/second-factor").await.expect(200);
    let code = phone.code(&app, 30);
    sent_to(
        &browser.submit("/auth/second-factor", &[("code", &code)]).await,
        "/auth/account",
    );
    let by_both = browser.cookies["medconsult"].clone();
    assert!(by_both != by_password && by_both != set_up_with);
    // Who came by the cookie of before has nothing.
    let mut thief = app.visitor();
    thief.cookies.insert("medconsult".to_owned(), by_password);
    sent_to(&thief.open("/auth/account").await, "/auth/sign-in");
    sent_to(&thief.open("/auth/second-factor").await, "/auth/sign-in");
    browser.open("/auth/account").await.expect(200);
}

/// The code in the only mail that this address got.
async fn mailed_code(app: &TestApp, address: &str) -> String {
    let mails = app.mails_to(address).await;
    assert_eq!(mails.len(), 1, "{mails:?}");
    let is_code = |line: &&str| line.len() == 8 && line.bytes().all(|byte| byte.is_ascii_digit());
    mails[0].lines().find(is_code).expect("a code").to_owned()
}

#[tokio::test]
async fn a_code_by_mail_is_good_once_for_its_session() {
    const ADA: &str = "ada@clinic.example";
    let app = spawn_guarded_app().await;
    let mut ada = app.visitor();
    ada.sign_up(ADA, PASSWORD).await;
    ada.sign_in(ADA, PASSWORD).await;
    ada.open("/auth/account/security").await.expect(200);
    let chosen = ada.submit("/auth/second-factor/mail-codes", &[("chosen", "yes")]).await;
    sent_to(&chosen, "/auth/account/security");
    assert_eq!(app.mails_to(ADA).await.len(), 1);

    let (mut here, mut there) = (app.visitor(), app.visitor());
    for browser in [&mut here, &mut there] {
        sent_to(
            &browser.sign_in(ADA, PASSWORD).await,
            "/auth/second-factor?next=%2Fauth%2Faccount",
        );
        browser.open("/auth/second-factor").await.expect(200);
    }
    let asked = here.submit("/auth/second-factor/mail", &[]).await;
    sent_to(&asked, "/auth/second-factor?next=%2Fauth%2Faccount");
    let first = mailed_code(&app, ADA).await;
    here.submit("/auth/second-factor/mail", &[]).await.expect(303);
    let second = mailed_code(&app, ADA).await;
    let enter = async |browser: &mut Visitor<'_>, code: &str| {
        browser
            .submit("/auth/second-factor", &[("code", code)])
            .await
            .status
            .as_u16()
    };
    assert_eq!(enter(&mut here, &first).await, 401);
    assert_eq!(enter(&mut there, &second).await, 401);
    assert_eq!(enter(&mut here, &second).await, 303);
    here.open("/auth/account/security").await.expect(200);
    assert_eq!(enter(&mut here, &second).await, 401);

    // Kept sealed, for ten minutes, and mailed five times in a quarter of an hour.
    there.submit("/auth/second-factor/mail", &[]).await.expect(303);
    let late = mailed_code(&app, ADA).await;
    let mut connection = app.connection().await;
    let sealed: Vec<u8> = sqlx::query_scalar("UPDATE mailed_code SET expires_at = now() RETURNING sealed")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(!String::from_utf8_lossy(&sealed).contains(&late));
    assert_eq!(enter(&mut there, &late).await, 401);
    for _ in 0..2 {
        there.submit("/auth/second-factor/mail", &[]).await.expect(303);
    }
    there.submit("/auth/second-factor/mail", &[]).await.expect(429);
    assert_eq!(app.mails_to(ADA).await.len(), 2);

    // Not for those whose role may not.
    let mut grace = invited(&app, Role::Practitioner).await;
    set_up(&mut grace).await;
    grace.open("/auth/account/security").await.expect(200);
    grace
        .submit("/auth/second-factor/mail-codes", &[("chosen", "yes")])
        .await
        .expect(403);
    grace.submit("/auth/second-factor/mail", &[]).await.expect(403);
}

#[tokio::test]
async fn the_practice_says_who_must_have_a_second_factor() {
    let app = spawn_app_with(|config| {
        guard(config);
        config.identity.factors.patient = FactorDemand::Required;
        config.identity.factors.practitioner = FactorDemand::Optional;
    })
    .await;
    let mut grace = invited(&app, Role::Practitioner).await;
    grace.open("/auth/account").await.expect(200);
    let mut ada = app.visitor();
    ada.sign_up("ada@clinic.example", PASSWORD).await;
    sent_to(
        &ada.sign_in("ada@clinic.example", PASSWORD).await,
        "/auth/second-factor/set-up",
    );

    // Passkeys cannot be asked for where browsers have none.
    let database = app.app.database.clone();
    let mut config = app.app.config.clone();
    config.identity.factors.admin = FactorDemand::Passkey;
    let build = |config| App::build(config, database.clone(), Clock::system(), IdGenerator::random());
    let refused = build(config.clone()).await.err().expect("a refusal").to_string();
    assert!(refused.contains("https:// and a name"), "{refused}");
    config.public_url = "https://clinic.example".to_owned();
    assert!(build(config).await.is_ok());
}

#[tokio::test]
async fn codes_are_guessed_ten_times_only() {
    let app = spawn_guarded_app().await;
    let mut grace = invited(&app, Role::Practitioner).await;
    let (phone, _) = set_up(&mut grace).await;
    let mut eve = app.visitor();
    eve.sign_in(GRACE, PASSWORD).await;
    eve.open("/auth/second-factor").await.expect(200);
    for _ in 0..10 {
        eve.submit("/auth/second-factor", &[("code", "000000")])
            .await
            .expect(401);
    }
    eve.submit("/auth/second-factor", &[("code", &phone.code(&app, 30))])
        .await
        .expect(429);
}

#[tokio::test]
async fn administrators_invite_and_nobody_else() {
    let app = spawn_guarded_app().await;
    let mut grace = invited(&app, Role::Admin).await;
    set_up(&mut grace).await;
    grace.open("/auth/invite").await.expect(200);
    let new = "alan@clinic.example";
    sent_to(
        &grace
            .submit("/auth/invite", &[("email", new), ("role", "practitioner")])
            .await,
        "/auth/account",
    );
    let link = app.mailed_link(new).await;
    let mut alan = app.visitor();
    alan.open(&link).await.expect(200);
    let secret = link.split_once("link=").unwrap().1.to_owned();
    let fields = [
        ("link", secret.as_str()),
        ("given", "Alan"),
        ("family", "Turing"),
        ("password", PASSWORD),
    ];
    sent_to(&alan.submit("/auth/confirm", &fields).await, "/auth/sign-in");
    assert!(app.mails_to(new).await[0].contains("Your account is open"));

    app.register_backend("lab", "system/*.rs").await;
    let token = app.token("lab", "system/*.rs").await;
    let found = app
        .get("PractitionerRole?role=doctor&_include=PractitionerRole:practitioner")
        .bearer_auth(&token);
    let found = found.answer().await.expect(200).json();
    assert_eq!(found["entry"][1]["resource"]["name"][0]["family"], "Turing");

    let mut patient = app.visitor();
    patient.sign_up("ada@clinic.example", PASSWORD).await;
    patient.sign_in("ada@clinic.example", PASSWORD).await;
    patient.open("/auth/invite").await.expect(403);
    patient.open("/auth/account").await.expect(200);
    patient
        .submit("/auth/invite", &[("email", new), ("role", "admin")])
        .await
        .expect(403);
}
