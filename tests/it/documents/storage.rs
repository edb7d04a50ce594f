//! Where content lies: nowhere readable, and what happens when that place is lost, full, or tampered with.

use std::fs;
use std::time::Duration;

use jiff::SignedDuration;
use medconsult::base::crypto::Vault;
use medconsult::base::objects::{ObjectError, Objects, Place};
use medconsult::base::{Clock, Database};
use serde_json::json;

use super::{base64, contains, files_below, noise, object_of};
use crate::app::{Ask, MASTER_KEY, TestDatabase, spawn_app, spawn_app_with};
use crate::faults::SmallDisk;

#[tokio::test]
async fn nothing_readable_lies_on_disk() {
    const PLANTED: &str = "Planted text that nobody may find: 17 March, positive";
    const CONTROL: &str = "Text-that-may-be-found";
    let app = spawn_app().await;
    let text: String = (0..3000)
        .map(|n| format!("{PLANTED} {n} {}\n", base64(&noise(n % 40))))
        .collect();
    app.send("text/plain", None, text.clone()).await;
    let json =
        json!({"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": base64(text.as_bytes())});
    app.put("Binary/b").fhir(&json).answer().await.expect(201);
    app.put_patient_called(CONTROL).await;
    let ada = format!("Patient/{CONTROL}");
    let fields = [
        ("category", "other"),
        ("subject", ada.as_str()),
        ("author", ada.as_str()),
    ];
    app.upload(&fields, "text/plain", text.as_bytes()).await.expect(201);

    let files = files_below(&app.objects());
    assert_eq!(files.len(), 3);
    let total: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(total >= 3 * text.len() as u64);
    // What the database has written, to its tables and ahead of them.
    let (tables, journal) = app.files_of_database().await;
    let encoded = base64(text.as_bytes());
    let wanted = [PLANTED.as_bytes(), &encoded.as_bytes()[..60]];
    let mut found = 0;
    for file in files.iter().chain(&tables).chain(&journal) {
        // Postgres may remove one meanwhile.
        let Ok(bytes) = fs::read(file) else { continue };
        for planted in wanted {
            assert!(!contains(&bytes, planted), "{} holds what was planted", file.display());
        }
        found += usize::from(contains(&bytes, CONTROL.as_bytes()));
    }
    assert!(
        found >= 2,
        "what the database does hold is found in its tables and its journal"
    );
    // Nor do names tell anything.
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(
            name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{name}"
        );
    }
}

/// Objects of a test, without a server.
struct Bench {
    objects: Objects,
    database: TestDatabase,
    pools: Database,
    hand: medconsult::base::clock::ManualClock,
    clock: Clock,
}

impl Bench {
    async fn new() -> Bench {
        let database = TestDatabase::new().await;
        let sizes = medconsult::base::database::PoolSizes { write: 2, read: 1 };
        let pools = Database::open(database.options(), sizes);
        let (clock, hand) = Clock::manual("2026-03-01T10:00:00Z".parse().unwrap());
        Bench {
            objects: open(&database, &pools, MASTER_KEY, &clock),
            database,
            pools,
            hand,
            clock,
        }
    }

    async fn store(&self, bytes: &[u8]) -> medconsult::base::objects::ObjectId {
        let mut upload = self.objects.begin().await.unwrap();
        upload.write(bytes).await.unwrap();
        upload.finish().await.unwrap().0
    }

    async fn keep(&self, id: medconsult::base::objects::ObjectId) {
        let mut connection = self.pools.write.acquire().await.unwrap();
        medconsult::base::objects::keep(&mut connection, &[id]).await.unwrap();
    }

    fn under(&self, keys: &str) -> Objects {
        open(&self.database, &self.pools, keys, &self.clock)
    }
}

fn open(database: &TestDatabase, pools: &Database, keys: &str, clock: &Clock) -> Objects {
    let place = Place::Folder(database.objects());
    Objects::open(&place, pools.write.clone(), Vault::new(keys).unwrap(), clock.clone()).unwrap()
}

