//! Through a real SMTP server: in order, once, and in spite of what happens to it.

use std::collections::{BTreeMap, HashSet};

use serde_json::json;

use super::server::MailServer;
use super::{put, run, run_all, states};
use crate::app::{TestApp, clusters_directory, spawn_app_with};
use crate::auth::guard;

const ADA: &str = "ada@clinic.example";
const GRACE: &str = "grace@clinic.example";

async fn app_with(url: String) -> TestApp {
    spawn_app_with(|config| {
        guard(config);
        config.mail.server = url.into();
        config.mail.from = "Clinic <no-reply@clinic.example>".to_owned();
        config.mail.return_path = "bounces@clinic.example".to_owned();
    })
    .await
}

fn waits(reason: &str) -> (String, Option<String>) {
    ("queued".to_owned(), Some(reason.to_owned()))
}

fn sent() -> (String, Option<String>) {
    ("sent".to_owned(), None)
}

#[tokio::test]
async fn a_mail_that_is_put_off_waits_sealed_and_is_sent_once() {
    let Some(mut server) = MailServer::start(&json!({"busy": 1})).await else {
        return;
    };
    let app = app_with(server.url()).await;
    let mut ada = app.visitor();
    ada.open("/auth/sign-up").await.expect(200);
    let fields = [
        ("given", "Ada"),
        ("family", "L"),
        ("email", ADA),
        ("password", "plover wants eleven lamps"),
    ];
    ada.submit("/auth/sign-up", &fields).await.expect(303);
    run(&app).await;
    assert_eq!(states(&app).await, [waits("smtp 451")]);
    // Neither the address nor the link can be read off the row.
    let row: String = sqlx::query_scalar("SELECT mail::text || encode(sealed, 'escape') FROM mail")
        .fetch_one(&app.app.database.write)
        .await
        .unwrap();
    assert!(!row.contains("ada@") && !row.contains("confirm?link"), "{row}");
    // Its time has not come.
    run(&app).await;
    assert_eq!(states(&app).await, [waits("smtp 451")]);
    run_all(&app).await;
    assert_eq!(states(&app).await, [("sent".to_owned(), None)]);
    run_all(&app).await;

    let mail = server.next().await;
    assert_eq!(
        (mail.from.as_str(), mail.to.as_str(), mail.subject()),
        ("bounces@clinic.example", ADA, "Confirm your e-mail address")
    );
    assert_eq!(mail.header("From"), "Clinic <no-reply@clinic.example>");
    assert!(mail.text().contains("/auth/confirm?link="), "{}", mail.text());
    assert!(server.kill().await.is_empty());
    // What was sent is forgotten: the row only says that it was.
    let kept: bool = sqlx::query_scalar("SELECT bool_or(sealed IS NOT NULL) FROM mail")
        .fetch_one(&app.app.database.write)
        .await
        .unwrap();
    assert!(!kept);
}

#[tokio::test]
async fn a_server_that_dies_and_comes_back_gets_each_mail_once() {
    let Some(dying) = MailServer::start(&json!({"die": "data"})).await else {
        return;
    };
    let app = app_with(dying.url()).await;
    for number in 0..6 {
        put(&app, &format!("p{}@clinic.example", number % 3), &number.to_string()).await;
    }
    // It breaks the connection in the middle of each text.
    run(&app).await;
    assert!(states(&app).await.contains(&waits("smtp mail: no answer")));
    let port = dying.port;
    assert!(dying.kill().await.is_empty());
    // It is not there at all.
    run_all(&app).await;
    let during = states(&app).await;
    assert!(during.iter().all(|(state, _)| state == "queued"), "{during:?}");
    assert!(during.contains(&waits("smtp connect: no answer")), "{during:?}");

    let mut back = MailServer::start(&json!({"port": port})).await.unwrap();
    run_all(&app).await;
    let mails = back.take(6).await;
    let codes: HashSet<String> = mails.iter().map(|mail| mail.code()).collect();
    assert_eq!(codes, (0..6).map(|number| number.to_string()).collect());
    assert_eq!(states(&app).await, vec![sent(); 6]);
    assert!(back.kill().await.is_empty());
}

