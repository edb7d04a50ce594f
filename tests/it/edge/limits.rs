//! How many requests somebody may send.

use std::sync::Arc;

use jiff::SignedDuration;
use medconsult::auth::clients::{self, NewClient, NewProof};
use medconsult::auth::scopes::Scopes;
use medconsult::base::clock::ManualClock;
use medconsult::base::database::PoolSizes;
use medconsult::base::limits::{Budgets, Counted, Limits};
use medconsult::base::{Clock, Database, crypto};
use medconsult::config::LimitsConfig;
use reqwest::RequestBuilder;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::{Answer, Ask, TestApp, TestDatabase, spawn_app_with};
use crate::auth::guard;

/// Several instances that count together, and the hand of their clock.
struct Instances {
    limits: Vec<Limits>,
    hand: ManualClock,
    database: Database,
    _test: TestDatabase,
    _stop: watch::Sender<bool>,
}

impl Instances {
    async fn new(count: usize, per_user: u32) -> Instances {
        let test = TestDatabase::new().await;
        let database = Database::open(test.options(), PoolSizes { write: 4, read: 1 });
        let (clock, hand) = Clock::manual("2026-03-01T10:00:00Z".parse().unwrap());
        let (stop, stopped) = watch::channel(false);
        let budgets = Budgets {
            per_user,
            ..Budgets::default()
        };
        let limits: Vec<Limits> = (0..count).map(|_| Limits::new(clock.clone(), budgets)).collect();
        for limits in &limits {
            let (limits, pool, stopped) = (limits.clone(), database.write.clone(), stopped.clone());
            tokio::spawn(async move { limits.report(&pool, stopped).await });
        }
        Instances {
            limits,
            hand,
            database,
            _test: test,
            _stop: stop,
        }
    }

    /// How many of so many requests to each instance, all at once, are let in.
    async fn burst(&self, each: u32) -> u32 {
        let mut requests = JoinSet::new();
        for _ in 0..each {
            for limits in &self.limits {
                let limits = limits.clone();
                requests.spawn(async move { limits.count(Counted::User, "ada").await.is_ok() });
            }
        }
        let outcomes = requests.join_all().await;
        u32::try_from(outcomes.into_iter().filter(|let_in| *let_in).count()).unwrap()
    }
}

#[tokio::test]
async fn instances_share_a_limit_within_the_error_that_is_told() {
    const LIMIT: u32 = 640;
    let instances = Instances::new(3, LIMIT).await;
    let let_in = instances.burst(1000).await;
    // Two strides (of a 64th) for each instance.
    assert!((LIMIT..=LIMIT + 3 * 2 * 10).contains(&let_in), "{let_in} were let in");
    let more = instances.burst(100).await;
    assert_eq!(more, 0, "all of them know by now");
    instances.hand.advance(SignedDuration::from_secs(60));
    let next = instances.burst(1000).await;
    assert!(
        (LIMIT..=LIMIT + 60).contains(&next),
        "{next} were let in a minute later"
    );
}

#[tokio::test]
async fn who_is_within_the_limit_is_never_refused() {
    let instances = Instances::new(3, 300).await;
    assert_eq!(instances.burst(100).await, 300);
}

#[tokio::test]
async fn counting_takes_one_statement_for_many_requests() {
    let instances = Instances::new(1, 6400).await;
    // A stride of 100, of which this is less: nobody tells the database.
    assert_eq!(instances.burst(99).await, 99);
    assert_eq!(instances.burst(6400).await, 6301);
    let rows: Vec<(i64,)> = sqlx::query_as("SELECT count FROM request_count")
        .fetch_all(&instances.database.write)
        .await
        .unwrap();
    // One row per person, whatever they send; the last two strides may still be on their way.
    assert_eq!(rows.len(), 1);
    assert!((6200..=6400).contains(&rows[0].0), "{rows:?}");
}

#[tokio::test]
async fn without_a_database_each_instance_counts_for_itself() {
    let instances = Instances::new(2, 64).await;
    instances.database.close().await;
    let let_in = instances.burst(200).await;
    assert_eq!(let_in, 2 * 64);
}

/// Sends requests until one is refused, which must be soon: each minute has room for one.
async fn until_refused(request: impl AsyncFn() -> RequestBuilder) -> Answer {
    for _ in 0..10 {
        let answer = request().await.answer().await;
        if answer.status == 429 {
            let seconds: u32 = answer.header("retry-after").parse().unwrap();
            assert!((1..=60).contains(&seconds), "{seconds}");
            return answer;
        }
    }
    panic!("nothing is refused");
}

