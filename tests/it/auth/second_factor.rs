//! Second factors: who must have one, how it is set up, and that each code is good once.

use jiff::SignedDuration;
use totp_rs::{Algorithm, Builder, Secret};

use super::spawn_guarded_app;
use super::visitor::{Visitor, sent_to};
use crate::app::{Ask, TestApp};
use medconsult::auth::accounts::Role;
use medconsult::auth::links::{Link, Purpose};

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
