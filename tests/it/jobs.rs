//! The job queue: at least once, by one worker at a time, until it works or is given up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use medconsult::base::clock::ManualClock;
use medconsult::base::database::PoolSizes;
use medconsult::base::{Clock, Database, IdGenerator};
use medconsult::jobs::{self, Job, JobError, NewJob, Registry, Worker};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::app::TestDatabase;

const START: &str = "2026-03-01T08:00:00Z";

/// A queue without a server.
struct Queue {
    database: Database,
    clock: Clock,
    hand: ManualClock,
    _lives_as_long: TestDatabase,
}

impl Queue {
    async fn new() -> Self {
        let test_database = TestDatabase::new().await;
        let database = Database::open(test_database.options(), PoolSizes { write: 12, read: 1 });
        let (clock, hand) = Clock::manual(START.parse().unwrap());
        Self {
            database,
            clock,
            hand,
            _lives_as_long: test_database,
        }
    }

    fn worker(&self, registry: Registry) -> Worker {
        Worker::new(
            self.database.write.clone(),
            self.clock.clone(),
            &IdGenerator::random(),
            Arc::new(registry),
            4,
        )
    }

    async fn enqueue(&self, new: &[NewJob]) {
        let mut connection = self.database.write.acquire().await.unwrap();
        jobs::enqueue(&mut connection, self.clock.now(), new).await.unwrap();
    }

