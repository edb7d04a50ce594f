//! From a typed [`Search`] to SQL.
//!
//! Every criterion is a set of rids ([`group`]) that some index yields, often in order of rid. Two shapes of statement
//! follow:
//!
//! - **Newest first** (no `_sort`): the sets are joined on rid and the planner picks which one drives: it reads
//!   the indexes backwards, merging or probing, and stops when the page is full. A resource may have several rows that
//!   match, hence `DISTINCT`, which over ordered rows only compares neighbours.
//! - **Sorted**: the rows of the first key drive, in the order of their own index; criteria are semi-joins. Of several
//!   rows of one resource the first in the order counts. Resources without the key come last, by a second statement.
//!
//! A criterion of few values that stands alone is one scan per value (`UNION ALL`), because the scan of a single value keeps
//! the order of the index and the union merges ordered scans. Content is joined after the limit.

mod criteria;
mod group;
mod includes;
mod judge;
mod last;
mod record;
mod sorted;

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::PgConnection;

pub(super) use self::includes::{MAX_INCLUDED, included};
pub(super) use self::judge::{Versions, newest_of, some_of, those_of, write_test};
pub(super) use self::last::LastParameters;

use self::group::{Group, Home, Set};
use super::contained::{Answer, Contained, PLACED_COLUMNS};
use super::criterion::{Criterion, Matches, Patients, Search, SortBy, Total, Types};
use super::registry::Family;
use super::sql::Sql;
use super::types::{concept, quantity, reference, token};
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::server::FhirServer;
use crate::fhir::store::{COLUMNS, Micros};
use crate::fhir::terminology::{self, Codes, Concepts};

/// Numbers of the systems and resources that searches name, and of those that stand for the caller. What is not here was
/// never stored.
pub(super) struct Numbers {
    systems: HashMap<String, i32>,
    rids: HashMap<(String, String), i64>,
    /// The types, among those that chains lead to, of which some resource is contained in another.
    contained: HashSet<i16>,
    /// What the value sets and the codes of a hierarchy come to that searches name.
    codes: HashMap<Concepts, Codes>,
    /// What is known to be missing in `codes`, as sentences for the client.
    pub(super) notes: BTreeSet<String>,
    reach: Reach,
}

/// Whom the caller reaches.
struct Reach {
    /// The patients whom they are, or act for.
    own: Vec<i64>,
    /// All that stands for them where somebody is looked after.
    holders: Vec<i64>,
    /// Resources that tie them to nobody, whatever they say.
    ignored: Vec<i64>,
    /// Whether they look after many patients.
    is_wide: bool,
    now: Micros,
    patient_type: i16,
}

impl Numbers {
    /// Looks up all that `searches` name; `remember` what is found unless it may be undone with a transaction.
    pub(super) async fn look_up<'s>(
        server: &FhirServer,
        caller: &Caller,
        connection: &mut PgConnection,
        searches: impl IntoIterator<Item = &'s Search>,
        remember: bool,
    ) -> Result<Numbers, FhirError> {
        let mut wanted = Wanted::default();
        for search in searches {
            search.criteria.iter().for_each(|criterion| wanted.add(criterion));
            search.includable.iter().for_each(|criterion| wanted.add(criterion));
            let by_quantity = |by: &SortBy| {
                matches!(
                    by,
                    SortBy::Parameter {
                        family: Family::Quantity,
                        ..
                    }
                )
            };
            if search.sort.iter().any(|key| by_quantity(&key.by)) {
                wanted.systems.push(quantity::CANONICAL);
            }
        }
        wanted.look_up(server, caller, connection, remember).await
    }

    /// The same for one criterion.
    pub(super) async fn of_criterion(
        server: &FhirServer,
        caller: &Caller,
        connection: &mut PgConnection,
        criterion: &Criterion,
        remember: bool,
    ) -> Result<Numbers, FhirError> {
        let mut wanted = Wanted::default();
        wanted.add(criterion);
        wanted.look_up(server, caller, connection, remember).await
    }

    /// Lets these resources tie the caller to nobody.
    pub(super) fn ignoring(mut self, resources: &[i64]) -> Numbers {
        self.reach.ignored = resources.to_vec();
        self
    }

    fn rid(&self, resource_type: &str, id: &str) -> Option<i64> {
        self.rids.get(&(resource_type.to_owned(), id.to_owned())).copied()
    }

    /// Whether a resource of any of these types is contained in another.
    fn has_contained(&self, types: &Types) -> bool {
        types.as_slice().iter().any(|ty| self.contained.contains(&ty.id))
    }
}

