//! The store as it is read: one resource, one version, a history. Written only by [`commit`](super::commit).
//!
//! What is here knows no callers and leaves this module's parent through [`access`](super::access) alone: what a caller may
//! read, `FhirServer::read`, `vread` and `history` tell.

mod connections;
mod history;
mod intern;
mod time;

use std::collections::HashMap;
use std::time::Duration;

use moka::sync::Cache;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

pub(super) use connections::Connections;
pub use connections::Lease;
pub(super) use history::Filter;
pub use history::{Cursor, HistoryPage, HistoryQuery, HistoryScope};
pub use intern::Ids;
pub use time::Micros;

use self::intern::Rids;
use super::content;
use super::error::FhirError;
use super::resource::{self, Method, StoredResource};
use crate::base::Database;
use crate::knowledge::definitions::Definitions;

/// What [`Store::resource_of`] reads, from a `resource` row called `r`.
pub const COLUMNS: &str =
    "r.rid, r.type, r.id, r.version, r.last_updated, r.deleted, r.method, coalesce(r.exact, r.content::text) AS json";

/// The door to the database, with what may be remembered about it: ids that never change once they are given.
pub struct Store {
    fixed: Connections,
    direct: Connections,
    planned: Connections,
    types: TypeNames,
    rids: Rids,
    systems: Cache<String, i32>,
    /// `Type/id` → rid.
    targets: Cache<String, i64>,
}

impl Store {
    /// Opens the store on a migrated database and interns the resource types. Statements on [`Store::planned`]
    /// connections are given up after `search_timeout`.
    ///
    /// # Errors
    /// When the database cannot be reached or is not migrated.
    pub async fn open(
        database: &Database,
        definitions: &'static Definitions,
        search_timeout: Duration,
    ) -> Result<Store, sqlx::Error> {
        // One plan per statement, made once per connection: a point read or a write has only one good plan. Scans of
        // whole tables are ruled out because such a plan, made while a table is small, would outlive its smallness.
        let fixed = [
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("jit", "off"),
        ];
        // Such a search reads an index in its order, until the page is full, which a bitmap does not have.
        let timeout = search_timeout.as_millis().to_string();
        let in_order = [("enable_bitmapscan", "off"), ("statement_timeout", timeout.as_str())];
        let direct: Vec<_> = fixed.into_iter().chain(in_order).collect();
        // Any other search has as many good plans as it has values.
        // They are answered by one process each: starting others takes longer than a page.
        let planned = [
            ("plan_cache_mode", "force_custom_plan"),
            ("jit", "off"),
            ("max_parallel_workers_per_gather", "0"),
            ("statement_timeout", timeout.as_str()),
        ];
        let fixed = Connections::new(&database.write, &fixed);
        let direct = Connections::new(&database.read, &direct);
        let planned = Connections::new(&database.read, &planned);
        let mut lease = fixed.lease().await?;
        let types = TypeNames::intern(&mut lease, definitions).await?;
        lease.release();
        Ok(Store {
            fixed,
            direct,
            planned,
            types,
            rids: Rids::default(),
            systems: Cache::new(10_000),
            targets: Cache::new(100_000),
        })
    }

    /// A connection whose statements keep one plan: point reads and writes.
    pub async fn fixed(&self) -> Result<Lease, FhirError> {
        Ok(self.fixed.lease().await?)
    }

    /// A connection like that for searches with one good plan. Planning anew takes as long as such a search.
    ///
    /// # Errors
    /// As for [`Store::planned`].
    pub async fn direct(&self) -> Result<Lease, FhirError> {
        self.direct.lease().await.map_err(all_busy)
    }

    /// A connection that plans each statement for its values: other searches, and histories. Searches have their own
    /// connections, so that however many come, they take none from writes and from reads by id.
    ///
    /// # Errors
    /// 503 when all stay busy.
    pub async fn planned(&self) -> Result<Lease, FhirError> {
        self.planned.lease().await.map_err(all_busy)
    }

    /// The interned resource types.
    pub fn types(&self) -> &TypeNames {
        &self.types
    }

    /// The current version, which may be a deletion; `None` if there never was one.
    /// <https://hl7.org/fhir/R4/http.html#read>
    pub(super) async fn read(&self, resource_type: &str, id: &str) -> Result<Option<StoredResource>, FhirError> {
        const SQL: &str = "SELECT r.rid, r.type, r.id, r.version, r.last_updated, r.deleted, r.method, \
             coalesce(r.exact, r.content::text) AS json \
             FROM resource r WHERE r.type = $1 AND r.id = $2 AND r.version > 0";
        let Some(type_id) = self.types.id(resource_type) else {
            return Ok(None);
        };
        let mut lease = self.fixed().await?;
        let row = sqlx::query(SQL)
            .bind(type_id)
            .bind(id)
            .fetch_optional(&mut *lease)
            .await?;
        lease.release();
        row.map(|row| self.resource_of(&row)).transpose()
    }