    async fn count(&self, condition: &str) -> i64 {
        let statement = format!("SELECT count(*) FROM job WHERE {condition}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .fetch_one(&self.database.write)
            .await
            .unwrap()
    }
}

/// A handler that keeps the numbers it was given.
fn collecting(seen: &Arc<Mutex<Vec<i64>>>) -> Registry {
    let seen = seen.clone();
    Registry::new().on("collect", move |job: Job| {
        seen.lock().unwrap().push(job.payload["number"].as_i64().unwrap());
        async { Ok(()) }
    })
}

fn collect(number: i64) -> NewJob {
    NewJob::new("collect", json!({ "number": number }))
}

#[tokio::test]
async fn a_job_exists_only_if_its_transaction_commits() {
    let queue = Queue::new().await;
    let mut transaction = queue.database.write.begin().await.unwrap();
    jobs::enqueue(&mut transaction, queue.clock.now(), &[collect(1)])
        .await
        .unwrap();
    transaction.rollback().await.unwrap();
    queue.enqueue(&[collect(2)]).await;

    let seen = Arc::default();
    assert_eq!(queue.worker(collecting(&seen)).run_due().await.unwrap(), 1);
    assert_eq!(*seen.lock().unwrap(), [2]);
    assert_eq!(queue.count("true").await, 0, "a job that is done is deleted");
}

#[tokio::test]
async fn many_workers_run_each_job_once() {
    let queue = Queue::new().await;
    queue.enqueue(&(0..200).map(collect).collect::<Vec<_>>()).await;
    let seen = Arc::default();
    let workers: Vec<Worker> = (0..8).map(|_| queue.worker(collecting(&seen))).collect();
    let counts = futures::future::join_all(workers.iter().map(Worker::run_due)).await;
    assert_eq!(counts.into_iter().map(Result::unwrap).sum::<usize>(), 200);
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_job_waits_for_its_time() {
    let queue = Queue::new().await;
    let later = queue.clock.now() + SignedDuration::from_hours(1);
    queue.enqueue(&[collect(1).due_at(later)]).await;
    let seen = Arc::default();
    let worker = queue.worker(collecting(&seen));
    assert_eq!(worker.run_due().await.unwrap(), 0);
    queue.hand.advance(SignedDuration::from_hours(1));
    assert_eq!(worker.run_due().await.unwrap(), 1);
}

#[tokio::test]
async fn of_jobs_with_one_key_one_waits() {
    let queue = Queue::new().await;
    queue
        .enqueue(&[collect(1).once_per("slot/7"), collect(2).once_per("slot/8"), collect(3)])
        .await;
    queue.enqueue(&[collect(4).once_per("slot/7")]).await;
    let seen = Arc::default();
    queue.worker(collecting(&seen)).run_due().await.unwrap();
    seen.lock().unwrap().sort_unstable();
    assert_eq!(*seen.lock().unwrap(), [1, 2, 3]);
}

#[tokio::test]
async fn a_failed_job_is_tried_again_after_longer_and_longer_pauses() {
    let queue = Queue::new().await;
    queue.enqueue(&[NewJob::new("flaky", json!({}))]).await;
    let registry = Registry::new().on("flaky", |job| async move {
        if job.attempt < 3 {
            Err(JobError::Retry(format!("attempt {}", job.attempt)))
        } else {
            Ok(())
        }
    });
    let worker = queue.worker(registry);
    assert_eq!(worker.run_due().await.unwrap(), 1);
    assert_eq!(queue.count("last_error = 'attempt 1'").await, 1);
    assert_eq!(worker.run_due().await.unwrap(), 0, "not before the pause is over");
    queue.hand.advance(SignedDuration::from_secs(10));
    assert_eq!(worker.run_due().await.unwrap(), 1);
    queue.hand.advance(SignedDuration::from_secs(10));
    assert_eq!(worker.run_due().await.unwrap(), 0, "the second pause is longer");
    queue.hand.advance(SignedDuration::from_secs(10));
    assert_eq!(worker.run_due().await.unwrap(), 1);
    assert_eq!(queue.count("true").await, 0);
}

#[tokio::test]
async fn a_job_that_cannot_work_stays_with_its_error() {
    let queue = Queue::new().await;
    queue
        .enqueue(&[
            NewJob::new("fail", json!({})),
            NewJob::new("retry", json!({})).max_attempts(1),
        ])
        .await;
    queue.enqueue(&[NewJob::new("panic", json!({})).max_attempts(1)]).await;
    let registry = Registry::new()
        .on("fail", |_| async { Err(JobError::Fail("no such address".to_owned())) })
        .on("retry", |_| async { Err(JobError::Retry("no answer".to_owned())) })
        .on("panic", |job| async move {
            assert_eq!(job.attempt, 0, "a fault in the handler");
            Ok(())
        });
    let worker = queue.worker(registry);
    assert_eq!(worker.run_due().await.unwrap(), 3);
    for error in ["no such address", "no answer", "the handler panicked"] {
        assert_eq!(
            queue
                .count(&format!("dead_at IS NOT NULL AND last_error = '{error}'"))
                .await,
            1,
            "{error}"
        );
    }
    queue.hand.advance(SignedDuration::from_hours(24));
    assert_eq!(worker.run_due().await.unwrap(), 0, "dead jobs are not run again");
}

#[tokio::test]
async fn a_kind_that_this_release_does_not_know_is_left_alone() {
    let queue = Queue::new().await;
    queue.enqueue(&[NewJob::new("of.the.next.release", json!({}))]).await;
    assert_eq!(queue.worker(Registry::new()).run_due().await.unwrap(), 0);
    assert_eq!(queue.count("attempts = 0").await, 1);
}

#[tokio::test]
async fn the_job_of_a_worker_that_died_is_taken_over_when_its_lease_ends() {
    let queue = Queue::new().await;
    queue.enqueue(&[NewJob::new("long", json!({}))]).await;

    let (begun_sender, mut begun) = mpsc::channel(1);
    let dying = queue.worker(Registry::new().on("long", move |_| {
        let begun = begun_sender.clone();
        async move {
            begun.send(()).await.unwrap();
            std::future::pending().await
        }
    }));
    let task = tokio::spawn(async move { dying.run_due().await });
    begun.recv().await.unwrap();
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());

    let attempts = Arc::new(AtomicUsize::new(0));
    let seen = attempts.clone();
    let heir = queue.worker(Registry::new().on("long", move |job: Job| {
        seen.store(job.attempt as usize, Ordering::Relaxed);
        async { Ok(()) }
    }));
    assert_eq!(heir.run_due().await.unwrap(), 0, "the lease still holds");
    queue.hand.advance(SignedDuration::from_secs(61));
    assert_eq!(heir.run_due().await.unwrap(), 1);
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_job_that_kills_its_workers_is_given_up() {
    let queue = Queue::new().await;
    queue.enqueue(&[collect(1).max_attempts(2)]).await;
    // As two workers would leave it that died in the middle.
    sqlx::query("UPDATE job SET attempts = 2, worker = 'gone'")
        .execute(&queue.database.write)
        .await
        .unwrap();
    let seen = Arc::default();
    queue.worker(collecting(&seen)).run_due().await.unwrap();
    assert!(seen.lock().unwrap().is_empty());
    assert_eq!(queue.count("dead_at IS NOT NULL").await, 1);
}

#[tokio::test]
async fn a_schedule_fires_once_across_instances() {
    let queue = Queue::new().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let instance = || {
        let runs = runs.clone();
        let registry = Registry::new().on("nightly", move |_| {
            runs.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        });
        queue.worker(registry.every("0 3 * * *", "nightly").unwrap())
    };
    let (one, other) = (instance(), instance());
    let both = async || {
        let (one, other) = tokio::join!(one.run_due(), other.run_due());
        one.unwrap() + other.unwrap()
    };
    assert_eq!(both().await, 0, "it is eight in the morning");
    queue.hand.advance(SignedDuration::from_hours(19));
    both().await;
    // The job may have been enqueued by one just after the other had looked.
    both().await;
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    queue.hand.advance(SignedDuration::from_hours(24 * 5));
    both().await;
    both().await;
    assert_eq!(runs.load(Ordering::Relaxed), 2, "what was missed is made up for once");
    let next: jiff_sqlx::Timestamp = sqlx::query_scalar("SELECT next_at FROM job_schedule")
        .fetch_one(&queue.database.write)
        .await
        .unwrap();
    assert_eq!(next.to_jiff(), "2026-03-08T03:00:00Z".parse::<Timestamp>().unwrap());
}

#[tokio::test]
async fn a_running_worker_is_woken_by_a_commit() {
    let queue = Queue::new().await;
    let (sender, mut done) = mpsc::channel(8);
    let worker = queue.worker(Registry::new().on("wake", move |_| {
        let sender = sender.clone();
        async move {
            sender.send(()).await.unwrap();
            Ok(())
        }
    }));
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(async move { worker.run(stopped).await });
    for _ in 0..3 {
        queue.enqueue(&[NewJob::new("wake", json!({}))]).await;
        // Far less than the half minute after which the worker would look by itself.
        timeout(Duration::from_secs(10), done.recv())
            .await
            .expect("the worker is woken")
            .unwrap();
    }
    stop.send_replace(true);
    timeout(Duration::from_secs(10), task)
        .await
        .expect("the worker stops")
        .unwrap();
    assert_eq!(queue.count("true").await, 0, "what had begun was finished first");
}
