//! What is named rather than found: reads, versions, histories, and the resources of a write.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;
use sqlx::PgConnection;

use super::rules::{Across, Rule};
use super::{Access, Permissions, all_types, forbidden, rule};
use crate::fhir::caller::Caller;
use crate::fhir::content;
use crate::fhir::error::FhirError;
use crate::fhir::resource::StoredResource;
use crate::fhir::search::{Criterion, Judge, Types};
use crate::fhir::server::FhirServer;
use crate::fhir::store::{Filter, HistoryPage, HistoryQuery, HistoryScope, Micros};

/// Versions that are judged together.
const CHUNK: u32 = 200;

/// Versions of a type or of the system that are judged for one page at most.
const MOST_JUDGED: usize = 10_000;

/// Up to so many resources, a history of theirs is that of each.
const FEW: i64 = 5_000;

impl FhirServer {
    /// The current version, which may be a deletion; `None` if there never was one, or none that the caller may know of.
    /// <https://hl7.org/fhir/R4/http.html#read>
    ///
    /// # Errors
    /// 403 where the caller may read nothing of the type.
    pub async fn read(
        &self,
        caller: &Caller,
        resource_type: &str,
        id: &str,
    ) -> Result<Option<StoredResource>, FhirError> {
        let mut found = self.look(caller, resource_type, id).await?;
        content::give_back(self, found.iter_mut().collect()).await?;
        Ok(found)
    }

    /// The same, a Binary without its content.
    ///
    /// # Errors
    /// As for [`FhirServer::read`].
    pub async fn look(
        &self,
        caller: &Caller,
        resource_type: &str,
        id: &str,
    ) -> Result<Option<StoredResource>, FhirError> {
        let criterion = match rule(self, caller, Permissions::READ, resource_type) {
            Rule::Nothing => return Err(forbidden(Permissions::READ, resource_type)),
            Rule::Everything => return self.store.read(resource_type, id).await,
            Rule::When(criterion) => criterion,
        };
        let Some(type_id) = self.store.types().id(resource_type) else {
            return Ok(None);
        };
        let judge = self.judge(caller, &criterion);
        let mut lease = self.store.fixed().await?;
        let found = judge.of_current(&mut lease, type_id, id).await?;
        let visible = match found {
            None => None,
            Some((row, meets)) => {
                let stored = self.store.resource_of(&row)?;
                let is_visible = meets || stored.deleted && judge.of_version(&mut lease, &stored).await?;
                is_visible.then_some(stored)
            }
        };
        lease.release();
        Ok(visible)
    }

    /// One version, which may be a deletion; `None` if there is none of that number, or none that the caller may know of. A Binary
    /// comes without its content.
    /// <https://hl7.org/fhir/R4/http.html#vread>
    ///
    /// # Errors
    /// As for [`FhirServer::read`].
    pub async fn vread(
        &self,
        caller: &Caller,
        resource_type: &str,
        id: &str,
        version: i32,
    ) -> Result<Option<StoredResource>, FhirError> {
        let criterion = match rule(self, caller, Permissions::READ, resource_type) {
            Rule::Nothing => return Err(forbidden(Permissions::READ, resource_type)),
            Rule::Everything => return self.store.vread(resource_type, id, version).await,
            Rule::When(criterion) => criterion,
        };
        let Some(stored) = self.store.vread(resource_type, id, version).await? else {
            return Ok(None);
        };
        let mut lease = self.store.fixed().await?;
        let is_visible = self.judge(caller, &criterion).of_version(&mut lease, &stored).await?;
        lease.release();
        Ok(is_visible.then_some(stored))
    }

