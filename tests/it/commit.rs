//! The one door for writes, and what it leaves to be read: without HTTP, so that races are as tight as they get.

use futures::future::{BoxFuture, join_all};
use jiff::SignedDuration;
use medconsult::fhir::caller::Caller;
use medconsult::fhir::commit::{CommitError, Effect, Op, Outcome, Target, Write, commit};
use medconsult::fhir::error::FhirError;
use medconsult::fhir::hooks::{Change, Draft, Guard, Hooks, Reaction};
use medconsult::fhir::integrity::ReferentialIntegrity;
use medconsult::fhir::patch::Patch;
use medconsult::fhir::resource::{Method, StoredResource};
use medconsult::fhir::store::{HistoryPage, HistoryQuery, HistoryScope};
use medconsult::jobs::NewJob;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::bench::{Bench, bench, bench_with};

impl Bench {
    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Outcome>, CommitError> {
        let ops = writes.into_iter().map(|write| Op { write, full_url: None }).collect();
        self.clock.advance(SignedDuration::from_secs(1));
        commit(&self.server, &Caller::sandbox(), ops).await
    }

    async fn write(&self, write: Write) -> Result<Outcome, FhirError> {
        self.commit(vec![write])
            .await
            .map(|mut outcomes| outcomes.remove(0))
            .map_err(|error| error.error)
    }

    async fn read(&self, resource_type: &str, id: &str) -> Option<StoredResource> {
        self.server
            .store
            .read(&Caller::sandbox(), resource_type, id)
            .await
            .unwrap()
    }

    async fn history(&self, scope: HistoryScope<'_>, query: HistoryQuery) -> HistoryPage {
        self.server
            .store
            .history(&Caller::sandbox(), scope, &query)
            .await
            .unwrap()
    }

    async fn connection(&self) -> PgConnection {
        PgConnection::connect_with(&self.database.options()).await.unwrap()
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(&mut self.connection().await)
            .await
            .unwrap()
    }
}

fn create(resource: Value) -> Write {
    Write::Create {
        resource,
        if_none_exist: None,
    }
}

fn create_if_none(criteria: &str, resource: Value) -> Write {
    Write::Create {
        resource,
        if_none_exist: Some(criteria.to_owned()),
    }
}

fn instance(resource: &Value) -> Target {
    Target::Instance {
        resource_type: resource["resourceType"].as_str().unwrap().to_owned(),
        id: resource["id"].as_str().unwrap().to_owned(),
    }
}

fn update(resource: Value) -> Write {
    update_if(resource, None)
}

fn update_if(resource: Value, if_match: Option<i32>) -> Write {
    Write::Update {
        target: instance(&resource),
        resource,
        if_match,
        if_none_match_any: false,
    }
}

fn delete(resource_type: &str, id: &str) -> Write {
    let target = Target::Instance {
        resource_type: resource_type.to_owned(),
        id: id.to_owned(),
    };
    Write::Delete { target, if_match: None }
}

fn patient(id: &str, family: &str) -> Value {
    json!({"resourceType": "Patient", "id": id, "name": [{"family": family}], "identifier": [{"system": "urn:mrn", "value": id}]})
}

fn named(full_url: &str, write: Write) -> Op {
    Op {
        write,
        full_url: Some(full_url.to_owned()),
    }
}

fn content(stored: &StoredResource) -> Value {
    serde_json::from_str(&stored.json).unwrap()
}

const MRN: &str = "identifier=urn:mrn|42";

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
            .store
            .vread(&Caller::sandbox(), "Patient", &id, version.version)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(read.json, version.json);
    }
    assert!(
        bench
            .server
            .store
            .vread(&Caller::sandbox(), "Patient", &id, 5)
            .await
            .unwrap()
            .is_none()
    );
}