#[tokio::test]
async fn master_keys_are_replaced_without_rewriting_objects() {
    let bench = Bench::new().await;
    let bytes = noise(100_000);
    let ids = [bench.store(&bytes).await, bench.store(b"small").await];
    let before: Vec<Vec<u8>> = files_below(&bench.database.objects())
        .iter()
        .map(|file| fs::read(file).unwrap())
        .collect();
    let new = Vault::new_key();
    let both = bench.under(&format!("{new} {MASTER_KEY}"));
    assert_eq!(both.rewrap().await.unwrap(), 2);
    assert_eq!(both.rewrap().await.unwrap(), 0, "a second time there is nothing to do");
    let after: Vec<Vec<u8>> = files_below(&bench.database.objects())
        .iter()
        .map(|file| fs::read(file).unwrap())
        .collect();
    assert_eq!(before, after);
    let only_new = bench.under(&new);
    assert_eq!(only_new.read_whole(ids[0]).await.unwrap(), bytes);
    assert_eq!(only_new.read_whole(ids[1]).await.unwrap(), b"small");
    assert!(matches!(
        bench.objects.read_whole(ids[0]).await,
        Err(ObjectError::Tampered)
    ));
    assert!(matches!(bench.objects.rewrap().await, Err(ObjectError::Tampered)));
}

#[tokio::test]
async fn what_nobody_names_is_removed_after_a_day() {
    let bench = Bench::new().await;
    let (kept, forgotten) = (bench.store(b"kept").await, bench.store(b"forgotten").await);
    bench.keep(kept).await;
    let unfinished = bench.objects.begin().await.unwrap();
    drop(unfinished);
    bench.hand.advance(SignedDuration::from_hours(23));
    let late = bench.store(b"late").await;
    assert_eq!(bench.objects.collect().await.unwrap(), 0);
    bench.hand.advance(SignedDuration::from_hours(2));
    assert_eq!(bench.objects.collect().await.unwrap(), 2);
    assert_eq!(bench.objects.collect().await.unwrap(), 0);
    assert_eq!(files_below(&bench.database.objects()).len(), 2);
    assert_eq!(bench.objects.read_whole(kept).await.unwrap(), b"kept");
    assert_eq!(bench.objects.read_whole(late).await.unwrap(), b"late");
    assert!(matches!(
        bench.objects.read_whole(forgotten).await,
        Err(ObjectError::Missing)
    ));
    // Whoever comes to name it now comes too late, and is told so.
    let mut connection = bench.pools.write.acquire().await.unwrap();
    let named = medconsult::base::objects::keep(&mut connection, &[kept, forgotten]).await;
    assert!(matches!(named, Err(ObjectError::Missing)));
}

#[tokio::test]
async fn bytes_that_were_changed_swapped_or_cut_off_are_not_given_out() {
    let bench = Bench::new().await;
    let bytes = noise(150_000);
    let (id, other) = (bench.store(&bytes).await, bench.store(&noise(150_001)[1..]).await);
    let path = |id: medconsult::base::objects::ObjectId| {
        let name = id.to_string();
        bench.database.objects().join(&name[..2]).join(&name)
    };
    let sealed = fs::read(path(id)).unwrap();
    assert_eq!(sealed.len(), 150_000 + 3 * 16);
    let chunk = 65_536 + 16;
    let mut changed = sealed.clone();
    changed[70_000] ^= 1;
    let mut swapped = sealed.clone();
    swapped[..2 * chunk].rotate_left(chunk);
    let foreign = fs::read(path(other)).unwrap();
    for (what, wrong) in [
        ("changed", changed),
        ("swapped", swapped),
        ("cut off between chunks", sealed[..2 * chunk].to_vec()),
        ("cut off", sealed[..sealed.len() - 1].to_vec()),
        ("of another object", foreign),
        ("empty", Vec::new()),
    ] {
        fs::write(path(id), wrong).unwrap();
        assert!(bench.objects.read_whole(id).await.is_err(), "{what}");
    }
    fs::write(path(id), &sealed).unwrap();
    assert_eq!(bench.objects.read_whole(id).await.unwrap(), bytes);
    fs::remove_file(path(id)).unwrap();
    assert!(matches!(bench.objects.read_whole(id).await, Err(ObjectError::Missing)));
}

