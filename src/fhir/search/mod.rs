//! Search (<https://hl7.org/fhir/R4/search.html>).
//!
//! **Index rows.** When a resource is written, every search parameter of its type yields rows in one of seven narrow tables
//! ([`index`], [`types`]): `(parameter, value, rid)`. A `rid` is the resource's number, which never changes. Each table has
//! an index by value, in which an equal value's resources stand in order of rid, and one by rid. A search reads these and
//! no JSON, and touches the resources themselves only for the page it answers with.
//!
//! **From a query to a page.** [`parse`] makes a typed [`Search`] of the query's pairs ([`criterion`]), [`plan`] one SQL
//! statement of the Search, [`page`] a Bundle of the rows, around the stored JSON text. Values are always binds; no text of a request
//! becomes part of a statement (see [`sql`]).
//!
//! **Order.** Without `_sort` results come newest first: by rid, descending, which is the order in which resources were
//! created. It costs nothing, since the indexes have it. With `_sort` they come by the given keys, resources without a
//! value last in both directions, and by rid where the keys are equal.
//!
//! **Paging.** The link `next` holds the place where a page ended ([`cursor`]), and a page is found by seeking there: page
//! one thousand costs what page one costs. While others write, a resource that matches throughout is met exactly once. In
//! the default order that holds whatever else is done to it. Under `_sort` it holds as long as its sort values stay the
//! same; a resource that is given another value in between is met where its new value stands. What is created after the
//! first page was read stands before it in the default order.
//!
//! **Totals** cost a scan of all matches and are told when asked for (`_total=accurate`, `_count=0`), or when the page
//! holds everything anyway. `_total=estimate` counts up to a thousand and then asks the planner.

pub mod contained;
mod criterion;
mod cursor;
pub mod explain;
pub mod index;
mod judge;
mod last;
mod layout;
pub mod own;
pub mod page;
mod parse;
mod plan;
mod registry;
pub mod reindex;
mod sql;
pub mod text;
pub mod types;

use std::collections::HashMap;

use serde_json::Value;
use sqlx::{PgConnection, Row};

pub(super) use contained::Contained;
pub(super) use criterion::{Criterion, Matches, Patients};
pub use criterion::{ResourceType, Search, Total, Types};
pub use explain::{Explained, Step};
pub(super) use judge::Judge;
pub use last::{MAX_LAST, last_of_each};
pub use page::page_bundle;
pub(super) use parse::conditions;
pub use parse::{Scope, parse};
pub use registry::{Family, LiveRegistry, Parameter, SearchRegistry};
pub(super) use types::reference;

use self::cursor::Cursor;
use self::explain::Statements;
use self::plan::{MAX_INCLUDED, Numbers, Plan};
use self::reindex::honesty;
use super::access;
use super::caller::Caller;
use super::error::{FhirError, Issue, IssueType};
use super::http::query::Query;
use super::preferences::Handling;
use super::resource::StoredResource;
use super::searchset::MatchFacts;
use super::server::FhirServer;
use super::store::Store;

/// Up to this many matches an estimated total is exact.
const EXACT_ESTIMATE: i64 = 1_000;

/// Most conditional criteria that one statement looks up.
const CRITERIA_PER_STATEMENT: usize = 200;

/// What a search found.
#[derive(Debug, Default)]
pub struct SearchPage {
    pub matches: Vec<StoredResource>,
    /// What `_include` and `_revinclude` added; none of it is among the matches, and each is here once.
    pub included: Vec<StoredResource>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Cursor>,
    /// Matches on all pages, as far as asked for or known without counting.
    pub total: Option<u64>,
    /// What is known of matches beside the resource, by rid.
    pub facts: HashMap<i64, MatchFacts>,
    /// What was left out, for the client.
    pub warnings: Vec<Issue>,
    /// How each statement was run, where that was asked for.
    pub explained: Option<Vec<Explained>>,
}

/// Runs a search for a caller.
///
/// # Errors
/// 403 where the caller may see nothing of what is searched, 422 for a total of more resources than may be counted, 503 when the database cannot answer or takes too long.
pub async fn search(server: &FhirServer, caller: &Caller, search: &Search) -> Result<SearchPage, FhirError> {
    let narrowed = access::restrict(server, caller, search)?;
    let search = &*narrowed;
    let behind = match search.looks_for_text() {
        true => text::catch_up(&server.store).await?,
        false => None,
    };
    let mut lease = server.store.direct().await?;
    let numbers = match Numbers::look_up(server, caller, &mut lease, [search], true).await {
        Ok(numbers) => numbers,
        Err(error) => {
            // What is wrong with a search says nothing against the connection.
            if !error.status.is_server_error() {
                lease.release();
            }
            return Err(error);
        }
    };
    let notes = numbers
        .notes
        .iter()
        .map(|note| Issue::warning(IssueType::Incomplete, note.clone()));
    let warnings: Vec<Issue> = notes.collect();
    let page = match Plan::new(search, &numbers) {
        None => Ok(SearchPage {
            total: Some(0),
            explained: search.explain.then(Vec::new),
            ..SearchPage::default()
        }),
        Some(plan) => {
            if !plan.has_one_best() {
                lease.release();
                lease = server.store.planned().await?;
            }
            run(server, &mut lease, search, &plan).await
        }
    };
    let mut page = match page {
        Ok(page) => page,
        Err(error) => {
            // What asked for too much is no fault of the connection.
            if !error.status.is_server_error() {
                lease.release();
            }
            return Err(error);
        }
    };
    page.warnings.extend(behind);
    page.warnings.splice(0..0, warnings);
    let looked_back = honesty::look_back(&mut lease, &search.concerns).await;
    lease.release();
    match looked_back {
        Ok(issues) => page.warnings.extend(issues),
        Err(error) => {
            // This server has not heard of the change yet; it shall have when the client comes again.
            server.search.refresh(&server.store).await?;
            return Err(error);
        }
    }
    Ok(page)
}