    /// Whether the caller may do what the letter says with a version, by its own content.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub async fn may(&self, caller: &Caller, letter: Permissions, version: &StoredResource) -> Result<bool, FhirError> {
        let mut lease = self.store.fixed().await?;
        let may = may(self, caller, &mut lease, letter, version).await?;
        lease.release();
        Ok(may)
    }

    /// A page of history. Each version is judged by its own content: one from before a resource came into somebody's
    /// reach, or from after it left it, is not theirs to see. Of a type and of the system, a caller who reaches few resources
    /// gets the history of those that they can find now, and of those that were in the records of their patients before.
    ///
    /// # Errors
    /// 404 for the history of a resource that never was, or that the caller may know nothing of, or of a type that R4 does
    /// not have; 403 where they may read nothing of the type; 422 where too much would have to be judged.
    pub async fn history(
        &self,
        caller: &Caller,
        scope: HistoryScope<'_>,
        query: &HistoryQuery,
    ) -> Result<HistoryPage, FhirError> {
        let (letter, types) = match scope {
            HistoryScope::Instance { resource_type, .. } => (Permissions::READ, self.one_type(resource_type)?),
            HistoryScope::Type(name) => (Permissions::SEARCH, self.one_type(name)?),
            HistoryScope::System => (Permissions::SEARCH, Types::All(all_types(self))),
        };
        let across = Access::across(self, caller, letter, &types);
        let criterion = match across.rule {
            Rule::Nothing => return Err(forbidden(letter, "resources of this kind")),
            Rule::Everything => return self.store.history(scope, query).await,
            // What only says what a resource is not, or names an id, is met by resources of other types too.
            Rule::When(criterion) => match Types::of(&across.types) {
                Some(types) if !criterion.implies_type() => Arc::new(Criterion::All(vec![
                    Criterion::OfTypes(types),
                    Criterion::clone(&criterion),
                ])),
                _ => criterion,
            },
        };
        let mut lease = self.store.planned().await?;
        let judge = self.judge(caller, &criterion);
        let filter = match scope {
            HistoryScope::Instance { .. } => Filter::resolve(&self.store, &mut lease, scope).await,
            HistoryScope::Type(_) | HistoryScope::System => {
                let types = across.types.iter().map(|ty| ty.id).collect();
                few(&judge, &mut lease)
                    .await
                    .map(|few| few.map_or(Filter::Types(types), Filter::Rids))
            }
        };
        let page = match filter {
            Ok(filter) => self.judged_history(&mut lease, &judge, scope, &filter, query).await,
            Err(error) => Err(error),
        };
        if page.as_ref().err().is_none_or(|error| !error.status.is_server_error()) {
            lease.release();
        }
        page
    }

    async fn judged_history(
        &self,
        connection: &mut PgConnection,
        judge: &Judge<'_>,
        scope: HistoryScope<'_>,
        filter: &Filter,
        query: &HistoryQuery,
    ) -> Result<HistoryPage, FhirError> {
        let wanted = query.count as usize;
        let mut entries = Vec::new();
        let mut seen = 0;
        let mut visible = 0;
        let mut at = HistoryQuery {
            count: CHUNK,
            ..query.clone()
        };
        loop {
            let page = self.store.history_page(connection, filter, &at).await?;
            seen += page.entries.len();
            let meet = judge.of_versions(connection, &page.entries).await?;
            let allowed = page.entries.into_iter().zip(meet).filter(|(_, meets)| *meets);
            for (entry, _) in allowed {
                visible += 1;
                if entries.len() <= wanted {
                    entries.push(entry);
                }
            }
            at.cursor = page.next;
            // Without entries the number of all is asked for.
            if at.cursor.is_none() || wanted > 0 && entries.len() > wanted {
                break;
            }
            if seen >= MOST_JUDGED {
                let text =
                    "Too many versions would have to be looked at for this page. Ask for one type, or by _since.";
                return Err(FhirError::too_costly(text));
            }
        }
        if let HistoryScope::Instance { resource_type, id } = scope
            && visible == 0
            && !self.is_any_visible(connection, judge, filter).await?
        {
            return Err(FhirError::not_found(resource_type, id));
        }
        let is_whole = at.cursor.is_none() && query.cursor.is_none() && (wanted == 0 || visible <= wanted);
        let more = entries.len() > wanted;
        entries.truncate(wanted);
        let next = entries.last().filter(|_| more).map(HistoryPage::place_of);
        Ok(HistoryPage {
            entries,
            next,
            total: is_whole.then_some(visible as u64),
        })
    }

    /// Whether any version is, whatever was asked about its time.
    async fn is_any_visible(
        &self,
        connection: &mut PgConnection,
        judge: &Judge<'_>,
        filter: &Filter,
    ) -> Result<bool, FhirError> {
        let mut at = HistoryQuery {
            count: CHUNK,
            ..HistoryQuery::default()
        };
        loop {
            let page = self.store.history_page(connection, filter, &at).await?;
            if judge.of_versions(connection, &page.entries).await?.contains(&true) {
                return Ok(true);
            }
            match page.next {
                None => return Ok(false),
                next => at.cursor = next,
            }
        }
    }

    fn one_type(&self, name: &str) -> Result<Types, FhirError> {
        let ty = self.access.all_types.iter().find(|ty| ty.name == name);
        ty.map(|ty| Types::One(*ty))
            .ok_or_else(|| FhirError::unknown_type(name))
    }

    fn judge<'s>(&'s self, caller: &'s Caller, criterion: &'s Arc<Criterion>) -> Judge<'s> {
        Judge {
            server: self,
            caller,
            criterion,
            ignored: &[],
            is_committed: true,
        }
    }
}

