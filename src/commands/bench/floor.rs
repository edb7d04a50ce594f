//! The floor: what the same work costs with nothing but Postgres, or nothing but HTTP.
//!
//! The rows are those that the server itself wrote for the same resources, read back from the database and written again
//! under new ids, by one prepared statement per create or import, committed as durably. What is left out is all that a
//! server does: HTTP, parsing, validation, indexing, checks.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::routing::get;
use sqlx::postgres::{PgArguments, PgPool};
use sqlx::query::Query;
use sqlx::{Postgres, Row};
use tokio::net::TcpListener;

use super::driver::{Bounds, Measure, drive};
use super::processes::Processes;
use super::records::BUNDLE;

/// Row ids of the rows that are written again, far above those that a server reaches.
const FIRST_RID: i64 = 1 << 48;

/// The rows of some resources, column by column. What Rust has no type for goes as text.
/// Columns of `idx_reference`: rid, param, target, url.
type ReferenceColumns = (Vec<i64>, Vec<i16>, Vec<Option<i64>>, Vec<Option<String>>);

/// Columns of `idx_quantity`: rid, param, low, high, system, code.
type QuantityColumns = (Vec<i64>, Vec<i16>, Vec<String>, Vec<String>, Vec<i32>, Vec<String>);

#[derive(Clone, Debug, Default)]
pub struct Rows {
    rid: Vec<i64>,
    id: Vec<String>,
    kind: Vec<i16>,
    index_version: Vec<i32>,
    content: Vec<String>,
    token: (Vec<i64>, Vec<i16>, Vec<String>, Vec<i32>),
    reference: ReferenceColumns,
    string: (Vec<i64>, Vec<i16>, Vec<String>, Vec<String>),
    date: (Vec<i64>, Vec<i16>, Vec<String>, Vec<String>),
    quantity: QuantityColumns,
    uri: (Vec<i64>, Vec<i16>, Vec<String>),
}

const WRITE: &str = "
WITH resources AS (
  INSERT INTO resource (rid, id, type, index_version, content, version, last_updated, method, deleted)
  SELECT rid, id, type, index_version, content::jsonb, 1, now(), 1, false
  FROM unnest($1::bigint[], $2::text[], $3::smallint[], $4::int[], $5::text[]) AS r (rid, id, type, index_version, content)
), tokens AS (
  INSERT INTO idx_token (rid, param, code, system) SELECT * FROM unnest($6::bigint[], $7::smallint[], $8::text[], $9::int[])
), refs AS (
  INSERT INTO idx_reference (rid, param, target, url) SELECT * FROM unnest($10::bigint[], $11::smallint[], $12::bigint[], $13::text[])
), strings AS (
  INSERT INTO idx_string (rid, param, norm, exact) SELECT * FROM unnest($14::bigint[], $15::smallint[], $16::text[], $17::text[])
), dates AS (
  INSERT INTO idx_date (rid, param, low, high)
  SELECT rid, param, low::timestamptz, high::timestamptz FROM unnest($18::bigint[], $19::smallint[], $20::text[], $21::text[]) AS d (rid, param, low, high)
), quantities AS (
  INSERT INTO idx_quantity (rid, param, low, high, system, code)
  SELECT rid, param, low::numeric, high::numeric, system, code
  FROM unnest($22::bigint[], $23::smallint[], $24::text[], $25::text[], $26::int[], $27::text[]) AS q (rid, param, low, high, system, code)
)
INSERT INTO idx_uri (rid, param, uri) SELECT * FROM unnest($28::bigint[], $29::smallint[], $30::text[])";

