//! Small numbers for long names: rids of resources, ids of code systems.
//!
//! A number that was given and committed never changes, so it may be cached without end by any number of servers.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::Store;
use crate::fhir::error::FhirError;

/// Blocks of 64 taken from `rid_seq` at once, so that a round trip serves about a thousand creates.
const BLOCKS: i32 = 16;
const BLOCK: i64 = 64;

/// A btree entry of Postgres holds some 2,700 bytes; longer systems are interned by their hash.
const LONGEST_SYSTEM: usize = 1_000;

/// Rids that this server has taken and not yet used. They grow with time, roughly: two servers take turns by blocks.
#[derive(Default)]
pub struct Rids(Mutex<Vec<std::ops::Range<i64>>>);

impl Rids {
    pub async fn take(&self, connection: &mut PgConnection, count: usize) -> Result<Vec<i64>, sqlx::Error> {
        let mut taken = Vec::with_capacity(count);
        loop {
            self.take_stock(&mut taken, count);
            if taken.len() == count {
                return Ok(taken);
            }
            let missing = i32::try_from((count - taken.len()) / BLOCK as usize + 1).unwrap_or(i32::MAX);
            let starts: Vec<(i64,)> = sqlx::query_as("SELECT nextval('rid_seq') FROM generate_series(1, $1)")
                .bind(missing.max(BLOCKS))
                .fetch_all(&mut *connection)
                .await?;
            let mut stock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            stock.extend(starts.into_iter().map(|(start,)| start..start + BLOCK));
        }
    }

    fn take_stock(&self, taken: &mut Vec<i64>, count: usize) {
        let mut stock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while taken.len() < count {
            let Some(block) = stock.first_mut() else { return };
            match block.next() {
                Some(rid) => taken.push(rid),
                None => {
                    stock.remove(0);
                }
            }
        }
    }
}

/// The numbers that the index rows of one write need. What is not known is noted and answered by 0; the writer then calls
/// [`Ids::intern`] and indexes again.
pub struct Ids<'s> {
    store: &'s Store,
    systems: HashMap<String, i32>,
    targets: HashMap<String, i64>,
    missing_systems: BTreeSet<String>,
    /// In order, so that two transactions that need the same new rows ask for them in the same order.
    missing_targets: BTreeSet<(i16, String)>,
}

