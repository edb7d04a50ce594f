//! Signing in at another OpenID provider: a real one, npm's `oidc-provider`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use medconsult::auth::accounts::Role;
use medconsult::config::ProviderConfig;
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::guard;
use super::second_factor::{GRACE, invited, set_up};
use super::visitor::{Visitor, sent_to};
use crate::app::{Answer, Ask, TestApp, spawn_app_with};

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/provider/server.js");
const SECRET: &str = "a secret of the tests: + & %";
const ADA: &str = "ada@clinic.example";
const PASSWORD: &str = "plover wants eleven lamps";
const SECURITY: &str = "/auth/account/security";

struct OpenIdProvider {
    issuer: String,
    lines: Lines<BufReader<ChildStdout>>,
    input: ChildStdin,
    _process: Child,
}

impl OpenIdProvider {
    /// `None` when the packages are not installed.
    async fn start(auth_method: &str) -> Option<OpenIdProvider> {
        if !Path::new(SERVER).with_file_name("node_modules").is_dir() {
            skipped!("the OpenID provider of the tests is not installed (make test does)");
            return None;
        }
        let mut process = Command::new("node")
            .args([SERVER, auth_method])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Some(OpenIdProvider {
            issuer: lines.next_line().await.unwrap().expect("an issuer"),
            lines,
            input: process.stdin.take().unwrap(),
            _process: process,
        })
    }

    /// Tells it where people come back to.
    async fn know(&mut self, redirect_uri: &str) {
        self.input
            .write_all(format!("{redirect_uri}\n").as_bytes())
            .await
            .unwrap();
        assert_eq!(self.lines.next_line().await.unwrap().as_deref(), Some("ready"));
    }
}

/// A server, and two providers that its people may sign in at.
struct Practice {
    app: TestApp,
    /// Known as `clinic`.
    clinic: OpenIdProvider,
    /// Known as `trusted`, and believed about addresses.
    trusted: OpenIdProvider,
}

impl Practice {
    async fn open() -> Option<Practice> {
        let mut clinic = OpenIdProvider::start("client_secret_basic").await?;
        let mut trusted = OpenIdProvider::start("client_secret_post").await?;
        let provider = |issuer: &str, connect_by_email| ProviderConfig {
            label: format!("the one at {issuer}"),
            issuer: issuer.to_owned(),
            client_id: "medconsult".to_owned(),
            client_secret: SECRET.to_owned().into(),
            connect_by_email,
            ..ProviderConfig::default()
        };
        let providers = BTreeMap::from([
            ("clinic".to_owned(), provider(&clinic.issuer, false)),
            ("trusted".to_owned(), provider(&trusted.issuer, true)),
        ]);
        let app = spawn_app_with(|config| {
            guard(config);
            config.identity.providers = providers;
        })
        .await;
        clinic
            .know(&format!("{}/auth/provider/clinic/callback", app.address))
            .await;
        trusted
            .know(&format!("{}/auth/provider/trusted/callback", app.address))
            .await;
        Some(Practice { app, clinic, trusted })
    }
}

/// A browser at the provider: keeps cookies, fills in its forms, and stops where it is sent back to us.
#[derive(Default)]
struct Elsewhere {
    cookies: BTreeMap<String, String>,
}

impl Elsewhere {
    async fn send(&mut self, method: Method, url: &str, form: &str) -> Answer {
        let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = client
            .request(method, url)
            .header("cookie", cookies.join("; "))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
        let answer = request.answer().await;
        for cookie in answer.headers.get_all("set-cookie") {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            self.cookies
                .insert(name.to_owned(), rest.split(';').next().unwrap().to_owned());
        }
        answer
    }

    /// Goes there, signs in under this name (or gives up), and gives the address by which the provider sends back.
    async fn visit(&mut self, there: &str, provider: &OpenIdProvider, name: Option<&str>) -> String {
        let mut url = there.to_owned();
        for _ in 0..12 {
            if !url.starts_with(&provider.issuer) {
                return url;
            }
            let page = self.send(Method::GET, &url, "").await;
            let answer = match (page.status.as_u16(), name) {
                (200, None) => self.send(Method::GET, &format!("{url}/abort"), "").await,
                (200, Some(name)) if page.text().contains("value=\"login\"") => {
                    let form = format!("prompt=login&login={name}&password=x");
                    self.send(Method::POST, &url, &form).await
                }
                (200, Some(_)) => self.send(Method::POST, &url, "prompt=consent").await,
                _ => page,
            };
            let location = answer.header("location").to_owned();
            assert!(!location.is_empty(), "{url}: {} {}", answer.status, answer.text());
            url = match location.starts_with('/') {
                true => format!("{}{location}", provider.issuer),
                false => location,
            };
        }
        panic!("no way back from {there}");
    }
}

/// The path of an address of ours.
fn path_of(practice: &Practice, url: &str) -> String {
    let root = &practice.app.app.auth.as_deref().unwrap().issuer;
    url.strip_prefix(root.as_str()).expect("back to us").to_owned()
}