impl Rows {
    /// The rows of the `count` newest resources that were stored, and of all their index families.
    async fn read(pool: &PgPool, rids: &[i64]) -> Result<Rows> {
        let mut rows = Rows::default();
        for row in select(
            pool,
            "SELECT rid, id, type, index_version, content::text FROM resource",
            rids,
        )
        .await?
        {
            rows.rid.push(row.try_get(0)?);
            rows.id.push(row.try_get(1)?);
            rows.kind.push(row.try_get(2)?);
            rows.index_version.push(row.try_get(3)?);
            rows.content.push(row.try_get(4)?);
        }
        for row in select(pool, "SELECT rid, param, code, system FROM idx_token", rids).await? {
            rows.token.0.push(row.try_get(0)?);
            rows.token.1.push(row.try_get(1)?);
            rows.token.2.push(row.try_get(2)?);
            rows.token.3.push(row.try_get(3)?);
        }
        for row in select(pool, "SELECT rid, param, target, url FROM idx_reference", rids).await? {
            rows.reference.0.push(row.try_get(0)?);
            rows.reference.1.push(row.try_get(1)?);
            rows.reference.2.push(row.try_get(2)?);
            rows.reference.3.push(row.try_get(3)?);
        }
        for row in select(pool, "SELECT rid, param, norm, exact FROM idx_string", rids).await? {
            rows.string.0.push(row.try_get(0)?);
            rows.string.1.push(row.try_get(1)?);
            rows.string.2.push(row.try_get(2)?);
            rows.string.3.push(row.try_get(3)?);
        }
        for row in select(pool, "SELECT rid, param, low::text, high::text FROM idx_date", rids).await? {
            rows.date.0.push(row.try_get(0)?);
            rows.date.1.push(row.try_get(1)?);
            rows.date.2.push(row.try_get(2)?);
            rows.date.3.push(row.try_get(3)?);
        }
        for row in select(
            pool,
            "SELECT rid, param, low::text, high::text, system, code FROM idx_quantity",
            rids,
        )
        .await?
        {
            rows.quantity.0.push(row.try_get(0)?);
            rows.quantity.1.push(row.try_get(1)?);
            rows.quantity.2.push(row.try_get(2)?);
            rows.quantity.3.push(row.try_get(3)?);
            rows.quantity.4.push(row.try_get(4)?);
            rows.quantity.5.push(row.try_get(5)?);
        }
        for row in select(pool, "SELECT rid, param, uri FROM idx_uri", rids).await? {
            rows.uri.0.push(row.try_get(0)?);
            rows.uri.1.push(row.try_get(1)?);
            rows.uri.2.push(row.try_get(2)?);
        }
        Ok(rows)
    }

    /// How many index rows they have.
    fn index_rows(&self) -> usize {
        let families = [
            &self.token.0,
            &self.reference.0,
            &self.string.0,
            &self.date.0,
            &self.quantity.0,
            &self.uri.0,
        ];
        families.into_iter().map(Vec::len).sum()
    }

    /// The same rows as those of resources that were never there. `copy` is another one for each call.
    fn renamed(&self, copy: u64) -> Rows {
        let mut rows = self.clone();
        let offset = FIRST_RID + copy as i64 * BUNDLE as i64;
        let renamed =
            |rid: &mut i64| *rid = offset + self.rid.iter().position(|known| known == rid).unwrap_or(0) as i64;
        let families = [
            &mut rows.token.0,
            &mut rows.reference.0,
            &mut rows.string.0,
            &mut rows.date.0,
            &mut rows.quantity.0,
            &mut rows.uri.0,
        ];
        families.into_iter().flatten().for_each(renamed);
        rows.rid.iter_mut().for_each(renamed);
        rows.id = rows.rid.iter().map(|rid| format!("floor-{rid}")).collect();
        rows
    }

    fn write(self) -> Query<'static, Postgres, PgArguments> {
        let Rows {
            rid,
            id,
            kind,
            index_version,
            content,
            token,
            reference,
            string,
            date,
            quantity,
            uri,
        } = self;
        sqlx::query(WRITE)
            .bind(rid)
            .bind(id)
            .bind(kind)
            .bind(index_version)
            .bind(content)
            .bind(token.0)
            .bind(token.1)
            .bind(token.2)
            .bind(token.3)
            .bind(reference.0)
            .bind(reference.1)
            .bind(reference.2)
            .bind(reference.3)
            .bind(string.0)
            .bind(string.1)
            .bind(string.2)
            .bind(string.3)
            .bind(date.0)
            .bind(date.1)
            .bind(date.2)
            .bind(date.3)
            .bind(quantity.0)
            .bind(quantity.1)
            .bind(quantity.2)
            .bind(quantity.3)
            .bind(quantity.4)
            .bind(quantity.5)
            .bind(uri.0)
            .bind(uri.1)
            .bind(uri.2)
    }
}