impl<'s> Ids<'s> {
    pub fn new(store: &'s Store) -> Ids<'s> {
        Ids {
            store,
            systems: HashMap::new(),
            targets: HashMap::new(),
            missing_systems: BTreeSet::new(),
            missing_targets: BTreeSet::new(),
        }
    }

    /// The number of a code system; 0 for the empty one.
    pub fn system(&mut self, uri: &str) -> i32 {
        if uri.is_empty() {
            return 0;
        }
        let name = system_name(uri);
        if let Some(id) = self.store.systems.get(name.as_ref()) {
            return id;
        }
        if let Some(&id) = self.systems.get(name.as_ref()) {
            return id;
        }
        self.missing_systems.insert(name.into_owned());
        0
    }

    /// The rid of a resource of this server, which need not be there yet. 0 for a type that R4 does not have.
    pub fn target(&mut self, resource_type: &str, id: &str) -> i64 {
        let key = target_key(resource_type, id);
        if let Some(&rid) = self.targets.get(&key) {
            return rid;
        }
        if let Some(rid) = self.store.targets.get(&key) {
            return rid;
        }
        if let Some(type_id) = self.store.types.id(resource_type) {
            self.missing_targets.insert((type_id, id.to_owned()));
        }
        0
    }

    /// Tells the rid of a resource that this write is about to store or has just locked.
    pub(in crate::fhir) fn set_target(&mut self, resource_type: &str, id: &str, rid: i64) {
        self.targets.insert(target_key(resource_type, id), rid);
    }

    /// Whether every number asked for was known.
    pub(in crate::fhir) fn is_complete(&self) -> bool {
        self.missing_systems.is_empty() && self.missing_targets.is_empty()
    }

    /// Finds or makes the missing numbers, in one or two statements of each kind. Inside a transaction they become
    /// everybody's by [`Ids::publish`] after it committed.
    pub(in crate::fhir) async fn intern(&mut self, connection: &mut PgConnection) -> Result<(), FhirError> {
        self.intern_systems(connection).await?;
        self.intern_targets(connection).await
    }

    /// Finds the missing numbers and makes none: what has no number, no index row can name, and it becomes -1.
    pub(in crate::fhir) async fn find(&mut self, connection: &mut PgConnection) -> Result<(), FhirError> {
        let systems = std::mem::take(&mut self.missing_systems);
        let names: Vec<&str> = systems.iter().map(String::as_str).collect();
        let found = self.store.find_systems(connection, &names, false).await?;
        for uri in systems {
            let id = found.get(&uri).copied().unwrap_or(-1);
            self.systems.insert(uri, id);
        }
        let targets = std::mem::take(&mut self.missing_targets);
        let types = &self.store.types;
        let named = targets
            .iter()
            .filter_map(|(type_id, id)| Some((types.name(*type_id)?, id.as_str())));
        let named: Vec<(&str, &str)> = named.collect();
        let found = self.store.find_targets(connection, &named, false).await?;
        for (resource_type, id) in named {
            let rid = found.get(&(resource_type.to_owned(), id.to_owned())).copied();
            self.targets.insert(target_key(resource_type, id), rid.unwrap_or(-1));
        }
        Ok(())
    }

    async fn intern_systems(&mut self, connection: &mut PgConnection) -> Result<(), FhirError> {
        // The second look finds what another transaction added since the first.
        const FIND: &str = "SELECT id, uri FROM system WHERE uri = ANY ($1)";
        const ADD: &str = "INSERT INTO system (uri) SELECT uri FROM unnest($1::text[]) AS new (uri) \
             ON CONFLICT (uri) DO NOTHING RETURNING id, uri";
        for sql in [FIND, ADD, FIND] {
            let missing: Vec<String> = self.missing_systems.iter().cloned().collect();
            if missing.is_empty() {
                break;
            }
            let found: Vec<(i32, String)> = sqlx::query_as(sql).bind(missing).fetch_all(&mut *connection).await?;
            for (id, uri) in found {
                self.missing_systems.remove(&uri);
                self.systems.insert(uri, id);
            }
        }
        if self.missing_systems.is_empty() {
            Ok(())
        } else {
            Err(FhirError::internal("a system was not interned"))
        }
    }

    async fn intern_targets(&mut self, connection: &mut PgConnection) -> Result<(), FhirError> {
        const FIND: &str = "SELECT r.rid, r.type, r.id FROM unnest($1::smallint[], $2::text[]) AS wanted (type, id) \
             JOIN resource r ON r.type = wanted.type AND r.id = wanted.id";
        const ADD: &str = "INSERT INTO resource (rid, last_updated, version, index_version, type, method, deleted, id) \
             SELECT rid, '-infinity', 0, 0, type, 0, true, id \
             FROM unnest($1::smallint[], $2::text[], $3::bigint[]) AS new (type, id, rid) \
             ON CONFLICT (type, id) DO NOTHING RETURNING rid, type, id";
        for sql in [FIND, ADD, FIND] {
            if self.missing_targets.is_empty() {
                break;
            }
            let (types, ids): (Vec<i16>, Vec<String>) = self.missing_targets.iter().cloned().unzip();
            let mut query = sqlx::query_as(sql).bind(&types).bind(&ids);
            if sql == ADD {
                query = query.bind(self.store.new_rids(connection, ids.len()).await?);
            }
            let found: Vec<(i64, i16, String)> = query.fetch_all(&mut *connection).await?;
            for (rid, type_id, id) in found {
                if let Some(name) = self.store.types.name(type_id) {
                    self.targets.insert(target_key(name, &id), rid);
                }
                self.missing_targets.remove(&(type_id, id));
            }
        }
        if self.missing_targets.is_empty() {
            Ok(())
        } else {
            Err(FhirError::internal("a target was not interned"))
        }
    }

    /// Lets every later write know these numbers. Only once they are committed.
    pub fn publish(self) {
        for (uri, id) in self.systems {
            self.store.systems.insert(uri, id);
        }
        for (key, rid) in self.targets {
            self.store.targets.insert(key, rid);
        }
    }
}

impl Store {
    /// The numbers of code systems for a search; one that no resource uses has none.
    ///
    /// `remember` only what is committed: what a transaction finds may be its own, and undone with it.
    pub(in crate::fhir) async fn find_systems(
        &self,
        connection: &mut PgConnection,
        uris: &[&str],
        remember: bool,
    ) -> Result<HashMap<String, i32>, FhirError> {
        const SQL: &str = "SELECT id, uri FROM system WHERE uri = ANY ($1)";
        let mut found = HashMap::new();
        let mut missing: HashMap<String, &str> = HashMap::new();
        for &uri in uris {
            let name = system_name(uri);
            match self.systems.get(name.as_ref()) {
                _ if uri.is_empty() => _ = found.insert(String::new(), 0),
                Some(id) => _ = found.insert(uri.to_owned(), id),
                None => _ = missing.insert(name.into_owned(), uri),
            }
        }
        if !missing.is_empty() {
            let names: Vec<&str> = missing.keys().map(String::as_str).collect();
            let rows: Vec<(i32, String)> = sqlx::query_as(SQL).bind(names).fetch_all(connection).await?;
            for (id, name) in rows {
                if let Some(&uri) = missing.get(&name) {
                    found.insert(uri.to_owned(), id);
                }
                if remember {
                    self.systems.insert(name, id);
                }
            }
        }
        Ok(found)
    }