#[tokio::test]
async fn what_is_taken_without_an_answer_comes_again_under_the_same_message_id() {
    let Some(mut server) = MailServer::start(&json!({"die": "accepted"})).await else {
        return;
    };
    let app = app_with(server.url()).await;
    put(&app, ADA, "1").await;
    run(&app).await;
    assert_eq!(states(&app).await, [waits("smtp mail: no answer")]);
    run_all(&app).await;
    assert_eq!(states(&app).await, [sent()]);
    let mails = server.take(2).await;
    let ids = [mails[0].header("Message-ID"), mails[1].header("Message-ID")];
    assert!(ids[0] == ids[1] && ids[0].ends_with("@clinic.example>"), "{ids:?}");
    assert!(server.kill().await.is_empty());
}

#[tokio::test]
async fn what_a_killed_server_had_in_its_hands_another_sends() {
    let Some(mut server) = MailServer::start(&json!({})).await else {
        return;
    };
    let app = app_with(server.url()).await;
    put(&app, ADA, "1").await;
    put(&app, ADA, "2").await;
    // As a server leaves it that dies after it has claimed the first.
    let claim =
        "UPDATE mail SET state = 'sending', attempts = 1, due_at = now() + interval '150 seconds' WHERE key LIKE '% 1'";
    sqlx::query(claim).execute(&app.app.database.write).await.unwrap();
    run(&app).await;
    let held: Vec<String> = states(&app).await.into_iter().map(|(state, _)| state).collect();
    assert_eq!(held, ["sending", "queued"]);
    run_all(&app).await;
    let codes: Vec<String> = server.take(2).await.iter().map(|mail| mail.code()).collect();
    assert_eq!(codes, ["1", "2"]);
    assert_eq!(states(&app).await, [sent(), sent()]);
    assert!(server.kill().await.is_empty());
}

#[tokio::test]
async fn a_later_mail_waits_for_an_earlier_one_to_the_same_person_alone() {
    let Some(mut server) = MailServer::start(&json!({"busy": 1})).await else {
        return;
    };
    let app = app_with(server.url()).await;
    put(&app, ADA, "first").await;
    run(&app).await;
    put(&app, ADA, "second").await;
    put(&app, GRACE, "third").await;
    run(&app).await;
    let states_now: Vec<String> = states(&app).await.into_iter().map(|(state, _)| state).collect();
    assert_eq!(states_now, ["queued", "queued", "sent"]);
    run_all(&app).await;
    let mails = server.take(3).await;
    let codes: Vec<String> = mails.iter().map(|mail| mail.code()).collect();
    assert_eq!(codes, ["third", "first", "second"]);
    // Given up, the first one holds up nobody any more.
    put(&app, ADA, "late").await;
    put(&app, ADA, "next").await;
    sqlx::query("UPDATE mail SET expires_at = now() WHERE key LIKE '%late'")
        .execute(&app.app.database.write)
        .await
        .unwrap();
    run(&app).await;
    assert_eq!(server.next().await.code(), "next");
    let ended = states(&app).await;
    assert_eq!(
        ended[3..],
        [("given-up".to_owned(), Some("too late".to_owned())), sent()]
    );
    assert!(server.kill().await.is_empty());
}