async fn run(
    server: &FhirServer,
    connection: &mut PgConnection,
    search: &Search,
    plan: &Plan<'_>,
) -> Result<SearchPage, FhirError> {
    let store = &server.store;
    let mut statements = Statements::new(connection, search.explain);
    let mut page = SearchPage::default();
    if search.count > 0 {
        (page.matches, page.next) = matches_of(store, &mut statements, search, plan, &mut page.facts).await?;
    }
    if !search.texts().is_empty() && !page.matches.is_empty() {
        let rids: Vec<i64> = page.matches.iter().map(|resource| resource.rid).collect();
        let rows = statements.fetch("scores", || plan.scores(rids.clone())).await?;
        for row in &rows {
            page.facts.entry(row.try_get(0)?).or_default().score = row.try_get(1)?;
        }
    }
    let whole = search.count > 0 && search.cursor.is_none() && page.next.is_none();
    page.total = match search.total {
        _ if whole => u64::try_from(page.matches.len()).ok(),
        Total::Estimate => Some(estimate(&mut statements, plan).await?),
        _ if search.count == 0 => Some(accurate(server, &mut statements, plan).await?),
        Total::Accurate => Some(accurate(server, &mut statements, plan).await?),
        Total::None => None,
    };
    if !search.includes.is_empty() && !page.matches.is_empty() {
        let rids: Vec<i64> = page.matches.iter().map(|resource| resource.rid).collect();
        let rows = statements
            .fetch("included", || plan::included(search, plan.numbers(), &rids))
            .await?;
        page.included = rows
            .iter()
            .map(|row| store.resource_of(row))
            .collect::<Result<_, _>>()?;
        let most = usize::try_from(MAX_INCLUDED).unwrap_or(usize::MAX);
        if page.included.len() > most {
            page.included.truncate(most);
            let text = format!(
                "This page leads to more than {most} further resources; {most} are included. A smaller _count leaves room \
                 for all."
            );
            page.warnings.push(Issue::warning(IssueType::Incomplete, text));
        }
    }
    page.explained = statements.finish();
    Ok(page)
}

/// The matches of one page, and where the next one begins.
async fn matches_of(
    store: &Store,
    statements: &mut Statements<'_>,
    search: &Search,
    plan: &Plan<'_>,
    facts: &mut HashMap<i64, MatchFacts>,
) -> Result<(Vec<StoredResource>, Option<Cursor>), FhirError> {
    // One more than the page holds tells whether there is a next one.
    let wanted = usize::try_from(search.count).unwrap_or(usize::MAX);
    let limit = i64::from(search.count) + 1;
    let after = search.cursor.as_ref();
    let mut found: Vec<(StoredResource, Vec<Option<String>>)> = Vec::new();
    if search.sort.is_empty() {
        let rows = statements
            .fetch("matches", || plan.newest_first(after.map(|cursor| cursor.rid), limit))
            .await?;
        for row in &rows {
            let resource = store.resource_of(row)?;
            if search.contained.answers_contained()
                && let Some(container) = row.try_get::<Option<i16>, _>(8)?
            {
                let container = store.types().name(container).unwrap_or_default();
                let id: String = row.try_get(9)?;
                facts.entry(resource.rid).or_default().place = Some(format!("{container}/{id}#{}", resource.id));
            }
            found.push((resource, Vec::new()));
        }
    } else {
        let lacking = |cursor: &Cursor| cursor.values.first().is_some_and(Option::is_none);
        let among_lacking = after.is_some_and(lacking);
        if !among_lacking {
            let rows = statements
                .fetch("matches in order", || plan.sorted(after, false, limit))
                .await?;
            for row in &rows {
                found.push((store.resource_of(row)?, sort_values(row, search.sort.len())?));
            }
        }
        let missing = limit - i64::try_from(found.len()).unwrap_or(limit);
        if missing > 0 && search.first_key_may_lack() {
            let after = after.filter(|_| among_lacking);
            let rows = statements
                .fetch("matches without a value to sort by", || {
                    plan.sorted(after, true, missing)
                })
                .await?;
            for row in &rows {
                let mut values = vec![None];
                values.extend(sort_values(row, search.sort.len() - 1)?);
                found.push((store.resource_of(row)?, values));
            }
        }
    }
    let more = found.len() > wanted;
    found.truncate(wanted);
    let next = match found.last() {
        Some((last, values)) if more => Some(Cursor::new(search, values.clone(), last.rid)),
        _ => None,
    };
    Ok((found.into_iter().map(|(resource, _)| resource).collect(), next))
}