/// A guarded server with one back end, and its access token.
async fn limited(change: impl FnOnce(&mut LimitsConfig)) -> (TestApp, Arc<str>) {
    let app = spawn_app_with(|config| {
        guard(config);
        change(&mut config.limits);
    })
    .await;
    app.register_backend("lab", "system/*.rs").await;
    let token = app.token("lab", "system/*.rs").await;
    (app, token.into())
}

#[tokio::test]
async fn an_application_that_asks_too_often_is_told_to_wait() {
    let (app, token) = limited(|limits| limits.per_client = 1).await;
    let refused = until_refused(async || app.get("Patient").bearer_auth(&token)).await;
    assert_eq!(refused.json()["resourceType"], "OperationOutcome");
    assert_eq!(refused.json()["issue"][0]["code"], "throttled");
    // Others are not concerned: neither another application nor who has no token.
    app.register_backend("other", "system/*.rs").await;
    let other = app.token("other", "system/*.rs").await;
    app.get("Patient").bearer_auth(other).answer().await.expect(200);
    app.get("metadata").answer().await.expect(200);
    app.get("Patient").answer().await.expect(401);
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_to_wait_before_anything_is_done() {
    let (app, _) = limited(|limits| limits.per_address = 2).await;
    for path in ["Patient", "metadata"] {
        let refused = until_refused(async || app.get(path)).await;
        assert_eq!(refused.json()["issue"][0]["code"], "throttled");
    }
    let endpoint = until_refused(async || app.form("/auth/token", &[])).await;
    assert_eq!(endpoint.json()["error"], "temporarily_unavailable");
    let page = until_refused(async || app.get("/auth/sign-in")).await;
    assert!(page.text().contains("Too many requests"), "{}", page.text());
    // Who watches over the server goes on.
    app.get("/healthz").answer().await.expect(200);
    app.get("/readyz").answer().await.expect(200);
}

#[tokio::test]
async fn endpoints_and_pages_have_limits_of_their_own() {
    let (app, token) = limited(|limits| {
        limits.tokens_per_address = 2;
        limits.pages_per_address = 1;
    })
    .await;
    let refused = until_refused(async || app.form("/auth/token", &[])).await;
    assert_eq!(refused.json()["error"], "temporarily_unavailable");
    assert_eq!(refused.header("cache-control"), "no-store");
    until_refused(async || app.form("/auth/introspect", &[])).await;
    until_refused(async || app.get("/auth/sign-in")).await;
    until_refused(async || app.form("/auth/sign-in", &[])).await;
    app.get("Patient").bearer_auth(&token).answer().await.expect(200);
}

#[tokio::test]
async fn tokens_for_one_application_are_limited_and_strangers_cannot_use_them_up() {
    let (app, _) = limited(|limits| limits.tokens_per_client = 2).await;
    let client = NewClient {
        id: "app",
        name: "An application",
        scopes: &Scopes::parse("openid").unwrap(),
        redirect_uris: &["https://app.example/cb".to_owned()],
        launch_url: None,
        launches: false,
        proof: NewProof::Secret(crypto::digest("right")),
    };
    let now = app.app.clock.now();
    assert!(clients::add(&app.app.database.write, now, &client).await.unwrap());
    let ask = async |secret: &str| {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", "x"),
            ("client_id", "app"),
            ("client_secret", secret),
        ];
        app.form("/auth/token", &fields)
    };
    for _ in 0..5 {
        ask("wrong").await.answer().await.expect(401);
    }
    ask("right").await.answer().await.expect(400);
    until_refused(async || ask("right").await).await;
}

#[tokio::test]
async fn behind_a_proxy_each_client_is_counted_for_itself() {
    let app = spawn_app_with(|config| {
        guard(config);
        config.limits.pages_per_address = 1;
        config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let from = |address: &str| app.get("/auth/sign-in").header("x-forwarded-for", address.to_owned());
    until_refused(async || from("192.0.2.1")).await;
    from("192.0.2.2").answer().await.expect(200);
    // A household with IPv6 has many addresses.
    until_refused(async || from("2001:db8::1")).await;
    until_refused(async || from("2001:db8::2")).await;
}

#[tokio::test]
async fn a_sandbox_has_no_limits() {
    let app = spawn_app_with(|config| {
        config.limits.per_address = 1;
        config.limits.pages_per_address = 1;
    })
    .await;
    for _ in 0..5 {
        app.get("metadata").answer().await.expect(200);
    }
}