    /// The rids of resources, by type and id, for a search; one that was never stored or referred to has none.
    ///
    /// `remember` as for [`Store::find_systems`].
    pub(in crate::fhir) async fn find_targets(
        &self,
        connection: &mut PgConnection,
        targets: &[(&str, &str)],
        remember: bool,
    ) -> Result<HashMap<(String, String), i64>, FhirError> {
        const SQL: &str = "SELECT r.rid, r.type, r.id FROM unnest($1::smallint[], $2::text[]) AS wanted (type, id) \
             JOIN resource r ON r.type = wanted.type AND r.id = wanted.id";
        let mut found = HashMap::new();
        let (mut types, mut ids) = (Vec::new(), Vec::new());
        for &(resource_type, id) in targets {
            if let Some(rid) = self.targets.get(&target_key(resource_type, id)) {
                found.insert((resource_type.to_owned(), id.to_owned()), rid);
            } else if let Some(type_id) = self.types.id(resource_type) {
                types.push(type_id);
                ids.push(id);
            }
        }
        if !ids.is_empty() {
            let rows: Vec<(i64, i16, String)> = sqlx::query_as(SQL).bind(types).bind(ids).fetch_all(connection).await?;
            for (rid, type_id, id) in rows {
                let Some(name) = self.types.name(type_id) else { continue };
                if remember {
                    self.targets.insert(target_key(name, &id), rid);
                }
                found.insert((name.to_owned(), id), rid);
            }
        }
        Ok(found)
    }
}

fn target_key(resource_type: &str, id: &str) -> String {
    [resource_type, "/", id].concat()
}

fn system_name(uri: &str) -> std::borrow::Cow<'_, str> {
    if uri.len() <= LONGEST_SYSTEM {
        return uri.into();
    }
    let hash = Sha256::digest(uri.as_bytes());
    hash.iter()
        .fold("sha256:".to_owned(), |name, byte| name + &format!("{byte:02x}"))
        .into()
}
