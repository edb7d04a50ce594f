//! Applications that people let in: from the authorize endpoint to the last refresh.

mod codes;
mod consent;
mod context;
mod endings;
mod records;
mod requests;
mod step_up;
mod trail;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::join_all;
use jiff::SignedDuration;
use jiff_sqlx::ToSqlx;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use medconsult::auth::accounts::Role;
use medconsult::auth::clients::{self, NewClient, NewProof};
use medconsult::auth::scopes::Scopes;
use medconsult::auth::tokens;
use medconsult::base::crypto;
use serde_json::{Value, json};

use super::second_factor::{GRACE, PASSWORD, invited, set_up};
use super::visitor::{Visitor, sent_to};
use super::{RSA, profile_of, spawn_guarded_app};
use crate::app::{Answer, Ask, TestApp};

const BACK: &str = "https://app.example/cb";
const OPENED_AT: &str = "https://app.example/launch";
const SCOPE: &str = "openid fhirUser profile offline_access user/*.cruds";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const SECRET: &str = "a secret of the application";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(crypto::digest(VERIFIER))
}

fn encode(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

impl TestApp {
    async fn register_app(&self, id: &str, scope: &str, proof: NewProof<'_>) {
        let client = NewClient {
            id,
            name: "The App",
            scopes: &Scopes::parse(scope).unwrap(),
            redirect_uris: &[BACK.to_owned()],
            launch_url: Some(OPENED_AT),
            launches: false,
            proof,
        };
        assert!(
            clients::add(&self.app.database.write, self.app.clock.now(), &client)
                .await
                .unwrap()
        );
    }

    /// A request that is as it must be, with some parameters changed: an empty one is left out.
    fn request_of<'a>(&'a self, changes: &[(&'a str, &'a str)], challenge: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", "app"),
            ("redirect_uri", BACK),
            ("scope", SCOPE),
            ("state", "s/1 ä"),
            ("aud", self.base.as_str()),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256"),
            ("nonce", "n1"),
        ];
        for (name, value) in changes {
            pairs.retain(|(other, _)| other != name);
            if !value.is_empty() {
                pairs.push((name, value));
            }
        }
        pairs
    }

    /// Changes a code for tokens, with these parameters besides.
    async fn change(&self, code: &str, fields: &[(&str, &str)]) -> Answer {
        let mut all = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", BACK),
        ];
        all.extend_from_slice(fields);
        self.form("/auth/token", &all).answer().await
    }

    async fn refresh(&self, token: &str, fields: &[(&str, &str)]) -> Answer {
        let mut all = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", "app"),
        ];
        all.extend_from_slice(fields);
        self.form("/auth/token", &all).answer().await
    }

    async fn opens(&self, token: &str) -> u16 {
        self.get("Patient").bearer_auth(token).answer().await.status.as_u16()
    }
}

impl Visitor<'_> {
    async fn authorize(&mut self, changes: &[(&str, &str)]) -> Answer {
        let challenge = challenge();
        let query = encode(&self.app.request_of(changes, &challenge));
        self.open(&format!("/auth/authorize?{query}")).await
    }

    /// Leaves these boxes of the page ticked; gives the answer that sends the browser back.
    pub(super) async fn decide(&mut self, page: &Answer, decision: &str, is_left: impl Fn(&str) -> bool) -> Answer {
        let (sealed, boxes) = (request_in(page), boxes(page));
        let mut fields = vec![("request", sealed.as_str()), ("decision", decision)];
        let ticked = boxes.iter().filter(|value| is_left(value));
        fields.extend(ticked.map(|value| ("scope", value.as_str())));
        self.submit("/auth/consent", &fields).await
    }

    /// Answers a question about the context.
    async fn choose(&mut self, page: &Answer, answer: (&str, &str)) -> Answer {
        let sealed = request_in(page);
        self.submit("/auth/authorize/about", &[("request", &sealed), answer])
            .await
    }

    /// A code for the application `app`.
    async fn code(&mut self, changes: &[(&str, &str)]) -> String {
        let page = self.authorize(changes).await.expect(200);
        let answer = self.decide(&page, "allow", |_| true).await;
        let back = parameters(&answer);
        assert_eq!(
            (back["state"].as_str(), back["iss"].as_str()),
            (Some("s/1 ä"), Some(self.app.address.as_str()))
        );
        back["code"].as_str().unwrap().to_owned()
    }
}

/// The sealed request of a page.
#[track_caller]
fn request_in(page: &Answer) -> String {
    let text = page.text();
    let (_, rest) = text
        .split_once("name=\"request\" value=\"")
        .unwrap_or_else(|| panic!("{text}"));
    rest.split('"').next().unwrap().to_owned()
}

/// The values of the boxes that are ticked on a page.
fn boxes(page: &Answer) -> Vec<String> {
    let text = page.text();
    let boxes = text.split("name=\"scope\" value=\"").skip(1);
    boxes
        .map(|rest| {
            let (value, rest) = rest.split_once('"').unwrap();
            assert!(rest.starts_with(" checked"));
            value.replace("&amp;", "&")
        })
        .collect()
}

/// What the application is told through the browser.
#[track_caller]
fn parameters(answer: &Answer) -> Value {
    let location = answer.header("location");
    assert_eq!(answer.status, 303, "{}", answer.text());
    let query = location
        .strip_prefix(&format!("{BACK}?"))
        .unwrap_or_else(|| panic!("{location}"));
    form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .map(|(name, value)| (name, json!(value)))
        .collect()
}

/// An administrator who is signed in, and the application `app`, which is public.
async fn with_admin(app: &TestApp) -> Visitor<'_> {
    app.register_app("app", SCOPE, NewProof::Public).await;
    let mut grace = invited(app, Role::Admin).await;
    set_up(&mut grace).await;
    grace
}

const PUBLIC: [(&str, &str); 2] = [("client_id", "app"), ("code_verifier", VERIFIER)];

#[track_caller]
fn refused(answer: Answer, status: u16, code: &str) {
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["error"]),
        (status, &json!(code)),
        "{}",
        answer.text()
    );
}