/// The resources of which a caller may have seen a version, by rid, if these are few.
async fn few(judge: &Judge<'_>, connection: &mut PgConnection) -> Result<Option<Vec<i64>>, FhirError> {
    let mut few = judge.some(connection, FEW + 1).await?;
    few.extend(judge.formerly_recorded(connection, FEW + 1).await?);
    few.sort_unstable();
    few.dedup();
    Ok((few.len() as i64 <= FEW).then_some(few))
}

impl Judge<'_> {
    /// Up to `limit` resources that were in the record of a patient whom the caller is, acts for or looks after, and are not any
    /// more, by rid.
    async fn formerly_recorded(&self, connection: &mut PgConnection, limit: i64) -> Result<Vec<i64>, FhirError> {
        const SQL: &str = "SELECT rid FROM former_record WHERE patient = ANY ($1) \
             UNION SELECT f.rid FROM care_relation c JOIN former_record f ON f.patient = c.patient \
             WHERE c.holder = ANY ($2) AND c.starts <= $3 AND c.ends > $3 LIMIT $4";
        let Some(user) = self.caller.user() else {
            return Ok(Vec::new());
        };
        Ok(sqlx::query_scalar(SQL)
            .bind(&user.holders.patients)
            .bind(&user.holders.all)
            .bind(Micros::from(self.server.clock.now()))
            .bind(limit)
            .fetch_all(connection)
            .await?)
    }

    /// Whether one version meets it.
    pub async fn of_version(&self, connection: &mut PgConnection, version: &StoredResource) -> Result<bool, FhirError> {
        let judged = self.of_versions(connection, std::slice::from_ref(version)).await?;
        Ok(judged.contains(&true))
    }
}

/// What resources are judged for.
#[derive(Clone, Copy)]
pub(in crate::fhir) struct Judged<'j> {
    pub letter: Permissions,
    /// As in [`Judge`].
    pub ignored: &'j [i64],
    pub is_committed: bool,
}

impl Judged<'_> {
    /// For an answer.
    pub fn to(letter: Permissions) -> Judged<'static> {
        Judged {
            letter,
            ignored: &[],
            is_committed: true,
        }
    }
}