fn page(count: u32) -> HistoryQuery {
    HistoryQuery {
        count,
        ..HistoryQuery::default()
    }
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
async fn entries_may_refer_to_each_other_in_a_circle() {
    let bench = bench().await;
    let one = json!({"resourceType": "Observation", "status": "final", "code": {"text": "a"}, "hasMember": [{"reference": "urn:uuid:2"}], "subject": {"reference": "urn:uuid:p"}});
    let two = json!({"resourceType": "Observation", "status": "final", "code": {"text": "b"}, "derivedFrom": [{"reference": "urn:uuid:1"}]});
    let ops = vec![
        named("urn:uuid:1", create(one)),
        named("urn:uuid:2", create(two)),
        named("urn:uuid:p", update(patient("p", "Put"))),
    ];
    let outcomes = commit(&bench.server, &Caller::sandbox(), ops).await.unwrap();
    let [one, two, _] = [0, 1, 2].map(|n| content(&outcomes[n].stored));
    assert_eq!(
        one["hasMember"][0]["reference"],
        format!("Observation/{}", two["id"].as_str().unwrap())
    );
    assert_eq!(
        two["derivedFrom"][0]["reference"],
        format!("Observation/{}", one["id"].as_str().unwrap())
    );
    assert_eq!(one["subject"]["reference"], "Patient/p");
    let index = "SELECT count(*) FROM idx_reference x JOIN resource r ON r.rid = x.target WHERE r.version = 1";
    assert!(bench.count(index).await >= 1);
}

#[tokio::test]
async fn a_commit_stores_all_or_nothing() {
    let bench = bench().await;
    bench.write(update(patient("there", "One"))).await.unwrap();
    let stale = update_if(patient("there", "Two"), Some(7));
    let error = bench
        .commit(vec![create(patient("x", "New")), update(patient("y", "New")), stale])
        .await
        .unwrap_err();
    assert_eq!((error.op, error.error.status.as_u16()), (Some(2), 412));
    assert_eq!(bench.count("SELECT count(*) FROM resource WHERE version > 0").await, 1);
    assert_eq!(bench.count("SELECT count(*) FROM resource_history").await, 0);
    let overlap = bench
        .commit(vec![update(patient("a", "1")), delete("Patient", "a")])
        .await
        .unwrap_err();
    assert_eq!(overlap.error.status.as_u16(), 400);
}

#[tokio::test]
async fn the_order_of_the_entries_has_no_influence() {
    let writes = || {
        vec![
            delete("Patient", "gone"),
            create_if_none(MRN, patient("42", "New")),
            update(patient("there", "Changed")),
            create(
                json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient?identifier=urn:mrn|42"}}),
            ),
        ]
    };
    for turn in 0..4 {
        let bench = bench().await;
        bench.write(update(patient("gone", "x"))).await.unwrap();
        bench.write(update(patient("there", "x"))).await.unwrap();
        let mut writes = writes();
        writes.rotate_left(turn);
        let mut outcomes = bench.commit(writes).await.unwrap();
        outcomes.rotate_right(turn);
        assert_eq!(
            outcomes.iter().map(|outcome| outcome.effect).collect::<Vec<_>>(),
            [Effect::Deleted, Effect::Created, Effect::Updated, Effect::Created]
        );
        // The reference is resolved after the create that it matches.
        assert_eq!(
            content(&outcomes[3].stored)["subject"]["reference"],
            format!("Patient/{}", outcomes[1].stored.id)
        );
    }
}

#[tokio::test]
async fn a_conditional_reference_matches_exactly_one() {
    let bench = bench().await;
    let observation = || {
        create(
            json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient?identifier=urn:mrn|42"}}),
        )
    };
    let none = bench.write(observation()).await.unwrap_err();
    assert_eq!(none.status.as_u16(), 412);
    let only = bench.write(create(patient("42", "Only"))).await.unwrap();
    let found = bench.write(observation()).await.unwrap();
    assert_eq!(
        content(&found.stored)["subject"]["reference"],
        format!("Patient/{}", only.stored.id)
    );
    bench.write(create(patient("42", "Second"))).await.unwrap();
    assert_eq!(bench.write(observation()).await.unwrap_err().status.as_u16(), 412);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_equal_conditional_creates_make_one_resource() {
    let bench = bench().await;
    let outcomes = join_all((0..50).map(|n| bench.write(create_if_none(MRN, patient("42", &format!("N{n}")))))).await;
    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| outcome.effect == Effect::Created)
            .count(),
        1
    );
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.stored.id == outcomes[0].stored.id)
    );
    assert_eq!(bench.count("SELECT count(*) FROM resource").await, 1);
}