#[tokio::test]
async fn a_thousand_mails_of_two_servers_leave_once_and_in_order() {
    let Some(mut server) = MailServer::start(&json!({})).await else {
        return;
    };
    let app = app_with(server.url()).await;
    let url = server.url();
    let key = app.app.config.identity.master_key.clone();
    let beside = app
        .beside_with(|config| {
            guard(config);
            config.identity.master_key = key;
            config.mail.server = url.into();
        })
        .await;
    for number in 0..1000 {
        put(&app, &format!("p{}@clinic.example", number % 40), &number.to_string()).await;
    }
    tokio::join!(run(&app), run(&beside));
    let mut order: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for mail in server.take(1000).await {
        order
            .entry(mail.to.clone())
            .or_default()
            .push(mail.code().parse().unwrap());
    }
    assert_eq!(order.len(), 40);
    for (to, numbers) in order {
        assert_eq!(numbers.len(), 25, "{to}");
        assert!(numbers.is_sorted_by(|a, b| a < b), "{to}: {numbers:?}");
    }
    assert!(server.kill().await.is_empty());
}

#[tokio::test]
async fn a_recipient_that_is_refused_is_not_asked_again() {
    let Some(mut server) = MailServer::start(&json!({"refuse": [ADA]})).await else {
        return;
    };
    let app = app_with(server.url()).await;
    put(&app, ADA, "1").await;
    put(&app, ADA, "2").await;
    put(&app, GRACE, "3").await;
    run(&app).await;
    let refused = || ("refused".to_owned(), Some("smtp 550".to_owned()));
    assert_eq!(states(&app).await, [refused(), refused(), sent()]);
    assert_eq!(server.next().await.to, GRACE);
    run_all(&app).await;
    assert!(server.kill().await.is_empty());
}

#[tokio::test]
async fn mails_cross_the_network_sealed_to_a_server_that_is_known() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let file = clusters_directory().join(format!("{}-authority.pem", std::process::id()));
    std::fs::write(&file, &cert).unwrap();
    let from_the_start = json!({"key": key, "cert": cert, "secure": true, "user": "clinic", "pass": "p@ss/word"});
    let upgraded = json!({"key": key, "cert": cert, "user": "clinic", "pass": "p@ss/word"});
    for (options, scheme, query) in [(from_the_start, "smtps", ""), (upgraded, "smtp", "?tls=required")] {
        let Some(mut server) = MailServer::start(&options).await else {
            return;
        };
        let port = server.port;
        let url = |password: &str| format!("{scheme}://clinic:{password}@localhost:{port}{query}");
        let spawn = async |url: String, is_known: bool| {
            spawn_app_with(|config| {
                guard(config);
                config.mail.server = url.into();
                if is_known {
                    config.mail.authority = file.clone();
                }
            })
            .await
        };
        let right = spawn(url("p%40ss%2Fword"), true).await;
        put(&right, ADA, "1").await;
        run(&right).await;
        let mail = server.next().await;
        assert!(mail.secure && mail.user.as_deref() == Some("clinic"), "{mail:?}");

        // A wrong password is the operator's matter: the mail waits. So it does for a server that nobody vouches for.
        let wrong = spawn(url("guessed"), true).await;
        put(&wrong, ADA, "1").await;
        run(&wrong).await;
        assert_eq!(states(&wrong).await, [waits("smtp 535")]);
        let unknown = spawn(url("p%40ss%2Fword"), false).await;
        put(&unknown, ADA, "1").await;
        run(&unknown).await;
        let kept = states(&unknown).await;
        assert!(
            kept[0].0 == "queued" && kept[0].1.as_ref().unwrap().starts_with("smtp connect"),
            "{kept:?}"
        );
        assert!(server.kill().await.is_empty());
    }
    // One that must speak TLS, and does not.
    let mut plain = MailServer::start(&json!({})).await.unwrap();
    let port = plain.port;
    let app = app_with(format!("smtp://localhost:{port}?tls=required")).await;
    put(&app, ADA, "1").await;
    run(&app).await;
    assert_eq!(states(&app).await, [waits("smtp connect: not offered")]);
    // The same server is good enough for who does not insist.
    let app = app_with(format!("smtp://localhost:{port}?tls=opportunistic")).await;
    put(&app, ADA, "1").await;
    run(&app).await;
    assert_eq!(plain.next().await.to, ADA);
}
