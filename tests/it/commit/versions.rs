//! What a write makes: a version that reads back as it came, and a history without gaps.

use medconsult::fhir::caller::Caller;
use medconsult::fhir::commit::{Effect, Target, Write};
use medconsult::fhir::patch::Patch;
use medconsult::fhir::resource::Method;
use medconsult::fhir::store::{HistoryQuery, HistoryScope};
use serde_json::json;

use super::{content, create, delete, page, patient, update};
use crate::bench::bench;

#[tokio::test]
async fn every_write_makes_a_version_that_can_be_read_back() {
    let bench = bench().await;
    let created = bench.write(create(patient("ignored", "Chalmers"))).await.unwrap();
    assert_eq!((created.effect, created.stored.version), (Effect::Created, 1));
    let id = created.stored.id.clone();
    assert_ne!(id, "ignored", "a create gets an id from the server");
    let read = bench.read("Patient", &id).await.unwrap();
    assert_eq!(content(&read), content(&created.stored));
    assert!(
        read.json
            .starts_with(&format!(r#"{{"resourceType":"Patient","id":"{id}","meta":{{"#)),
        "{}",
        read.json
    );
    assert_eq!(
        content(&read)["meta"],
        json!({"versionId": "1", "lastUpdated": "2026-03-01T10:00:01.000Z"})
    );

    let updated = bench.write(update(patient(&id, "Windsor"))).await.unwrap();
    assert_eq!((updated.effect, updated.stored.version), (Effect::Updated, 2));
    let deleted = bench.write(delete("Patient", &id)).await.unwrap();
    assert_eq!((deleted.effect, deleted.stored.version), (Effect::Deleted, 3));
    assert!(bench.read("Patient", &id).await.unwrap().deleted);
    let again = bench.write(delete("Patient", &id)).await.unwrap();
    assert_eq!((again.effect, again.stored.version), (Effect::NothingToDelete, 3));
    assert_eq!(
        bench.write(delete("Patient", "never")).await.unwrap().effect,
        Effect::NothingToDelete
    );
    let back = bench.write(update(patient(&id, "Phoenix"))).await.unwrap();
    assert_eq!((back.effect, back.stored.version), (Effect::Created, 4));

    let versions = bench
        .history(
            HistoryScope::Instance {
                resource_type: "Patient",
                id: &id,
            },
            page(10),
        )
        .await;
    let told: Vec<_> = versions
        .entries
        .iter()
        .map(|v| (v.version, v.method, v.deleted))
        .collect();
    let expected = [
        (4, Method::Put, false),
        (3, Method::Delete, true),
        (2, Method::Put, false),
        (1, Method::Post, false),
    ];
    assert_eq!(told, expected);
    assert_eq!(versions.total, Some(4));
    for version in &versions.entries {
        let read = bench
            .server
            .vread(&Caller::sandbox(), "Patient", &id, version.version)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(read.json, version.json);
    }
    assert!(
        bench
            .server
            .vread(&Caller::sandbox(), "Patient", &id, 5)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn writing_back_what_was_read_makes_no_version() {
    let bench = bench().await;
    let created = bench.write(create(patient("x", "Same"))).await.unwrap();
    let same = bench.write(update(content(&created.stored))).await.unwrap();
    assert_eq!((same.effect, same.stored.version), (Effect::Unchanged, 1));
    assert_eq!(same.stored.last_updated, created.stored.last_updated);
    let mut tagged = content(&created.stored);
    tagged["meta"]["tag"] = json!([{"code": "new"}]);
    let changed = bench.write(update(tagged)).await.unwrap();
    assert_eq!((changed.effect, changed.stored.version), (Effect::Updated, 2));
}

#[tokio::test]
async fn numbers_come_back_digit_for_digit() {
    let bench = bench().await;
    let long = "0.10000000000000000000000000001";
    for (sent, value) in [
        ("1.50", "1.50"),
        ("1E3", "1e+3"),
        ("1e-7", "1e-7"),
        ("-0.0", "-0.0"),
        (long, long),
    ] {
        let text = format!(
            r#"{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},"valueQuantity":{{"value":{sent}}}}}"#
        );
        let resource = medconsult::fhir::resource::parse(text.as_bytes()).unwrap();
        let created = bench.write(create(resource)).await.unwrap();
        let read = bench.read("Observation", &created.stored.id).await.unwrap();
        assert_eq!(content(&read)["valueQuantity"]["value"].to_string(), value);
        let unchanged = bench.write(update(content(&read))).await.unwrap();
        assert_eq!(unchanged.effect, Effect::Unchanged, "{value}");
    }
}

#[tokio::test]
async fn histories_page_without_gaps_while_others_write() {
    let bench = bench().await;
    for n in 0..7 {
        bench.write(update(patient(&format!("p{n}"), "First"))).await.unwrap();
    }
    for n in 0..4 {
        bench.write(update(patient(&format!("p{n}"), "Second"))).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut query = page(3);
    loop {
        let found = bench.history(HistoryScope::Type("Patient"), query.clone()).await;
        seen.extend(found.entries.iter().map(|v| (v.id.clone(), v.version)));
        // A version that was current on the last page is superseded before the next one is read.
        bench
            .write(update(patient("p6", &format!("Third{}", seen.len()))))
            .await
            .unwrap();
        match found.next {
            Some(cursor) => query.cursor = Some(cursor),
            None => break,
        }
    }
    let expected: Vec<_> = (0..4)
        .rev()
        .map(|n| (n, 2))
        .chain((0..7).rev().map(|n| (n, 1)))
        .collect();
    assert_eq!(
        seen,
        expected
            .iter()
            .map(|(n, version)| (format!("p{n}"), *version))
            .collect::<Vec<_>>()
    );

    let counted = bench.history(HistoryScope::System, page(0)).await;
    assert_eq!((counted.entries.len(), counted.total), (0, Some(15)));
    let since = "2026-03-01T10:00:08Z".parse().unwrap();
    let recent = bench
        .history(
            HistoryScope::Type("Patient"),
            HistoryQuery {
                since: Some(since),
                ..page(50)
            },
        )
        .await;
    assert_eq!(recent.entries.len(), 8);
    let at = Some((
        "2026-03-01T10:00:09Z".parse().unwrap(),
        "2026-03-01T10:00:09.500Z".parse().unwrap(),
    ));
    let then = bench
        .history(HistoryScope::Type("Patient"), HistoryQuery { at, ..page(50) })
        .await;
    let mut then: Vec<_> = then.entries.iter().map(|v| (v.id.as_str(), v.version)).collect();
    then.sort_unstable();
    // p1's second version came at that very second, when its first one had been current until then.
    assert_eq!(
        then,
        [
            ("p0", 2),
            ("p1", 2),
            ("p2", 1),
            ("p3", 1),
            ("p4", 1),
            ("p5", 1),
            ("p6", 1)
        ]
    );
}

#[tokio::test]
async fn a_patch_changes_what_is_there() {
    let bench = bench().await;
    bench.write(update(patient("p", "Before"))).await.unwrap();
    let patch = |id: &str, if_match| Write::Patch {
        target: Target::Instance {
            resource_type: "Patient".to_owned(),
            id: id.to_owned(),
        },
        patch: Patch::merge(json!({"active": true})).unwrap(),
        if_match,
    };
    let patched = bench.write(patch("p", Some(1))).await.unwrap();
    assert_eq!(
        (patched.effect, patched.stored.version, patched.stored.method),
        (Effect::Updated, 2, Method::Patch)
    );
    assert_eq!(content(&patched.stored)["active"], true);
    assert_eq!(bench.write(patch("p", Some(1))).await.unwrap_err().status.as_u16(), 412);
    assert_eq!(bench.write(patch("p", None)).await.unwrap().effect, Effect::Unchanged);
    assert_eq!(
        bench.write(patch("never", None)).await.unwrap_err().status.as_u16(),
        404
    );
    bench.write(delete("Patient", "p")).await.unwrap();
    assert_eq!(bench.write(patch("p", None)).await.unwrap_err().status.as_u16(), 410);
}

#[tokio::test]
async fn a_reference_waits_for_its_target() {
    let bench = bench().await;
    let early = json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/late"}});
    bench.write(create(early)).await.unwrap();
    assert!(
        bench.read("Patient", "late").await.is_none(),
        "a placeholder is nothing that can be read"
    );
    assert_eq!(
        bench
            .history(HistoryScope::Type("Patient"), page(9))
            .await
            .entries
            .len(),
        0
    );
    let arrived = bench.write(update(patient("late", "x"))).await.unwrap();
    assert_eq!((arrived.effect, arrived.stored.version), (Effect::Created, 1));
    let joined = "SELECT count(*) FROM idx_reference x JOIN resource r ON r.rid = x.target WHERE r.id = 'late' AND NOT r.deleted";
    assert!(bench.count(joined).await >= 1);
    let versions = bench
        .history(
            HistoryScope::Instance {
                resource_type: "Patient",
                id: "late",
            },
            page(9),
        )
        .await;
    assert_eq!(versions.entries.len(), 1, "a placeholder is no version");
}