#[tokio::test]
async fn what_was_erased_is_gone_for_everybody_and_its_versions_say_so() {
    let app = spawn_app().await;
    let address = app.send("text/plain", None, "to be forgotten").await;
    let object = object_of(&app.app.fhir, &address).await;
    assert_eq!(app.app.fhir.objects.erase(&[object]).await.unwrap(), 1);
    let gone = app.get(&address).answer().await.expect(410).json();
    assert_eq!(gone["issue"][0]["code"], "deleted");
    let resource = app
        .get(&format!("{address}?_format=json"))
        .answer()
        .await
        .expect(200)
        .json();
    assert!(resource.get("data").is_none() && resource["contentType"] == "text/plain");
    app.get("Binary").answer().await.expect(200);
    assert_eq!(app.app.fhir.objects.collect().await.unwrap(), 1);
    assert!(files_below(&app.objects()).is_empty());
    assert_eq!(app.app.fhir.objects.collect().await.unwrap(), 0);
    app.get(&address).answer().await.expect(410);
}

#[tokio::test]
async fn while_the_object_store_is_away_everything_else_works() {
    let app = spawn_app().await;
    let address = app.send("text/plain", None, "here").await;
    let (folder, elsewhere) = (app.objects(), app.objects().with_extension("away"));
    fs::rename(&folder, &elsewhere).unwrap();
    // A file in the place of the folder: nobody can make it anew.
    fs::write(&folder, b"").unwrap();
    let send = || {
        app.post("Binary")
            .header("content-type", "text/plain")
            .body("new")
            .answer()
    };
    let refused = send().await.expect(503).json();
    assert_eq!(refused["issue"][0]["code"], "transient", "{refused}");
    let status = app.get(&address).answer().await.status.as_u16();
    assert_eq!(status, 503);
    let json = json!({"resourceType": "Binary", "contentType": "text/plain", "data": "bmV3"});
    app.post("Binary").fhir(&json).answer().await.expect(503);
    app.put_patient_called("ada").await;
    app.get("Patient/ada").answer().await.expect(200);
    assert_eq!(
        app.get("Binary?_summary=count").answer().await.expect(200).json()["total"],
        1,
        "nothing was stored"
    );
    fs::remove_file(&folder).unwrap();
    fs::rename(&elsewhere, &folder).unwrap();
    assert_eq!(app.get(&address).answer().await.expect(200).text(), "here");
    send().await.expect(201);
}

#[tokio::test]
async fn a_full_object_store_refuses_content_and_keeps_what_it_has() {
    let Some(disk) = SmallDisk::mount("objects", "12m") else {
        skipped!("a_full_object_store_refuses_content (a small file system can be mounted only by root)");
        return;
    };
    let folder = disk.directory.join("objects");
    let app = spawn_app_with(|config| config.objects.folder = folder).await;
    let kept = app.send("video/mp4", None, noise(1_000_000)).await;
    let send = |length: usize| {
        app.post("Binary")
            .header("content-type", "video/mp4")
            .body(noise(length))
            .answer()
    };
    let refused = send(20_000_000).await.expect(503).json();
    let text = refused["issue"][0]["diagnostics"].as_str().unwrap();
    assert!(text.contains("no room"), "{text}");
    assert_eq!(
        app.get("Binary?_summary=count").answer().await.expect(200).json()["total"],
        1
    );
    assert_eq!(app.get(&kept).answer().await.expect(200).bytes, noise(1_000_000));
    app.put_patient_called("ada").await;
    // What was begun does not take the room of what comes later.
    send(1_000_000).await.expect(201);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    use tokio::io::AsyncWriteExt;
    let app = spawn_app_with(|config| config.http.body_timeout_seconds = 1).await;
    let address = app.address.trim_start_matches("http://").to_owned();
    let begin = |length: usize| {
        let address = address.clone();
        async move {
            let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
            let head = format!(
                "POST /fhir/Binary HTTP/1.1\r\nhost: {address}\r\ncontent-type: video/mp4\r\ncontent-length: {length}\r\n\r\n"
            );
            socket.write_all(head.as_bytes()).await.unwrap();
            socket.write_all(&noise(1000)).await.unwrap();
            socket
        }
    };
    // One that closes, one that stops sending.
    drop(begin(2000).await);
    let mut slow = begin(2000).await;
    let mut said = String::new();
    let read = tokio::io::AsyncReadExt::read_to_string(&mut slow, &mut said);
    tokio::time::timeout(Duration::from_secs(20), read)
        .await
        .expect("an answer")
        .unwrap();
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    assert_eq!(
        app.get("Binary?_summary=count").answer().await.expect(200).json()["total"],
        0
    );
    assert!(files_below(&app.objects()).is_empty());
}

