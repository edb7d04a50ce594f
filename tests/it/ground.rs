//! The routes that look after the server itself.

use crate::app::{Ask, spawn_app};

#[tokio::test]
async fn the_server_lives_and_is_ready() {
    let app = spawn_app().await;
    assert_eq!(app.get("/healthz").answer().await.expect(200).text(), "ok\n");
    assert_eq!(app.get("/readyz").answer().await.expect(200).text(), "ready\n");
}

#[tokio::test]
async fn without_its_database_the_server_lives_but_is_not_ready() {
    let app = spawn_app().await;
    app.app.database.close().await;
    app.get("/healthz").answer().await.expect(200);
    app.get("/readyz").answer().await.expect(503);
}

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (one, other) = tokio::join!(spawn_app(), spawn_app());
    let mut connection = one.connection().await;
    sqlx::query("INSERT INTO system (uri) VALUES ('http://example.org/only-here')")
        .execute(&mut connection)
        .await
        .unwrap();
    let count = "SELECT count(*) FROM system WHERE uri = 'http://example.org/only-here'";
    let here: i64 = sqlx::query_scalar(count).fetch_one(&mut connection).await.unwrap();
    let there: i64 = sqlx::query_scalar(count)
        .fetch_one(&mut other.connection().await)
        .await
        .unwrap();
    assert_eq!((here, there), (1, 0));
}