#[tokio::test]
async fn conditional_updates_create_update_or_refuse() {
    let bench = bench().await;
    let by_mrn = |resource: Value| Write::Update {
        target: Target::Criteria {
            resource_type: "Patient".to_owned(),
            query: MRN.to_owned(),
        },
        resource,
        if_match: None,
        if_none_match_any: false,
    };
    let anonymous = |family| {
        let mut resource = patient("42", family);
        resource.as_object_mut().unwrap().shift_remove("id");
        resource
    };
    let created = bench.write(by_mrn(anonymous("One"))).await.unwrap();
    assert_eq!(created.effect, Effect::Created);
    let updated = bench.write(by_mrn(anonymous("Two"))).await.unwrap();
    assert_eq!(
        (updated.effect, &updated.stored.id, updated.stored.version),
        (Effect::Updated, &created.stored.id, 2)
    );
    assert_eq!(
        bench
            .write(by_mrn(patient("42", "Three")))
            .await
            .unwrap_err()
            .status
            .as_u16(),
        400,
        "another id"
    );
    bench.write(create(patient("42", "Twin"))).await.unwrap();
    assert_eq!(
        bench
            .write(by_mrn(anonymous("Four")))
            .await
            .unwrap_err()
            .status
            .as_u16(),
        412
    );
    let gone = Write::Delete {
        target: Target::Criteria {
            resource_type: "Patient".to_owned(),
            query: "identifier=urn:mrn|none".to_owned(),
        },
        if_match: None,
    };
    assert_eq!(bench.write(gone).await.unwrap().effect, Effect::NothingToDelete);
}

#[tokio::test]
async fn a_conditional_create_finds_what_an_earlier_entry_made() {
    let bench = bench().await;
    let twice = vec![
        create_if_none(MRN, patient("42", "One")),
        create_if_none("identifier=urn%3Amrn%7C42", patient("42", "Two")),
    ];
    let outcomes = bench.commit(twice).await.unwrap();
    assert_eq!(
        (outcomes[0].effect, outcomes[1].effect),
        (Effect::Created, Effect::Existing)
    );
    assert_eq!(outcomes[0].stored.id, outcomes[1].stored.id);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_equal_if_match_updates_one_wins() {
    let bench = bench().await;
    bench.write(update(patient("p", "Start"))).await.unwrap();
    for version in 1..6 {
        let race = (0..8).map(|n| bench.write(update_if(patient("p", &format!("V{version}N{n}")), Some(version))));
        let results = join_all(race).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        let refused = results.iter().filter_map(|result| result.as_ref().err());
        assert!(refused.map(|error| error.status.as_u16()).all(|status| status == 412));
    }
    assert_eq!(bench.read("Patient", "p").await.unwrap().version, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn transactions_that_cross_each_other_all_finish() {
    let bench = bench().await;
    let (a, b) = (
        |name: &str| update(patient("a", name)),
        |name: &str| update(patient("b", name)),
    );
    let race = (0..40).map(|n| {
        let name = format!("N{n}");
        let writes = if n % 2 == 0 {
            vec![a(&name), b(&name)]
        } else {
            vec![b(&name), a(&name)]
        };
        bench.commit(writes)
    });
    for result in join_all(race).await {
        result.unwrap();
    }
    let (a, b) = (
        bench.read("Patient", "a").await.unwrap(),
        bench.read("Patient", "b").await.unwrap(),
    );
    assert_eq!((a.version, b.version), (40, 40));
    assert_eq!(
        content(&a)["name"],
        content(&b)["name"],
        "one transaction wrote both last"
    );
    assert_eq!(bench.count("SELECT count(DISTINCT last_updated) FROM resource_history WHERE type = (SELECT id FROM resource_type WHERE name = 'Patient')").await, 78 / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn updates_and_deletes_in_a_race_leave_a_whole_history() {
    let bench = bench().await;
    let race = (0..40).map(|n| {
        let write = if n % 3 == 0 {
            delete("Patient", "p")
        } else {
            update(patient("p", &format!("N{n}")))
        };
        bench.write(write)
    });
    let outcomes: Vec<_> = join_all(race).await.into_iter().map(Result::unwrap).collect();
    let made = outcomes
        .iter()
        .filter(|outcome| outcome.effect != Effect::NothingToDelete)
        .count();
    let versions = bench
        .history(
            HistoryScope::Instance {
                resource_type: "Patient",
                id: "p",
            },
            page(100),
        )
        .await;
    let numbers: Vec<_> = versions
        .entries
        .iter()
        .map(|version| version.version as usize)
        .collect();
    assert_eq!(numbers, (1..=made).rev().collect::<Vec<_>>());
    let current = bench.read("Patient", "p").await.unwrap();
    let rows = bench.count("SELECT count(*) FROM idx_token").await;
    assert_eq!(
        rows > 0,
        !current.deleted,
        "index rows are there exactly when the resource is"
    );
}

#[tokio::test]
async fn an_update_touches_only_index_rows_that_differ() {
    let bench = bench().await;
    let two = json!([{"system": "urn:mrn", "value": "1"}, {"system": "urn:mrn", "value": "2"}]);
    let mut resource = patient("p", "x");
    resource["identifier"] = two;
    bench.write(update(resource.clone())).await.unwrap();
    let kept = "SELECT xmin::text::bigint FROM idx_token WHERE code = '1'";
    let before = bench.count(kept).await;
    resource["identifier"][1]["value"] = json!("3");
    bench.write(update(resource)).await.unwrap();
    assert_eq!(
        bench.count(kept).await,
        before,
        "the row of the identifier that stayed was not written again"
    );
    assert_eq!(bench.count("SELECT count(*) FROM idx_token WHERE code = '2'").await, 0);
    assert_eq!(bench.count("SELECT count(*) FROM idx_token WHERE code = '3'").await, 1);
    bench.write(delete("Patient", "p")).await.unwrap();
    assert_eq!(bench.count("SELECT count(*) FROM idx_token").await, 0);
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

/// Marks what it lets pass, and refuses a family of three letters.
struct Watchman;

impl Guard for Watchman {
    fn watches(&self, resource_type: &str) -> bool {
        resource_type == "Patient"
    }

    fn before<'a>(
        &'a self,
        _: &'a mut PgConnection,
        _: &'a Caller,
        draft: Draft<'a>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            if let Some(after) = draft.after {
                after["language"] = json!("en");
            }
            Ok(())
        })
    }

    fn after_all<'a>(
        &'a self,
        transaction: &'a mut PgConnection,
        _: &'a Caller,
        changes: Vec<&'a Change>,
    ) -> BoxFuture<'a, Result<(), FhirError>> {
        Box::pin(async move {
            let rids: Vec<i64> = changes.iter().map(|change| change.rid).collect();
            let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM resource WHERE rid = ANY ($1) AND version > 0")
                .bind(&rids)
                .fetch_one(transaction)
                .await?;
            assert_eq!(seen as usize, changes.len(), "everything is written by now");
            match changes.iter().any(|change| {
                change
                    .after
                    .as_ref()
                    .is_some_and(|after| after["name"][0]["family"] == "Bad")
            }) {
                true => Err(FhirError::conflict("Refused.")),
                false => Ok(()),
            }
        })
    }
}

