//! Passkeys, made and shown by a real browser with an authenticator that Chromium plays.

use medconsult::auth::accounts::{Account, NewAccount, Role};
use reqwest::Client;
use reqwest::redirect::Policy;
use serde_json::{Value, json};

use super::chromium::Chromium;
use super::guard;
use crate::app::{TestApp, spawn_app_with};

const ADA: &str = "ada@clinic.example";
const PASSWORD: &str = "plover wants eleven lamps";

/// A server that is called by a name: browsers bind passkeys to names.
async fn spawn_named_app() -> TestApp {
    spawn_app_with(|config| {
        guard(config);
        config.public_url = format!("http://localhost:{}", config.listen.port());
    })
    .await
}

struct Desk<'a> {
    app: &'a TestApp,
    browser: Chromium,
    root: String,
}

impl<'a> Desk<'a> {
    /// A browser, and an account for whoever sits in front of it. `None` where there is no browser.
    async fn new(app: &'a TestApp, role: Role) -> Option<Desk<'a>> {
        let browser = Chromium::start(&[]).await?;
        let auth = app.app.auth.as_deref().unwrap();
        let new = NewAccount {
            email: ADA.to_owned(),
            role,
            given: "Ada".to_owned(),
            family: "Lovelace".to_owned(),
            password: auth.passwords.hash(PASSWORD).await.unwrap(),
        };
        Account::create(auth, new).await.unwrap();
        let root = auth.issuer.clone();
        Some(Desk { app, browser, root })
    }

    async fn open(&mut self, path: &str) {
        let url = format!("{}{path}", self.root);
        self.browser.open(&url).await;
    }

    /// The path of the page that is open.
    async fn path(&mut self) -> String {
        let url = self.browser.url().await;
        url.strip_prefix(&self.root).expect("a page of ours").to_owned()
    }

    async fn sign_in_by_password(&mut self) {
        self.open("/auth/sign-in").await;
        self.browser.fill("E-mail address", ADA).await;
        self.browser.fill("Password", PASSWORD).await;
        self.browser.press("Sign in").await;
    }

    /// Makes a passkey on the page for that, and checks the mail about it.
    async fn make(&mut self, name: &str) {
        self.browser.fill("What to call it, as in “My phone”", name).await;
        self.browser.press("Make it").await;
        assert_eq!(self.app.mails_to(ADA).await.len(), 1);
    }

    async fn sign_out(&mut self) {
        self.open("/auth/account").await;
        self.browser.press("Sign out").await;
    }

    /// What the form for passkeys would send now.
    async fn answer(&mut self) -> Vec<(&'static str, String)> {
        let form = "document.querySelector('form[data-passkey]')";
        let answer = self.browser.evaluate(&format!("ask({form})")).await;
        let mut fields = vec![("answer", answer.to_string())];
        for name in ["form_token", "challenge", "next"] {
            let value = self.browser.evaluate(&format!("{form}.elements.{name}.value")).await;
            fields.push((name, value.as_str().unwrap().to_owned()));
        }
        fields
    }

    /// Sends a form to the passkeys' sign-in with these cookies; gives the status.
    async fn post(&self, cookies: &str, fields: &[(&str, String)]) -> u16 {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        let request = client
            .post(format!("{}/auth/passkeys/sign-in", self.app.address))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", cookies)
            .body(body.finish());
        request.send().await.unwrap().status().as_u16()
    }
}

#[tokio::test]
async fn a_passkey_lets_its_owner_in_without_a_password() {
    let app = spawn_named_app().await;
    let Some(mut ada) = Desk::new(&app, Role::Patient).await else {
        return;
    };
    let authenticator = ada.browser.authenticator(true).await;
    ada.sign_in_by_password().await;
    assert_eq!(ada.path().await, "/auth/account");
    ada.open("/auth/account/security").await;
    ada.browser.press("Make a passkey").await;
    ada.make("My phone").await;
    let codes = ada.browser.text().await;
    assert!(codes.contains("Your backup codes"), "{codes}");
    // The same device is not asked for a second one.
    ada.open("/auth/passkeys").await;
    ada.browser.fill("What to call it, as in “My phone”", "Again").await;
    ada.browser
        .press_for("Make it", "This device has a passkey of this account already.")
        .await;
    assert_eq!(ada.browser.credentials(&authenticator).await.len(), 1);

    ada.sign_out().await;
    ada.open("/auth/sign-in?next=/auth/account/security").await;
    ada.browser.press("Sign in with a passkey").await;
    assert_eq!(ada.path().await, "/auth/account/security");
    assert_eq!(ada.browser.complaints().await, json!([]));
    let mut connection = app.connection().await;
    let shown: (i16, Vec<String>) = sqlx::query_as("SELECT assurance, methods FROM session")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(shown, (3, ["pop", "user", "mfa"].map(str::to_owned).to_vec()));

    ada.browser.fill("New name of My phone", "Old phone").await;
    ada.browser.press("Rename it").await;
    let page = ada.browser.text().await;
    assert!(page.contains("Old phone") && page.contains("last used on"), "{page}");
    ada.browser.press("Remove it").await;
    assert!(ada.browser.text().await.contains("There are none."));
    assert_eq!(app.mails_to(ADA).await.len(), 1);
    ada.sign_out().await;
    ada.browser.press("Sign in with a passkey").await;
    assert!(ada.browser.text().await.contains("This passkey is not known here."));
    // Codes on paper stood in for it, and went with it.
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM backup_code")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_passkey_is_a_practitioners_second_factor() {
    let app = spawn_named_app().await;
    let Some(mut ada) = Desk::new(&app, Role::Practitioner).await else {
        return;
    };
    ada.browser.authenticator(true).await;
    ada.sign_in_by_password().await;
    assert_eq!(ada.path().await, "/auth/second-factor/set-up");
    ada.browser.press("a passkey").await;
    ada.make("Key ring").await;
    ada.browser.press("I have kept them").await;
    assert!(ada.browser.text().await.contains("Ada Lovelace, practitioner"));
    // It is the only factor: it cannot be removed.
    ada.open("/auth/account/security").await;
    ada.browser.press("Remove it").await;
    assert!(ada.browser.text().await.contains("Not for you"));
    assert_eq!(ada.browser.complaints().await.as_array().unwrap().len(), 1);

    ada.sign_out().await;
    ada.sign_in_by_password().await;
    assert_eq!(ada.path().await, "/auth/second-factor?next=%2Fauth%2Faccount");
    assert!(ada.browser.sees("Use a passkey").await);
    ada.browser.press("Use a passkey").await;
    assert_eq!(ada.path().await, "/auth/account");

    // Before something important it is shown again.
    let mut connection = app.connection().await;
    sqlx::query("UPDATE session SET proved_at = proved_at - interval '11 minutes'")
        .execute(&mut connection)
        .await
        .unwrap();
    ada.open("/auth/account/security").await;
    ada.browser.press("Make new backup codes").await;
    assert_eq!(ada.path().await, "/auth/prove?next=%2Fauth%2Faccount%2Fsecurity");
    ada.browser.press("Use a passkey").await;
    assert_eq!(ada.path().await, "/auth/account/security");
    ada.browser.press("Make new backup codes").await;
    assert!(ada.browser.text().await.contains("Your backup codes"));
    assert_eq!(app.mails_to(ADA).await.len(), 1);
    assert_eq!(ada.browser.complaints().await, json!([]));
}

#[tokio::test]
async fn an_answer_is_good_once_and_in_its_browser() {
    let app = spawn_named_app().await;
    let Some(mut ada) = Desk::new(&app, Role::Patient).await else {
        return;
    };
    let authenticator = ada.browser.authenticator(true).await;
    ada.sign_in_by_password().await;
    ada.open("/auth/passkeys").await;
    ada.make("My phone").await;
    let before: Vec<Value> = ada.browser.credentials(&authenticator).await;
    ada.sign_out().await;

    let answer = ada.answer().await;
    let cookies = ada.browser.cookies().await;
    let with = |name: &str, change: &dyn Fn(&str) -> String| -> Vec<(&str, String)> {
        answer
            .iter()
            .map(|(key, value)| (*key, if *key == name { change(value) } else { value.clone() }))
            .collect()
    };
    // A stolen answer is of no use to another browser, nor with another signature, nor for another challenge.
    let other_cookie = format!("medconsult={}", "a".repeat(43));
    assert_eq!(ada.post(&other_cookie, &answer).await, 403);
    let forged = |text: &str| {
        let mut answer: Value = serde_json::from_str(text).unwrap();
        let signature = answer["signature"].as_str().unwrap().to_owned();
        let other = if &signature[30..31] == "A" { "B" } else { "A" };
        answer["signature"] = json!(format!("{}{other}{}", &signature[..30], &signature[31..]));
        answer.to_string()
    };
    assert_eq!(ada.post(&cookies, &with("answer", &forged)).await, 401);
    ada.open("/auth/sign-in").await;
    let later = ada.answer().await;
    let other_challenge = later.iter().find(|(key, _)| *key == "challenge").unwrap().1.clone();
    assert_eq!(
        ada.post(&cookies, &with("challenge", &|_| other_challenge.clone()))
            .await,
        401
    );
    assert_eq!(
        ada.post(&cookies, &with("challenge", &|_| "AAAA".to_owned())).await,
        401
    );

    assert_eq!(ada.post(&cookies, &later).await, 303);
    assert_eq!(ada.post(&cookies, &later).await, 401);

    // A copy of the authenticator is behind in counting.
    ada.browser.unplug(&authenticator).await;
    let copy = ada.browser.authenticator(true).await;
    ada.browser.add_credential(&copy, &before[0]).await;
    ada.open("/auth/sign-in").await;
    ada.browser.press("Sign in with a passkey").await;
    assert!(ada.browser.text().await.contains("This passkey is not known here."));
}

#[tokio::test]
async fn an_authenticator_must_verify_its_owner() {
    let app = spawn_named_app().await;
    let Some(mut ada) = Desk::new(&app, Role::Patient).await else {
        return;
    };
    ada.browser.authenticator(false).await;
    ada.sign_in_by_password().await;
    ada.open("/auth/passkeys").await;
    ada.browser
        .fill("What to call it, as in “My phone”", "Found on the street")
        .await;
    ada.browser
        .press_for("Make it", "No passkey was used. Try again.")
        .await;
}

#[tokio::test]
async fn without_scripts_everything_else_works() {
    let app = spawn_named_app().await;
    let Some(browser) = Chromium::start(&["no-scripts"]).await else {
        return;
    };
    let mut ada = Desk::new(&app, Role::Patient).await.unwrap();
    ada.browser = browser;
    ada.open("/auth/sign-in").await;
    assert!(!ada.browser.sees("Sign in with a passkey").await);
    ada.sign_in_by_password().await;
    assert_eq!(ada.path().await, "/auth/account");
    ada.open("/auth/passkeys").await;
    assert!(ada.browser.text().await.contains("Passkeys need JavaScript."));
    assert_eq!(ada.browser.complaints().await, json!([]));
}
