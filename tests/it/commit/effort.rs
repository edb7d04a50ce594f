//! What a write costs: it touches what differs, in as many statements for a hundred resources as for one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use medconsult::fhir::commit::Write;
use medconsult::fhir::hooks::Hooks;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

use super::{create, create_if_none, delete, patient, update};
use crate::app::{TestDatabase, clusters_directory};
use crate::bench::{bench, bench_through};

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
async fn a_hundred_resources_take_as_many_statements_as_one() {
    let database = TestDatabase::new().await;
    let counter = Counter::before(&database).await;
    let options = database.options().socket(&counter.directory);
    let bench = bench_through(options, database, Hooks::default()).await;
    let family = |n: usize, version: usize| patient(&format!("p{n}"), &format!("V{version}"));
    let about = |n: usize| {
        json!({"resourceType": "Observation", "id": format!("o{n}"), "status": "final", "code": {"text": "x"},
            "subject": {"reference": format!("Patient/p{n}")}})
    };
    let criteria = |n: usize| format!("identifier=urn:mrn|k{n}");
    let kinds: [(&str, &dyn Fn(usize) -> Write); 5] = [
        ("create", &|n| create(patient(&format!("c{n}"), "V1"))),
        ("create by update", &|n| update(family(n, 1))),
        ("update", &|n| update(family(n, 2))),
        ("conditional create", &|n| {
            create_if_none(&criteria(n), patient(&format!("k{n}"), "V1"))
        }),
        ("create with references", &|n| create(about(n))),
    ];
    for (kind, write) in kinds {
        // Systems and parameters are learnt, and statements prepared, by those before.
        bench.commit((900..902).map(write).collect()).await.unwrap();
        bench.commit((910..1_010).map(write).collect()).await.unwrap();
        counter.reset();
        bench.commit(vec![write(0)]).await.unwrap();
        let one = counter.reset();
        bench.commit((1..101).map(write).collect()).await.unwrap();
        let hundred = counter.reset();
        assert!(one > 0, "{kind}: nothing was counted");
        assert_eq!(hundred, one, "{kind}");
    }
    bench.commit(vec![delete("Patient", "p0")]).await.unwrap();
    let one = counter.reset();
    bench
        .commit((1..101).map(|n| delete("Patient", &format!("p{n}"))).collect())
        .await
        .unwrap();
    assert_eq!(counter.reset(), one, "delete");
}

/// Stands between a server and its database, and counts the statements that pass.
struct Counter {
    /// Where its socket is.
    directory: PathBuf,
    statements: Arc<AtomicUsize>,
}

impl Counter {
    async fn before(database: &TestDatabase) -> Counter {
        let options = database.options();
        let file = format!(".s.PGSQL.{}", options.get_port());
        let behind = options.get_socket().unwrap().join(&file);
        let directory = clusters_directory().join(format!("{}-counter", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let listener = UnixListener::bind(directory.join(&file)).unwrap();
        let statements = Arc::new(AtomicUsize::new(0));
        let counted = statements.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, behind.clone(), counted.clone()));
            }
        });
        Counter { directory, statements }
    }

    /// How many there were since the last time.
    fn reset(&self) -> usize {
        self.statements.swap(0, Ordering::SeqCst)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

async fn pass_on(client: UnixStream, behind: PathBuf, statements: Arc<AtomicUsize>) {
    let server = UnixStream::connect(Path::new(&behind)).await.unwrap();
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let _ = count_statements(from_client, to_server, &statements).await;
}

/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>: after the first message, each has a letter and
/// its length. A statement is run by an Execute (`E`) or a simple Query (`Q`).
async fn count_statements(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    statements: &AtomicUsize,
) -> std::io::Result<()> {
    let mut is_first = true;
    loop {
        if !is_first {
            let letter = from.read_u8().await?;
            statements.fetch_add(usize::from(matches!(letter, b'E' | b'Q')), Ordering::SeqCst);
            to.write_u8(letter).await?;
        }
        is_first = false;
        let length = from.read_u32().await?;
        let mut rest = vec![0; usize::try_from(length).unwrap().saturating_sub(4)];
        from.read_exact(&mut rest).await?;
        to.write_u32(length).await?;
        to.write_all(&rest).await?;
    }
}