/// What criteria name.
#[derive(Default)]
struct Wanted<'c> {
    systems: Vec<&'c str>,
    targets: Vec<(&'c str, &'c str)>,
    /// Types that chains lead to.
    led_to: HashSet<i16>,
    concepts: BTreeSet<&'c Concepts>,
    ties: bool,
}

impl<'c> Wanted<'c> {
    fn add(&mut self, criterion: &'c Criterion) {
        criterion.visit(&mut |criterion| match criterion {
            Criterion::Chain { target, .. } => self.led_to.extend(target.ids()),
            Criterion::Record {
                of: Patients::One(id), ..
            } => self.targets.push(("Patient", id)),
            Criterion::Record { of, .. } => self.ties |= of.are_tied(),
            _ => {}
        });
        criterion.visit_matches(&mut |matches| {
            names_in(matches, &mut self.systems, &mut self.targets);
            self.concepts.extend(concepts_in(matches));
        });
    }

    async fn look_up(
        self,
        server: &FhirServer,
        caller: &Caller,
        connection: &mut PgConnection,
        remember: bool,
    ) -> Result<Numbers, FhirError> {
        let store = &server.store;
        // First, since it may give numbers to systems.
        let resolved = terminology::resolve(store, connection, &self.concepts).await?;
        let systems = store.find_systems(connection, &self.systems, remember).await?;
        let rids = store.find_targets(connection, &self.targets, remember).await?;
        let contained = contained_among(connection, self.led_to).await?;
        let holders = caller.user().map(|user| user.holders.clone()).unwrap_or_default();
        let is_wide = self.ties && server.access.looks_after_many(connection, &holders.all).await?;
        Ok(Numbers {
            systems,
            rids,
            contained,
            codes: resolved.codes,
            notes: resolved.notes,
            reach: Reach {
                own: holders.patients,
                holders: holders.all,
                ignored: Vec::new(),
                is_wide,
                now: server.clock.now().into(),
                patient_type: store.types().id("Patient").unwrap_or_default(),
            },
        })
    }
}

async fn contained_among(connection: &mut PgConnection, types: HashSet<i16>) -> Result<HashSet<i16>, FhirError> {
    const SQL: &str = "SELECT type FROM unnest($1::smallint[]) AS wanted (type) \
         WHERE EXISTS (SELECT FROM contained c WHERE c.type = wanted.type)";
    if types.is_empty() {
        return Ok(types);
    }
    let types: Vec<i16> = types.into_iter().collect();
    let found = sqlx::query_scalar(SQL).bind(types).fetch_all(connection).await?;
    Ok(found.into_iter().collect())
}

/// Collects the systems and resources that `matches` name.
fn names_in<'m>(matches: &'m Matches, systems: &mut Vec<&'m str>, targets: &mut Vec<(&'m str, &'m str)>) {
    match matches {
        Matches::Token(tokens) => systems.extend(token::systems(tokens)),
        Matches::Concept(concepts) => systems.extend(concept::systems(concepts)),
        Matches::Quantity(quantities) => systems.extend(quantity::systems(quantities)),
        Matches::Reference(references) => targets.extend(reference::targets(references)),
        Matches::Other(matches) => names_in(matches, systems, targets),
        Matches::Any(_)
        | Matches::String(_)
        | Matches::Date(_)
        | Matches::Uri(_)
        | Matches::OfType(_)
        | Matches::Part { .. }
        // Its parts are visited themselves.
        | Matches::Composite(_) => {}
    }
}

/// What is answered for the contained resources of `group`.
fn answered(group: Group<'_>, answer: Answer) -> Set<'_> {
    match answer {
        Answer::Container => Set::Containers(Box::new(group)),
        Answer::Itself => Set::Group(Box::new(group)),
    }
}

/// The value sets and codes of a hierarchy that `matches` name.
fn concepts_in(matches: &Matches) -> impl Iterator<Item = &Concepts> {
    let mut at = matches;
    while let Matches::Other(inner) = at {
        at = inner;
    }
    let concepts = match at {
        Matches::Concept(concepts) => &concepts[..],
        _ => &[],
    };
    concepts.iter().map(|m| &m.concepts)
}

/// A search, ready to be written as statements.
pub(super) struct Plan<'s> {
    search: &'s Search,
    numbers: &'s Numbers,
    group: Group<'s>,
    /// Whether an index has all candidates in the order of the answer, of which no more are read than fill a page.
    is_direct: bool,
}