/// Starts to sign in at a provider; gives where the browser is sent.
async fn start(visitor: &mut Visitor<'_>, name: &str) -> String {
    let answer = visitor
        .open(&format!("/auth/provider/{name}?next=/auth/account/security"))
        .await
        .expect(303);
    answer.header("location").to_owned()
}

/// Signs in at the clinic under this name; gives the answer of our callback.
async fn come_in(practice: &Practice, visitor: &mut Visitor<'_>, name: &str) -> Answer {
    let there = start(visitor, "clinic").await;
    let back = Elsewhere::default().visit(&there, &practice.clinic, Some(name)).await;
    visitor.open(&path_of(practice, &back)).await
}

/// Begins to connect the account of whoever is signed in; gives the address at the clinic.
async fn start_to_connect(visitor: &mut Visitor<'_>) -> String {
    visitor.open(SECURITY).await.expect(200);
    let page = visitor
        .submit("/auth/provider/clinic/connect", &[])
        .await
        .expect(200)
        .text();
    let link = page.split("<a class=\"button\" href=\"").nth(1).expect("a link");
    link.split('"').next().unwrap().replace("&amp;", "&")
}

async fn connect(practice: &Practice, visitor: &mut Visitor<'_>, name: &str) -> Answer {
    let there = start_to_connect(visitor).await;
    let back = Elsewhere::default().visit(&there, &practice.clinic, Some(name)).await;
    visitor.open(&path_of(practice, &back)).await
}

#[tokio::test]
async fn an_account_is_connected_by_its_owner_and_opened_from_there() {
    let Some(practice) = Practice::open().await else {
        return;
    };
    let app = &practice.app;
    // Nobody is let in by the provider's word alone, though it names the address of an account.
    let mut ada = app.visitor();
    ada.sign_up(ADA, PASSWORD).await;
    let refused = come_in(&practice, &mut ada, "ada").await.expect(403);
    assert!(refused.text().contains("Not connected yet"));
    sent_to(&ada.open("/auth/account").await, "/auth/sign-in");

    ada.sign_in(ADA, PASSWORD).await.expect(303);
    sent_to(&connect(&practice, &mut ada, "ada").await, SECURITY);
    assert!(app.mails_to(ADA).await[0].contains("connected"));
    assert!(ada.open(SECURITY).await.expect(200).text().contains("connected on"));

    let mut elsewhere = app.visitor();
    let page = elsewhere.open("/auth/sign-in").await.expect(200).text();
    assert!(page.contains("/auth/provider/clinic?next="), "{page}");
    sent_to(&come_in(&practice, &mut elsewhere, "ada").await, SECURITY);
    elsewhere.open("/auth/account").await.expect(200);
    let mut connection = app.connection().await;
    let methods: Vec<Vec<String>> = sqlx::query_scalar("SELECT methods FROM session ORDER BY created_at")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(methods, [["pwd"], ["fed"]]);

    // One name there opens one account here.
    let mut eve = app.visitor();
    eve.sign_up("eve@clinic.example", PASSWORD).await;
    eve.sign_in("eve@clinic.example", PASSWORD).await.expect(303);
    connect(&practice, &mut eve, "ada").await.expect(409);
    sent_to(&connect(&practice, &mut eve, "eve").await, SECURITY);
    connect(&practice, &mut eve, "eve-too").await.expect(409);
    assert_eq!(app.mails_to("eve@clinic.example").await.len(), 1);

    // Disconnected, by a fresh proof.
    let issuer = practice.clinic.issuer.as_str();
    ada.open(SECURITY).await.expect(200);
    sqlx::query("UPDATE session SET proved_at = proved_at - interval '11 minutes'")
        .execute(&mut connection)
        .await
        .unwrap();
    let disconnect = [("issuer", issuer)];
    let prove = "/auth/prove?next=%2Fauth%2Faccount%2Fsecurity";
    sent_to(&ada.submit("/auth/account/disconnect", &disconnect).await, prove);
    sent_to(&ada.submit("/auth/provider/clinic/connect", &[]).await, prove);
    ada.open("/auth/prove").await.expect(200);
    ada.submit("/auth/prove", &[("password", PASSWORD)]).await.expect(303);
    ada.open(SECURITY).await.expect(200);
    sent_to(&ada.submit("/auth/account/disconnect", &disconnect).await, SECURITY);
    assert_eq!(app.mails_to(ADA).await.len(), 1);
    come_in(&practice, &mut app.visitor(), "ada").await.expect(403);
}

