//! The rows of search parameters that are no longer used.

use crate::fhir::commit::index_tables;
use crate::fhir::error::FhirError;
use crate::fhir::server::FhirServer;
use crate::jobs;

/// Most rows that one statement removes.
const ROWS: i64 = 10_000;
/// Statements of one job that remove rows.
const STATEMENTS: usize = 50;

/// Removes rows of dropped parameters, in statements that commit themselves, and frees the numbers that have none left.
/// No write makes new ones: dropping waited for those that knew the parameter.
pub async fn purge(server: &FhirServer) -> Result<(), FhirError> {
    let mut lease = server.store.fixed().await?;
    let dropped: Vec<i16> = sqlx::query_scalar("SELECT id FROM search_parameter WHERE dropped ORDER BY id")
        .fetch_all(&mut *lease)
        .await?;
    let mut statements = 0;
    for param in dropped {
        // What is contained in other resources stands under negated numbers.
        let places = index_tables().flat_map(|table| [(table, param), (table, -param)]);
        for (table, number) in places {
            let sql = format!(
                "DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE param = $1 LIMIT $2))"
            );
            loop {
                let removed = sqlx::query(sqlx::AssertSqlSafe(sql.as_str()))
                    .bind(number)
                    .bind(ROWS)
                    .execute(&mut *lease)
                    .await?
                    .rows_affected();
                if removed == 0 {
                    break;
                }
                statements += 1;
                if statements == STATEMENTS {
                    jobs::enqueue(&mut lease, server.clock.now(), &[super::purge_job()]).await?;
                    lease.release();
                    return Ok(());
                }
            }
        }
        sqlx::query("DELETE FROM search_parameter WHERE id = $1 AND dropped")
            .bind(param)
            .execute(&mut *lease)
            .await?;
    }
    lease.release();
    Ok(())
}