async fn select(pool: &PgPool, from: &'static str, rids: &[i64]) -> Result<Vec<sqlx::postgres::PgRow>> {
    let query = format!("{from} WHERE rid = ANY($1) ORDER BY rid");
    Ok(sqlx::query(sqlx::AssertSqlSafe(query))
        .bind(rids)
        .fetch_all(pool)
        .await?)
}

/// Creates and imports by bare SQL, of rows like those of the resources with these types and ids.
///
/// # Errors
/// When the database fails.
pub async fn writes(
    pool: &PgPool,
    ids: &[(String, String)],
    bounds: Bounds,
    processes: Processes,
) -> Result<(Measure, Measure, f64)> {
    let (types, ids): (Vec<&str>, Vec<&str>) = ids.iter().map(|(kind, id)| (kind.as_str(), id.as_str())).unzip();
    let find = "SELECT rid FROM resource JOIN resource_type ON resource_type.id = resource.type
                JOIN unnest($1::text[], $2::text[]) AS wanted (name, id) USING (name) WHERE resource.id = wanted.id";
    let rids: Vec<i64> = sqlx::query_scalar(find).bind(types).bind(ids).fetch_all(pool).await?;
    ensure!(
        rids.len() as u64 >= BUNDLE,
        "the server has stored too little to compare with"
    );
    let many = Arc::new(Rows::read(pool, &rids[..BUNDLE as usize]).await?);
    let mut single = Vec::new();
    for rid in rids.iter().take(32) {
        single.push(Rows::read(pool, &[*rid]).await?);
    }
    let index_rows = many.index_rows() as f64 / BUNDLE as f64;

    let database = pool.clone();
    let create = drive("floor: create", bounds, processes, move |number| {
        let rows = single[number as usize % single.len()].renamed(number);
        let database = database.clone();
        async move {
            rows.write().execute(&database).await?;
            Ok(())
        }
    })
    .await?;
    let database = pool.clone();
    // After the row ids of the creates.
    let first = bounds.operations;
    let import = drive("floor: import", bounds, processes, move |number| {
        let (rows, database) = (many.renamed(first + number), database.clone());
        async move {
            rows.write().execute(&database).await?;
            Ok(())
        }
    })
    .await?;
    Ok((create, import.per("floor: import, per resource", BUNDLE), index_rows))
}

/// Reads by primary key, of the resources with these types and ids.
///
/// # Errors
/// When the database fails.
pub async fn reads(
    pool: &PgPool,
    ids: Arc<Vec<(String, String)>>,
    bounds: Bounds,
    processes: Processes,
) -> Result<Measure> {
    let types: Vec<(String, i16)> = sqlx::query_as("SELECT name, id FROM resource_type")
        .fetch_all(pool)
        .await?;
    let keys: Vec<(i16, String)> = ids
        .iter()
        .map(|(kind, id)| Some((types.iter().find(|(name, _)| name == kind)?.1, id.clone())))
        .collect::<Option<_>>()
        .context("a type is not in the database")?;
    let (keys, pool) = (Arc::new(keys), pool.clone());
    drive("floor: read", bounds, processes, move |number| {
        let (keys, pool) = (keys.clone(), pool.clone());
        async move {
            let (kind, id) = &keys[number as usize % keys.len()];
            let query = "SELECT content::text FROM resource WHERE type = $1 AND id = $2";
            let text: String = sqlx::query_scalar(query).bind(kind).bind(id).fetch_one(&pool).await?;
            ensure!(!text.is_empty(), "nothing there");
            Ok(())
        }
    })
    .await
}

/// A server that answers every request with `body`; returns its address.
///
/// # Errors
/// When no port can be had.
pub async fn static_server(body: String) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/", listener.local_addr()?);
    let router = Router::new().route("/", get(move || async move { body.clone() }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}