/// Those of the resources (rid and type, and there) with which the caller may do what the letter says, by rid.
pub(in crate::fhir) async fn allowed(
    server: &FhirServer,
    caller: &Caller,
    connection: &mut PgConnection,
    judged: Judged<'_>,
    resources: &[(i64, &'static str)],
) -> Result<HashSet<i64>, FhirError> {
    let rids: Vec<i64> = resources.iter().map(|(rid, _)| *rid).collect();
    let named: HashSet<&str> = resources.iter().map(|(_, name)| *name).collect();
    let all = server.access.all_types.iter();
    let types: Vec<_> = all.filter(|ty| named.contains(ty.name)).copied().collect();
    let Some(types) = Types::of(&types) else {
        return Ok(HashSet::new());
    };
    match Access::across(server, caller, judged.letter, &types).rule {
        Rule::Nothing => Ok(HashSet::new()),
        Rule::Everything => Ok(rids.into_iter().collect()),
        Rule::When(criterion) => {
            let judge = Judge {
                ignored: judged.ignored,
                is_committed: judged.is_committed,
                ..server.judge(caller, &criterion)
            };
            judge.of_resources(connection, &rids).await
        }
    }
}

/// Whether the caller may do what the letter says with everything.
pub(in crate::fhir) fn may_do_everything(server: &FhirServer, caller: &Caller, letter: Permissions) -> bool {
    let all = Types::All(all_types(server));
    matches!(Access::across(server, caller, letter, &all).rule, Rule::Everything)
}

/// What a caller may do with resources of one type, or of all.
pub(in crate::fhir) struct OfTypes<'s> {
    server: &'s FhirServer,
    caller: &'s Caller,
    /// Those with which they may do it.
    pub types: Vec<&'static str>,
    criterion: Arc<Criterion>,
}

/// What the caller may do with resources of a type, or of all types.
///
/// # Errors
/// 403 where that is nothing.
pub(in crate::fhir) fn of_types<'s>(
    server: &'s FhirServer,
    caller: &'s Caller,
    letter: Permissions,
    resource_type: Option<&str>,
) -> Result<OfTypes<'s>, FhirError> {
    let types = match resource_type {
        Some(name) => server.one_type(name)?,
        None => Types::All(all_types(server)),
    };
    let Across { types, rule } = Access::across(server, caller, letter, &types);
    let criterion = match rule {
        Rule::Nothing => return Err(forbidden(letter, resource_type.unwrap_or("some type"))),
        Rule::Everything => Arc::new(Criterion::All(Vec::new())),
        Rule::When(criterion) => criterion,
    };
    Ok(OfTypes {
        server,
        caller,
        types: types.iter().map(|ty| ty.name).collect(),
        criterion,
    })
}

impl OfTypes<'_> {
    /// As [`Judge::labels`].
    pub async fn labels(&self, connection: &mut PgConnection, params: Vec<i16>) -> Result<Vec<Value>, FhirError> {
        self.server
            .judge(self.caller, &self.criterion)
            .labels(connection, params)
            .await
    }

    /// As [`Judge::newest`], of the only type.
    pub async fn newest(
        &self,
        connection: &mut PgConnection,
        highest: i64,
        limit: i64,
    ) -> Result<Vec<StoredResource>, FhirError> {
        let name = self.types.first().copied().unwrap_or_default();
        let Some(ty) = self.server.access.all_types.iter().find(|ty| ty.name == name) else {
            return Ok(Vec::new());
        };
        let judge = self.server.judge(self.caller, &self.criterion);
        let rows = judge.newest(connection, *ty, highest, limit).await?;
        rows.iter().map(|row| self.server.store.resource_of(row)).collect()
    }
}

/// Whether the caller may do what the letter says with one version, by its own content.
pub(in crate::fhir) async fn may(
    server: &FhirServer,
    caller: &Caller,
    connection: &mut PgConnection,
    letter: Permissions,
    version: &StoredResource,
) -> Result<bool, FhirError> {
    match rule(server, caller, letter, version.resource_type) {
        Rule::Nothing => Ok(false),
        Rule::Everything => Ok(true),
        Rule::When(criterion) => server.judge(caller, &criterion).of_version(connection, version).await,
    }
}