struct Greeting;

impl Reaction for Greeting {
    fn watches(&self, resource_type: &str) -> bool {
        resource_type == "Patient"
    }

    fn job(&self, change: &Change) -> Option<NewJob> {
        (change.effect == Effect::Created).then(|| NewJob::new("greeting", json!({"id": change.id})))
    }
}

#[tokio::test]
async fn guards_amend_and_refuse_and_reactions_leave_jobs() {
    let hooks = Hooks {
        guards: vec![Box::new(Watchman)],
        reactions: vec![Box::new(Greeting)],
        ..Hooks::default()
    };
    let bench = bench_with(hooks).await;
    let created = bench.write(create(patient("x", "Good"))).await.unwrap();
    assert_eq!(content(&created.stored)["language"], "en");
    let both = vec![create(patient("x", "Good")), create(patient("x", "Bad"))];
    assert_eq!(bench.commit(both).await.unwrap_err().error.status.as_u16(), 409);
    assert_eq!(bench.count("SELECT count(*) FROM resource").await, 1);
    assert_eq!(bench.count("SELECT count(*) FROM job WHERE kind = 'greeting'").await, 1);
    bench
        .write(update(patient(&created.stored.id, "Better")))
        .await
        .unwrap();
    assert_eq!(bench.count("SELECT count(*) FROM job").await, 1);
}

#[tokio::test]
async fn with_integrity_references_lead_somewhere() {
    let bench = bench_with(Hooks {
        guards: vec![Box::new(ReferentialIntegrity)],
        ..Hooks::default()
    })
    .await;
    let observation = || {
        create(
            json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/p"}}),
        )
    };
    assert_eq!(bench.write(observation()).await.unwrap_err().status.as_u16(), 409);
    let both = bench
        .commit(vec![observation(), update(patient("p", "x"))])
        .await
        .unwrap();
    assert_eq!(
        bench.write(delete("Patient", "p")).await.unwrap_err().status.as_u16(),
        409
    );
    bench
        .commit(vec![delete("Patient", "p"), delete("Observation", &both[0].stored.id)])
        .await
        .unwrap();
    assert_eq!(bench.count("SELECT count(*) FROM resource WHERE NOT deleted").await, 0);
}
