//! Whoever has the database can do much, and be found out.

use std::fs::{self, File};
use std::io::BufWriter;

use medconsult::audit::anchor::AnchorFile;
use medconsult::audit::archive;
use medconsult::audit::chain::Head;
use medconsult::audit::key;
use medconsult::audit::verify::{Finding, Report, verify};
use medconsult::base::crypto::Vault;
use sqlx::AssertSqlSafe;

use super::{brief, spawn_audited_app};
use crate::app::{Ask, TestApp};

/// A trail of five AuditEvents, and their ids.
async fn with_trail() -> (TestApp, Vec<String>) {
    let app = spawn_audited_app().await;
    for id in ["1", "2", "3", "4", "5"] {
        app.put_patient(id).await;
    }
    let events = app.trail().await;
    assert_eq!(events.len(), 5);
    let ids = events
        .iter()
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect();
    (app, ids)
}

impl TestApp {
    async fn tamper(&self, statement: &str) {
        let mut connection = self.connection().await;
        let done = sqlx::query(AssertSqlSafe(statement.to_owned()))
            .execute(&mut connection)
            .await;
        assert!(done.unwrap().rows_affected() > 0, "{statement}");
    }

    fn anchor(&self) -> Head {
        AnchorFile::of(&self.app.config.data_dir)
            .read()
            .unwrap()
            .expect("an anchor")
    }

    async fn verify(&self) -> Report {
        let key = self.app.fhir.trail.key().unwrap();
        verify(&self.app.database.write, key, &[self.anchor()]).await.unwrap()
    }
}

#[tokio::test]
async fn a_trail_that_nobody_touched_is_whole() {
    let (app, _) = with_trail().await;
    let report = app.verify().await;
    assert_eq!((report.proved, report.waiting, report.findings), (5, 0, vec![]));
    assert_eq!((report.head.seq, &report.head), (5, &app.anchor()));

    // What waits is known, and so is a trail that has grown since its anchor.
    let anchor = app.anchor();
    app.put_patient("6").await;
    app.app.audit.settle().await.unwrap();
    let key = app.app.fhir.trail.key().unwrap();
    let report = verify(&app.app.database.write, key, &[anchor]).await.unwrap();
    assert_eq!((report.proved, report.findings), (6, vec![]));
}

#[tokio::test]
async fn a_changed_event_is_found() {
    let (app, ids) = with_trail().await;
    let set = r#"UPDATE resource SET content = jsonb_set(content, '{outcome}', '"8"')"#;
    app.tamper(&format!("{set} WHERE id = '{}'", ids[2])).await;
    let changed = |seq: i64| Finding::Changed {
        seq,
        id: ids[seq as usize - 1].clone(),
    };
    assert_eq!(app.verify().await.findings, [changed(3)]);
    // A link that is made anew without the key does not fit either, nor does the one after it.
    app.tamper("UPDATE audit_chain SET mac = sha256(mac) WHERE seq = 3")
        .await;
    assert_eq!(app.verify().await.findings, [changed(3), changed(4)]);
}

#[tokio::test]
async fn a_missing_event_is_found() {
    let (app, ids) = with_trail().await;
    app.tamper(&format!("DELETE FROM resource WHERE id = '{}'", ids[1]))
        .await;
    assert_eq!(app.verify().await.findings, [Finding::Missing { seq: 2 }]);
    app.tamper("DELETE FROM audit_chain WHERE seq = 2").await;
    let changed = Finding::Changed {
        seq: 3,
        id: ids[2].clone(),
    };
    assert_eq!(app.verify().await.findings, [Finding::MissingLinks(2, 2), changed]);
    // Closing the gap by new numbers does not help.
    app.tamper("UPDATE audit_chain SET seq = seq - 1 WHERE seq > 2").await;
    assert!(!app.verify().await.findings.is_empty());
}

#[tokio::test]
async fn an_added_event_is_found() {
    let (app, ids) = with_trail().await;
    let copy = "INSERT INTO resource (rid, last_updated, version, index_version, type, method, deleted, id, content) \
        SELECT -1, last_updated, version, index_version, type, method, deleted, 'forged', content FROM resource";
    app.tamper(&format!("{copy} WHERE id = '{}'", ids[0])).await;
    let added = Finding::Added {
        id: "forged".to_owned(),
    };
    assert_eq!(app.verify().await.findings, [added]);
    app.tamper("INSERT INTO audit_chain SELECT 6, -1, mac FROM audit_chain WHERE seq = 5")
        .await;
    let changed = Finding::Changed {
        seq: 6,
        id: "forged".to_owned(),
    };
    assert_eq!(app.verify().await.findings, [changed]);
}

#[tokio::test]
async fn two_events_that_change_places_are_found() {
    let (app, ids) = with_trail().await;
    app.tamper("UPDATE audit_chain c SET rid = d.rid FROM audit_chain d WHERE (c.seq, d.seq) IN ((2, 3), (3, 2))")
        .await;
    let changed = |seq: i64, id: usize| Finding::Changed {
        seq,
        id: ids[id].clone(),
    };
    assert_eq!(app.verify().await.findings, [changed(2, 2), changed(3, 1)]);
}