#[tokio::test]
async fn an_answer_belongs_to_one_visit_of_one_browser() {
    let Some(practice) = Practice::open().await else {
        return;
    };
    let app = &practice.app;
    let mut ada = app.visitor();
    ada.sign_up(ADA, PASSWORD).await;
    ada.sign_in(ADA, PASSWORD).await.expect(303);
    sent_to(&connect(&practice, &mut ada, "ada").await, SECURITY);
    assert_eq!(app.mails_to(ADA).await.len(), 1);

    // Another browser cannot use it, and it is still good for the one that it belongs to. Then it is used.
    let mut here = app.visitor();
    let there = start(&mut here, "clinic").await;
    let back = Elsewhere::default().visit(&there, &practice.clinic, Some("ada")).await;
    let back = path_of(&practice, &back);
    assert!(back.contains("iss="), "{back}");
    let mut eve = app.visitor();
    eve.open("/auth/sign-in").await.expect(200);
    eve.open(&back).await.expect(400);
    sent_to(&here.open(&back).await, SECURITY);
    here.open(&back).await.expect(400);

    // Mixed up: the answer of one provider at the address of the other, under another issuer, or without one.
    let mut browser = app.visitor();
    for change in ["address", "issuer", "no issuer", "state", "code", "error"] {
        let there = start(&mut browser, "clinic").await;
        let back = Elsewhere::default().visit(&there, &practice.clinic, Some("ada")).await;
        let back = path_of(&practice, &back);
        let (path, query) = back.split_once('?').unwrap();
        let mut pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        match change {
            "issuer" => pairs
                .iter_mut()
                .filter(|(name, _)| name == "iss")
                .for_each(|(_, value)| {
                    value.clone_from(&practice.trusted.issuer);
                }),
            "no issuer" => pairs.retain(|(name, _)| name != "iss"),
            "state" | "code" => pairs
                .iter_mut()
                .filter(|(name, _)| name == change)
                .for_each(|(_, value)| {
                    value.push('x');
                }),
            "error" => pairs.push(("error".to_owned(), "access_denied".to_owned())),
            _ => {}
        }
        let path = if change == "address" {
            path.replace("clinic", "trusted")
        } else {
            path.to_owned()
        };
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        let status = browser.open(&format!("{path}?{query}")).await.status.as_u16();
        assert_eq!(status, if change == "code" { 502 } else { 400 }, "{change}");
        sent_to(&browser.open("/auth/account").await, "/auth/sign-in");
    }

    // Who changes their mind there is let in nowhere.
    let there = start(&mut browser, "clinic").await;
    let back = Elsewhere::default().visit(&there, &practice.clinic, None).await;
    browser.open(&path_of(&practice, &back)).await.expect(400);

    // An answer that somebody else got, to connect a name of theirs, connects nobody else's account.
    let mut mallory = app.visitor();
    mallory.sign_up("mallory@clinic.example", PASSWORD).await;
    mallory.sign_in("mallory@clinic.example", PASSWORD).await.expect(303);
    let there = start_to_connect(&mut mallory).await;
    let back = Elsewhere::default()
        .visit(&there, &practice.clinic, Some("mallory"))
        .await;
    ada.open(&path_of(&practice, &back)).await.expect(400);
    mallory.open("/auth/provider/clinic/connect").await.expect(405);
    mallory
        .submit_raw("/auth/provider/clinic/connect", &[], &[])
        .await
        .expect(403);
    mallory.open("/auth/provider/nobody").await.expect(404);

    // Late is too late.
    let there = start(&mut browser, "clinic").await;
    let back = Elsewhere::default().visit(&there, &practice.clinic, Some("ada")).await;
    let mut connection = app.connection().await;
    sqlx::query("UPDATE provider_visit SET expires_at = now()")
        .execute(&mut connection)
        .await
        .unwrap();
    browser.open(&path_of(&practice, &back)).await.expect(400);
}

#[tokio::test]
async fn the_second_factor_is_asked_for_here_too() {
    let Some(practice) = Practice::open().await else {
        return;
    };
    let app = &practice.app;
    let mut grace = invited(app, Role::Practitioner).await;
    let (_, codes) = set_up(&mut grace).await;
    sent_to(&connect(&practice, &mut grace, "grace").await, SECURITY);
    assert_eq!(app.mails_to(GRACE).await.len(), 1);

    let mut browser = app.visitor();
    sent_to(
        &come_in(&practice, &mut browser, "grace").await,
        "/auth/second-factor?next=%2Fauth%2Faccount%2Fsecurity",
    );
    sent_to(&browser.open("/auth/account").await, "/auth/second-factor");
    browser.open("/auth/second-factor").await.expect(200);
    let fields = [("code", codes[0].as_str())];
    sent_to(&browser.submit("/auth/second-factor", &fields).await, "/auth/account");
    browser.open("/auth/account").await.expect(200);
}

#[tokio::test]
async fn a_trusted_provider_connects_by_a_verified_address() {
    let Some(practice) = Practice::open().await else {
        return;
    };
    let app = &practice.app;
    app.visitor().sign_up(ADA, PASSWORD).await;
    let come_in = async |name: &str| {
        let mut browser = app.visitor();
        let there = start(&mut browser, "trusted").await;
        let back = Elsewhere::default().visit(&there, &practice.trusted, Some(name)).await;
        browser.open(&path_of(&practice, &back)).await
    };
    come_in("unverified-ada").await.expect(403);
    come_in("nobody-here").await.expect(403);
    sent_to(&come_in("ada").await, SECURITY);
    assert!(app.mails_to(ADA).await[0].contains("connected"));
    // From now on it is the name that counts, and nobody is told again.
    sent_to(&come_in("ada").await, SECURITY);
    assert!(app.mails_to(ADA).await.is_empty());
}