#[tokio::test]
async fn content_from_before_there_were_objects_is_read_and_moved() {
    let app = spawn_app().await;
    let (old, new) = ("from before", "and newer");
    for text in [old, new] {
        let sent = app.put("Binary/b").header("content-type", "text/plain").body(text);
        assert!(sent.answer().await.status.is_success());
    }
    let mut connection = app.connection().await;
    // As the release before left it.
    for (table, text) in [("resource_history", old), ("resource", new)] {
        let sql = format!(
            "UPDATE {table} v SET content = jsonb_set(content, '{{data}}', to_jsonb($1::text)) WHERE content ? 'data'"
        );
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(base64(text.as_bytes()));
        assert_eq!(query.execute(&mut connection).await.unwrap().rows_affected(), 1);
    }
    let migration = include_str!("../../../migrations/0022_objects.sql");
    let select = migration
        .split("CREATE TABLE object_to_gather AS")
        .nth(1)
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    let fill = format!("INSERT INTO object_to_gather {select}");
    assert_eq!(
        sqlx::query(sqlx::AssertSqlSafe(fill))
            .execute(&mut connection)
            .await
            .unwrap()
            .rows_affected(),
        2
    );
    let read = || async {
        for (path, text) in [("Binary/b/_history/1", old), ("Binary/b", new)] {
            assert_eq!(app.get(path).answer().await.expect(200).text(), text);
            let json = app
                .get(&format!("{path}?_format=json"))
                .answer()
                .await
                .expect(200)
                .json();
            assert_eq!(json["data"], base64(text.as_bytes()));
        }
        let part = app
            .get("Binary/b")
            .header("range", "bytes=4-")
            .answer()
            .await
            .expect(206);
        assert_eq!(part.text(), "newer");
    };
    read().await;
    let fhir = &app.app.fhir;
    assert_eq!(medconsult::fhir::gather::gather(fhir).await.unwrap(), 2);
    assert_eq!(medconsult::fhir::gather::gather(fhir).await.unwrap(), 0);
    read().await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM resource WHERE content->>'data' NOT LIKE 'object:%'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, 0);
    assert_eq!(
        app.get("Binary/b").answer().await.expect(200).header("etag"),
        "W/\"2\"",
        "no version was made"
    );
}

#[tokio::test]
async fn an_operator_replaces_the_key_and_erases_a_file_beside_the_server() {
    use crate::faults::{Server, data_dir, program};
    let directory = data_dir();
    let server = Server::start_with(&directory, &[("MEDCONSULT_FHIR_PROFILES", "false")]).await;
    let send = |text: &'static str| {
        let request = server.client.post(format!("{}/Binary", server.base));
        request.header("content-type", "text/plain").body(text).answer()
    };
    let first = send("first").await.expect(201);
    send("second").await.expect(201);
    let address = |answer: &crate::app::Answer| format!("Binary/{}", answer.json()["id"].as_str().unwrap());
    let run = |arguments: Vec<String>| {
        let mut command = program(&directory);
        async move {
            let output = command.arg("objects").args(arguments).output().await.unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            said
        }
    };
    let keys = directory.join("master.key");
    let old = fs::read_to_string(&keys).unwrap();
    fs::write(&keys, format!("{}\n{old}", Vault::new_key())).unwrap();
    assert!(run(vec!["rewrap".to_owned()]).await.starts_with("sealed 2 keys"));
    assert!(
        run(vec!["erase".to_owned(), address(&first)])
            .await
            .starts_with("erased 1 ")
    );
    let read = |answer: &crate::app::Answer| {
        server
            .client
            .get(format!("{}/{}", server.base, address(answer)))
            .answer()
    };
    read(&first).await.expect(410);
    assert_eq!(files_below(&directory.join("objects")).len(), 1);
    assert!(run(vec!["collect".to_owned()]).await.starts_with("removed 0 "));
}