/// The sort values that follow the columns of a resource.
fn sort_values(row: &sqlx::postgres::PgRow, count: usize) -> Result<Vec<Option<String>>, FhirError> {
    let first = row.len() - count;
    Ok((first..row.len())
        .map(|column| row.try_get(column))
        .collect::<Result<_, _>>()?)
}

async fn count(statements: &mut Statements<'_>, plan: &Plan<'_>, limit: i64) -> Result<u64, FhirError> {
    let rows = statements.fetch("total", || plan.count(limit)).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok(row.try_get::<i64, _>(0)?.unsigned_abs())
}

/// How many match, as far as the server is willing to count.
async fn accurate(server: &FhirServer, statements: &mut Statements<'_>, plan: &Plan<'_>) -> Result<u64, FhirError> {
    let most = server.settings.max_counted;
    let exact = count(statements, plan, i64::from(most) + 1).await?;
    if exact > u64::from(most) {
        return Err(FhirError::too_costly(format!(
            "More than {most} resources match, which is as far as this server counts. Ask for _total=estimate, or add \
             criteria."
        )));
    }
    Ok(exact)
}

async fn estimate(statements: &mut Statements<'_>, plan: &Plan<'_>) -> Result<u64, FhirError> {
    let exact = count(statements, plan, EXACT_ESTIMATE + 1).await?;
    if exact <= EXACT_ESTIMATE.unsigned_abs() {
        return Ok(exact);
    }
    // Which is an explanation itself, and has none.
    let row = plan.estimate().query()?.fetch_one(statements.connection()).await?;
    let explained: Value = row.try_get(0)?;
    let rows = explained
        .pointer("/0/Plan/Plan Rows")
        .and_then(Value::as_u64)
        .unwrap_or(exact);
    Ok(rows.max(exact))
}

/// At most two matches that the caller may see, rid and id, of each conditional criterion: its type and its raw query.
///
/// Runs on the caller's connection, so that a transaction sees what it wrote itself. Criteria must say something, and
/// nothing in them may be unknown: a condition that was half understood could change the wrong resource.
///
/// # Errors
/// The error, with the position of the criterion it belongs to, if it belongs to one.
pub async fn matches_all(
    connection: &mut PgConnection,
    server: &FhirServer,
    caller: &Caller,
    criteria: &[(String, String)],
) -> Result<Vec<Vec<(i64, String)>>, (Option<usize>, FhirError)> {
    let mut searches = Vec::with_capacity(criteria.len());
    for (n, (resource_type, query)) in criteria.iter().enumerate() {
        let found = condition(server, resource_type, query)
            .and_then(|search| Ok(access::restrict(server, caller, &search)?.into_owned()));
        searches.push(found.map_err(|error| (Some(n), error))?);
    }
    let mut found = vec![Vec::new(); criteria.len()];
    let everything = |error: FhirError| (None, error);
    let numbers = Numbers::look_up(server, caller, connection, &searches, false)
        .await
        .map_err(everything)?;
    let plans: Vec<_> = searches
        .iter()
        .enumerate()
        .filter_map(|(n, search)| Some((n, Plan::new(search, &numbers)?)))
        .collect();
    for chunk in plans.chunks(CRITERIA_PER_STATEMENT) {
        let mut sql = sql::Sql::default();
        for (position, (n, plan)) in chunk.iter().enumerate() {
            sql.push(if position == 0 { "" } else { " UNION ALL " });
            plan.any(&mut sql, i32::try_from(*n).unwrap_or(i32::MAX), 2);
        }
        // A statement of many criteria hardly comes twice; it would only push others out of the cache.
        let query = sql
            .query()
            .map_err(|error| everything(error.into()))?
            .persistent(chunk.len() == 1);
        let rows = query
            .fetch_all(&mut *connection)
            .await
            .map_err(|error| everything(error.into()))?;
        for row in &rows {
            let read = || Ok::<_, sqlx::Error>((row.try_get::<i32, _>(0)?, row.try_get(1)?, row.try_get(2)?));
            let (n, rid, id): (i32, i64, String) = read().map_err(|error| everything(error.into()))?;
            found[usize::try_from(n).unwrap_or_default()].push((rid, id));
        }
    }
    Ok(found)
}

/// The search of a conditional interaction.
fn condition(server: &FhirServer, resource_type: &str, query: &str) -> Result<Search, FhirError> {
    let search = parse(server, resource_type, &Query::parse(query)?.0, Handling::Strict)?;
    if search.looks_for_text() || search.contained != Contained::Ignored {
        return Err(FhirError::bad_request(
            "A conditional interaction looks for resources that stand alone, and not by _text or _content.",
        ));
    }
    if search.criteria.is_empty() {
        return Err(FhirError::bad_request(
            "A conditional interaction needs at least one search criterion.",
        ));
    }
    honesty::require_complete(&search.concerns)?;
    Ok(search)
}