#[tokio::test]
async fn a_trail_whose_end_was_cut_off_is_found_by_its_anchor() {
    let (app, ids) = with_trail().await;
    let anchor = app.anchor();
    app.tamper("DELETE FROM audit_chain WHERE seq > 3").await;
    app.tamper(&format!(
        "DELETE FROM resource WHERE id IN ('{}', '{}')",
        ids[3], ids[4]
    ))
    .await;
    let cut = |end| Finding::Cut { anchor: 5, end };
    assert_eq!(app.verify().await.findings, [cut(3)]);

    // A server that runs says so in the trail, once, and does not move the anchor.
    app.put_patient("6").await;
    app.put_patient("7").await;
    let events = app.trail().await;
    let alarms: Vec<_> = events
        .iter()
        .filter(|event| event["subtype"][0]["code"] == "110133")
        .collect();
    assert_eq!((alarms.len(), alarms[0]["outcome"].as_str()), (1, Some("8")));
    assert_eq!(app.anchor(), anchor);
    assert_eq!(app.verify().await.findings, [cut(6)]);
}

#[tokio::test]
async fn records_that_wait_cannot_be_forged() {
    let (app, _) = with_trail().await;
    // Nobody makes AuditEvents meanwhile: the lock is held, as if by another server.
    let mut other = app.connection().await;
    sqlx::query("SELECT pg_advisory_lock(hashtext('audit.chain'), 0)")
        .execute(&mut other)
        .await
        .unwrap();
    app.get("Patient/1").answer().await.expect(200);
    app.tamper("UPDATE audit_pending SET event = replace(event, 'Read', 'Vread')")
        .await;
    let report = app.verify().await;
    assert_eq!(report.waiting, 1);
    assert!(
        matches!(report.findings[..], [Finding::Foreign { .. }]),
        "{:?}",
        report.findings
    );
    drop(other);
    let events = app.trail().await;
    let alarm = events.last().unwrap();
    assert_eq!(
        alarm["outcomeDesc"],
        "a record that waited was not made by this server, or was changed"
    );
    assert!(
        alarm.to_string().contains("Vread"),
        "it is kept as evidence: {}",
        brief(alarm)
    );
    assert_eq!(app.verify().await.findings, []);
}

#[tokio::test]
async fn the_key_of_the_trail_outlives_the_master_key() {
    let (app, _) = with_trail().await;
    let pool = &app.app.database.write;
    let old = app.app.config.identity.master_key.reveal().to_owned();
    let new = Vault::new_key();
    let both = Vault::new(&format!("{new} {old}")).unwrap();
    key::load(pool, &both).await.unwrap();
    let key = key::load(pool, &Vault::new(&new).unwrap()).await.unwrap();
    assert_eq!(verify(pool, &key, &[]).await.unwrap().proved, 5);
    assert!(key::load(pool, &Vault::new(&old).unwrap()).await.is_err());
    // Without it nobody begins anew as if nothing had been.
    app.tamper("DELETE FROM audit_key").await;
    let error = key::load(pool, &both).await.unwrap_err();
    assert!(error.to_string().contains("is gone"), "{error}");
}

#[tokio::test]
async fn the_oldest_part_can_be_moved_into_a_file() {
    let (app, ids) = with_trail().await;
    let (pool, trail) = (&app.app.database.write, &app.app.fhir.trail);
    let path = app.app.config.data_dir.join("archive.ndjson");
    let archive_into = async |path: &std::path::Path| {
        let mut file = BufWriter::new(File::create(path).unwrap());
        let now = app.app.clock.now();
        archive::archive(pool, trail, now, &mut file).await.unwrap()
    };
    assert_eq!(archive_into(&path).await, 5);
    let key = trail.key().unwrap();
    let read = |text: &str| archive::verify_file(text.as_bytes(), key);
    let text = fs::read_to_string(&path).unwrap();
    let (count, head) = read(&text).unwrap();
    assert_eq!((count, &head), (5, &app.anchor()));
    assert!(ids.iter().all(|id| text.contains(id)));
    assert!(read(&text.replace("Patient/3", "Patient/4")).is_err());
    let lines: Vec<&str> = text.lines().collect();
    assert!(read(&[&lines[..2], &lines[3..]].concat().join("\n")).is_err());

    // They are gone, nothing is amiss, and the trail goes on: with that they were moved.
    app.get(&format!("AuditEvent/{}", ids[0])).answer().await.expect(404);
    let left = app.trail().await;
    assert_eq!(brief(&left[0]), "archive  [] 0");
    let report = app.verify().await;
    assert_eq!((report.findings, report.head.seq), (vec![], 7));
    let found = app.get("Patient/1/AuditEvent").answer().await.expect(200).json();
    assert_eq!(found["entry"].as_array().map_or(0, Vec::len), 0);
    let next = app.app.config.data_dir.join("next.ndjson");
    app.trail().await;
    assert!(archive_into(&next).await >= 2);
    let next = fs::read_to_string(&next).unwrap();
    assert!(
        next.starts_with(&format!("{{\"after\":\"{head}\"}}")),
        "one file follows the other"
    );

    // A deletion is not passed off as an archive.
    app.tamper("UPDATE audit_archive SET proof = sha256(proof)").await;
    assert!(matches!(app.verify().await.findings[0], Finding::ForgedArchive { .. }));
}

#[tokio::test]
async fn servers_on_one_database_make_one_chain() {
    let app = spawn_audited_app().await;
    let pool = &app.app.database.write;
    let one = app.app.audit.clone();
    let other = std::sync::Arc::new(
        medconsult::audit::keeper::Keeper::new(
            app.app.fhir.clone(),
            AnchorFile::at(app.app.config.data_dir.join("other.anchor")),
        )
        .unwrap(),
    );
    for round in 0..5 {
        for id in 0..4 {
            app.put_patient(&format!("{round}-{id}")).await;
        }
        let (first, second) = tokio::join!(one.settle(), other.settle());
        first.unwrap();
        second.unwrap();
    }
    let report = verify(pool, app.app.fhir.trail.key().unwrap(), &[app.anchor()])
        .await
        .unwrap();
    assert_eq!((report.proved, report.findings), (20, vec![]));
}