    /// One version, which may be a deletion; `None` if there is none of that number.
    /// <https://hl7.org/fhir/R4/http.html#vread>
    pub(super) async fn vread(
        &self,
        resource_type: &str,
        id: &str,
        version: i32,
    ) -> Result<Option<StoredResource>, FhirError> {
        const SQL: &str = "SELECT r.rid, r.type, r.id, r.version, r.last_updated, r.deleted, r.method, \
             coalesce(r.exact, r.content::text) AS json \
             FROM resource r WHERE r.type = $1 AND r.id = $2 AND r.version = $3 AND r.version > 0 \
             UNION ALL \
             SELECT r.rid, r.type, r.id, h.version, h.last_updated, h.deleted, h.method, \
             coalesce(h.exact, h.content::text) \
             FROM resource r JOIN resource_history h ON h.rid = r.rid AND h.version = $3 \
             WHERE r.type = $1 AND r.id = $2";
        let Some(type_id) = self.types.id(resource_type) else {
            return Ok(None);
        };
        let mut lease = self.fixed().await?;
        let row = sqlx::query(SQL)
            .bind(type_id)
            .bind(id)
            .bind(version)
            .fetch_optional(&mut *lease)
            .await?;
        lease.release();
        row.map(|row| self.resource_of(&row)).transpose()
    }

    /// Decodes a row selected with [`COLUMNS`], in that order.
    pub fn resource_of(&self, row: &PgRow) -> Result<StoredResource, FhirError> {
        let type_id: i16 = row.try_get(1)?;
        let json: Option<String> = row.try_get(7)?;
        let json = json.map(resource::first_things_first).unwrap_or_default();
        let name = self.types.name(type_id);
        let resource_type = name.ok_or_else(|| FhirError::internal("unknown type id"))?;
        let (json, content) = match resource_type {
            "Binary" => content::apart(json)?,
            _ => (json, None),
        };
        Ok(StoredResource {
            rid: row.try_get(0)?,
            resource_type,
            id: row.try_get(2)?,
            version: row.try_get(3)?,
            last_updated: row.try_get::<Micros, _>(4)?.timestamp(),
            deleted: row.try_get(5)?,
            method: Method::from_number(row.try_get(6)?),
            json,
            content,
        })
    }

    /// Fresh rids, on any connection: a sequence knows no transactions.
    pub(super) async fn new_rids(&self, connection: &mut PgConnection, count: usize) -> Result<Vec<i64>, FhirError> {
        Ok(self.rids.take(connection, count).await?)
    }
}

/// Why there was no connection for a search.
fn all_busy(error: sqlx::Error) -> FhirError {
    match error {
        sqlx::Error::PoolTimedOut => {
            FhirError::unavailable("More searches run than the server can take at once. Try again in a moment.")
        }
        error => error.into(),
    }
}

/// The resource types and their small numbers.
pub struct TypeNames {
    by_name: HashMap<&'static str, i16>,
    by_id: HashMap<i16, &'static str>,
}

impl TypeNames {
    async fn intern(connection: &mut PgConnection, definitions: &'static Definitions) -> Result<Self, sqlx::Error> {
        // Instances that start together would give out the same numbers; the primary key refuses the later one, and what
        // the earlier one wrote is then found.
        const ADD: &str = "INSERT INTO resource_type (id, name) \
             SELECT (SELECT coalesce(max(id), 0) FROM resource_type) + row_number() OVER (ORDER BY name), name \
             FROM unnest($1::text[]) AS new (name) \
             WHERE NOT EXISTS (SELECT FROM resource_type t WHERE t.name = new.name) ON CONFLICT DO NOTHING";
        let known: Vec<&'static str> = definitions.resource_types().map(|t| t.name.as_str()).collect();
        loop {
            let rows: Vec<(i16, String)> = sqlx::query_as("SELECT id, name FROM resource_type")
                .fetch_all(&mut *connection)
                .await?;
            let ids: HashMap<&str, i16> = rows.iter().map(|(id, name)| (name.as_str(), *id)).collect();
            if known.iter().all(|name| ids.contains_key(name)) {
                let by_name: HashMap<_, _> = known.into_iter().map(|name| (name, ids[name])).collect();
                let by_id = by_name.iter().map(|(&name, &id)| (id, name)).collect();
                return Ok(TypeNames { by_name, by_id });
            }
            sqlx::query(ADD).bind(&known).execute(&mut *connection).await?;
        }
    }

    /// `None` for what is not a concrete resource type of R4.
    pub fn id(&self, name: &str) -> Option<i16> {
        self.by_name.get(name).copied()
    }

    pub fn name(&self, id: i16) -> Option<&'static str> {
        self.by_id.get(&id).copied()
    }

    /// The same name, living as long as the program.
    pub fn known(&self, name: &str) -> Option<&'static str> {
        self.by_name.get_key_value(name).map(|(&name, _)| name)
    }
}
