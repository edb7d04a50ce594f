//! History of a resource, of a type, of everything: <https://hl7.org/fhir/R4/http.html#history>.
//!
//! Newest first, by (lastUpdated, rid). `commit` gives the versions of one resource strictly growing times, so the pair
//! is unique and stays with a version when it moves from `resource` to `resource_history`: a page that is asked for later
//! continues exactly where the last one ended, whatever was written in between.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use sqlx::QueryBuilder;
use sqlx::postgres::PgConnection;

use super::{Micros, Store};
use crate::fhir::error::FhirError;
use crate::fhir::resource::StoredResource;

/// Whose history.
#[derive(Clone, Copy, Debug)]
pub enum HistoryScope<'a> {
    Instance { resource_type: &'a str, id: &'a str },
    Type(&'a str),
    System,
}

/// Which part of it.
#[derive(Clone, Debug, Default)]
pub struct HistoryQuery {
    /// `_since`: versions made at this instant or later.
    pub since: Option<Timestamp>,
    /// `_at`: versions that were current at some time in [from, to).
    pub at: Option<(Timestamp, Timestamp)>,
    /// Versions on a page; 0 asks for the total alone.
    pub count: u32,
    pub cursor: Option<Cursor>,
}

/// One page, newest first.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    pub entries: Vec<StoredResource>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<Cursor>,
    /// How many versions there are on all pages. Counting a type's history reads all of it, so that is done only when
    /// nothing else is asked (`_count=0`); for one resource it is always told.
    pub total: Option<u64>,
}

impl HistoryPage {
    /// The place after an entry.
    pub(in crate::fhir) fn place_of(entry: &StoredResource) -> Cursor {
        Cursor {
            last_updated: entry.last_updated.into(),
            rid: entry.rid,
        }
    }
}

/// The place between two pages. Opaque to clients: they get it in a link and send it back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    last_updated: Micros,
    rid: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.last_updated.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.rid.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = FhirError;

    fn from_str(text: &str) -> Result<Cursor, FhirError> {
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        let bytes = bytes.ok_or_else(|| FhirError::bad_value("This is not a page link that the server gave."))?;
        let number = |half: &[u8]| half.iter().fold(0_i64, |number, byte| number << 8 | i64::from(*byte));
        Ok(Cursor {
            last_updated: Micros(number(&bytes[..8])),
            rid: number(&bytes[8..]),
        })
    }
}

impl Store {
    /// A page of history.
    ///
    /// # Errors
    /// 404 for the history of a resource that never was, or of a type that R4 does not have.
    pub(in crate::fhir) async fn history(
        &self,
        scope: HistoryScope<'_>,
        query: &HistoryQuery,
    ) -> Result<HistoryPage, FhirError> {
        let mut lease = self.planned().await?;
        let page = match Filter::resolve(self, &mut lease, scope).await {
            Ok(filter) => self.history_page(&mut lease, &filter, query).await,
            Err(error) => Err(error),
        };
        // A resource that never was is no fault of the connection.
        if page.as_ref().err().is_none_or(|error| !error.status.is_server_error()) {
            lease.release();
        }
        page
    }

    pub(in crate::fhir) async fn history_page(
        &self,
        connection: &mut PgConnection,
        filter: &Filter,
        query: &HistoryQuery,
    ) -> Result<HistoryPage, FhirError> {
        let total = match filter {
            Filter::Rid(_) => Some(count(connection, filter, query).await?),
            _ if query.count == 0 => Some(count(connection, filter, query).await?),
            _ => None,
        };
        if query.count == 0 {
            return Ok(HistoryPage {
                entries: Vec::new(),
                next: None,
                total,
            });
        }
        // One more than asked tells whether there is a next page.
        let limit = i64::from(query.count) + 1;
        let mut sql = QueryBuilder::new("");
        for (number, source) in SOURCES.iter().enumerate() {
            sql.push(if number == 0 { "(SELECT " } else { " UNION ALL (SELECT " });
            sql.push(source.columns).push(source.from);
            filter.push(&mut sql, query);
            source.push_at(&mut sql, query);
            sql.push(" ORDER BY v.last_updated DESC, v.rid DESC LIMIT ")
                .push_bind(limit)
                .push(")");
        }
        sql.push(" ORDER BY last_updated DESC, rid DESC LIMIT ")
            .push_bind(limit);
        let rows = sql.build().fetch_all(connection).await?;
        let mut entries = rows
            .iter()
            .map(|row| self.resource_of(row))
            .collect::<Result<Vec<_>, _>>()?;
        let more = entries.len() > query.count as usize;
        entries.truncate(query.count as usize);
        let next = if more {
            entries.last().map(HistoryPage::place_of)
        } else {
            None
        };
        Ok(HistoryPage { entries, next, total })
    }
}