impl<'s> Plan<'s> {
    /// `None` when nothing can match: a criterion names only what was never stored.
    pub(super) fn new(search: &'s Search, numbers: &'s Numbers) -> Option<Plan<'s>> {
        let group = |home| Group::new(home, &search.types, &search.criteria, numbers);
        let mut group = match search.contained {
            Contained::Ignored => group(Home::Alone)?,
            Contained::Only(answer) => Group::of(vec![answered(group(Home::Contained)?, answer)]),
            Contained::Too(answer) => {
                let alone = group(Home::Alone).map(|group| Set::Group(Box::new(group)));
                let contained = group(Home::Contained).map(|group| answered(group, answer));
                match alone.into_iter().chain(contained).collect::<Vec<_>>() {
                    sets if sets.is_empty() => return None,
                    sets => Group::of(sets),
                }
            }
        };
        let counts = search.count == 0 || search.total != Total::None;
        let is_direct = group.is_ordered() && search.sort.is_empty() && !(counts && group.is_probed());
        if is_direct {
            group.probe();
        }
        Some(Plan {
            search,
            numbers,
            group,
            is_direct,
        })
    }

    /// Whether one plan is the best whatever is searched for: an index has all matches in the order of the answer.
    pub(super) fn has_one_best(&self) -> bool {
        // An estimate is what the planner thinks of the values.
        self.is_direct && self.search.total != Total::Estimate
    }

    /// What the search names.
    pub(super) fn numbers(&self) -> &'s Numbers {
        self.numbers
    }

    /// A page of matches, newest first. Where contained resources themselves may be among them, type and id of what
    /// contains each follow its columns.
    pub(super) fn newest_first(&self, after: Option<i64>, limit: i64) -> Sql {
        let contains = self.search.contained.answers_contained();
        let mut sql = Sql::default();
        sql.push("SELECT ")
            .push(if contains { PLACED_COLUMNS } else { COLUMNS })
            .push(" FROM (");
        let rid = self.group.write_set(&mut sql, true, after, Some(limit));
        sql.push(" ORDER BY ").column(rid, ".rid DESC LIMIT ").bind(limit);
        sql.push(if contains {
            ") m LEFT JOIN contained c ON c.rid = m.rid JOIN resource r ON r.rid = coalesce(c.container, m.rid) \
             ORDER BY m.rid DESC"
        } else {
            ") m JOIN resource r ON r.rid = m.rid ORDER BY r.rid DESC"
        });
        sql
    }

    /// The scores of these matches, as text: rid, score.
    pub(super) fn scores(&self, rids: Vec<i64>) -> Sql {
        let mut sql = Sql::default();
        let words = sql.new_alias();
        sql.push("SELECT ").column(words, ".rid, ");
        sorted::write_score(&mut sql, words, &self.search.texts());
        sql.push("::text FROM resource_text ").alias(words);
        sql.push(" WHERE ").column(words, ".rid = ANY(").bind(rids).push(")");
        sql
    }

    /// Number, rid and id of up to `limit` matches, in no order.
    pub(super) fn any(&self, sql: &mut Sql, number: i32, limit: i64) {
        sql.push("(SELECT ").bind(number).push("::int, r.rid, r.id FROM (");
        self.group.write_set(sql, true, None, None);
        sql.push(" LIMIT ")
            .bind(limit)
            .push(") m JOIN resource r ON r.rid = m.rid)");
    }

    /// How many match, counted up to `limit`.
    pub(super) fn count(&self, limit: i64) -> Sql {
        let mut sql = Sql::default();
        sql.push("SELECT count(*) FROM (");
        self.group.write_set(&mut sql, true, None, None);
        sql.push(" LIMIT ").bind(limit).push(") m");
        sql
    }

    /// How many the planner expects to match: a statement that answers with its plan as JSON.
    pub(super) fn estimate(&self) -> Sql {
        let mut sql = Sql::default();
        sql.push("EXPLAIN (FORMAT JSON) ");
        self.group.write_set(&mut sql, true, None, None);
        sql
    }
}