async fn count(connection: &mut PgConnection, filter: &Filter, query: &HistoryQuery) -> Result<u64, FhirError> {
    let unpaged = HistoryQuery {
        cursor: None,
        ..query.clone()
    };
    let mut sql = QueryBuilder::new("SELECT ");
    for (number, source) in SOURCES.iter().enumerate() {
        sql.push(if number == 0 {
            "(SELECT count(*)"
        } else {
            " + (SELECT count(*)"
        })
        .push(source.from);
        filter.push(&mut sql, &unpaged);
        source.push_at(&mut sql, &unpaged);
        sql.push(")");
    }
    let total: i64 = sql.build_query_scalar().fetch_one(connection).await?;
    Ok(total.unsigned_abs())
}

/// One of the two tables that together hold all versions, as `v`.
struct Source {
    columns: &'static str,
    from: &'static str,
    is_current: bool,
}

const SOURCES: [Source; 2] = [
    Source {
        columns: "v.rid, v.type, v.id, v.version, v.last_updated, v.deleted, v.method, \
             coalesce(v.exact, v.content::text) AS json",
        from: " FROM resource v WHERE v.version > 0",
        is_current: true,
    },
    Source {
        columns: "v.rid, v.type, r.id, v.version, v.last_updated, v.deleted, v.method, coalesce(v.exact, v.content::text)",
        from: " FROM resource_history v JOIN resource r ON r.rid = v.rid WHERE true",
        is_current: false,
    },
];

impl Source {
    /// A version was current from its own time to that of its successor.
    fn push_at(&self, sql: &mut QueryBuilder<sqlx::Postgres>, query: &HistoryQuery) {
        let Some((from, to)) = query.at else { return };
        sql.push(" AND v.last_updated < ").push_bind(Micros::from(to));
        if !self.is_current {
            sql.push(
                " AND (SELECT s.last_updated FROM resource_history s WHERE s.rid = v.rid AND s.version = v.version + 1 \
                 UNION ALL SELECT r.last_updated WHERE r.version = v.version + 1) > ",
            );
            sql.push_bind(Micros::from(from));
        }
    }
}

/// Whose versions a history has.
#[derive(Clone)]
pub(in crate::fhir) enum Filter {
    Rid(i64),
    Rids(Vec<i64>),
    Type(i16),
    Types(Vec<i16>),
    All,
}

impl Filter {
    /// # Errors
    /// 404 for a resource that never was, and a type that R4 does not have.
    pub(in crate::fhir) async fn resolve(
        store: &Store,
        connection: &mut PgConnection,
        scope: HistoryScope<'_>,
    ) -> Result<Filter, FhirError> {
        let type_id = |name: &str| store.types.id(name).ok_or_else(|| FhirError::unknown_type(name));
        match scope {
            HistoryScope::System => Ok(Filter::All),
            HistoryScope::Type(name) => Ok(Filter::Type(type_id(name)?)),
            HistoryScope::Instance { resource_type, id } => {
                let rid: Option<(i64,)> =
                    sqlx::query_as("SELECT rid FROM resource WHERE type = $1 AND id = $2 AND version > 0")
                        .bind(type_id(resource_type)?)
                        .bind(id)
                        .fetch_optional(connection)
                        .await?;
                rid.map(|(rid,)| Filter::Rid(rid))
                    .ok_or_else(|| FhirError::not_found(resource_type, id))
            }
        }
    }

    fn push(&self, sql: &mut QueryBuilder<sqlx::Postgres>, query: &HistoryQuery) {
        match self {
            Filter::Rid(rid) => sql.push(" AND v.rid = ").push_bind(*rid),
            Filter::Rids(rids) => sql.push(" AND v.rid = ANY(").push_bind(rids.clone()).push(")"),
            Filter::Type(type_id) => sql.push(" AND v.type = ").push_bind(*type_id),
            Filter::Types(types) => sql.push(" AND v.type = ANY(").push_bind(types.clone()).push(")"),
            Filter::All => sql,
        };
        if let Some(since) = query.since {
            sql.push(" AND v.last_updated >= ").push_bind(Micros::from(since));
        }
        if let Some(cursor) = query.cursor {
            sql.push(" AND (v.last_updated, v.rid) < (")
                .push_bind(cursor.last_updated);
            sql.push(", ").push_bind(cursor.rid).push(")");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_link() {
        let cursor = Cursor {
            last_updated: Micros(-5),
            rid: i64::MAX,
        };
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        assert!("AAAA".parse::<Cursor>().is_err());
        assert!("%00".parse::<Cursor>().is_err());
    }
}
