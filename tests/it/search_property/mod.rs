//! Random searches over random resources: the server finds what a naive reading of the specification finds, in the same
//! order, on pages that lose and repeat nothing.
//!
//! - [`resources`] makes resources of any type out of the element model, and changes and deletes some of them;
//! - [`asking`] makes [`searches`], mostly after values that are there;
//! - [`naive`] and [`matching`] say what must be found, by evaluating FHIRPath on every resource, without any index;
//! - [`shrink`] makes the resources and the search as small as they can be when the two differ.
//!
//! A run takes the same seed unless it is told otherwise, so that what passes today passes tomorrow. `SEARCH_SEED=random` draws
//! another one, which is printed with what differs; `SEARCH_SEED=<seed>` repeats a run, `SEARCH_CASES=<number>` makes it
//! longer.

mod asking;
mod matching;
mod naive;
mod resources;
mod searches;
mod shrink;

use std::collections::{BTreeSet, HashMap};
use std::env;
use std::sync::Arc;

use fastrand::Rng;
use futures::stream::{self, StreamExt};
use jiff::SignedDuration;
use medconsult::fhir::caller::Caller;
use medconsult::fhir::commit::{self, Op, Target, commit};
use medconsult::fhir::http::query::Query;
use medconsult::fhir::preferences::Handling;
use medconsult::fhir::search;
use medconsult::fhir::server::FhirServer;
use medconsult::fhir::summary::Projection;
use medconsult::knowledge::definitions::Definitions;
use serde_json::Value;

use self::asking::random_search;
use self::naive::Naive;
use self::resources::{BASE, Change, random_history};
use self::searches::Search;
use self::shrink::smallest_that_differs;
use crate::bench::{Bench, bench};

/// Searches of a run, unless the environment says otherwise.
const CASES: usize = 2_000;
/// What is drawn unless the environment says otherwise.
const SEED: u64 = 11;
/// Searches that run at the same time.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_searches_find_what_a_naive_reading_finds() {
    let number = |text: String| text.parse::<u64>().expect("a number");
    let seed = match env::var("SEARCH_SEED") {
        Ok(word) if word == "random" => fastrand::u64(..),
        Ok(seed) => number(seed),
        Err(_) => SEED,
    };
    let cases = env::var("SEARCH_CASES").map_or(CASES, |cases| number(cases).try_into().unwrap());
    // Shown when the test fails, in whatever way it does.
    println!("SEARCH_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let history = random_history(&mut rng);
    let world = World::after(&history)
        .await
        .unwrap_or_else(|refusal| panic!("seed {seed}: {refusal}"));
    let searches: Vec<Search> = (0..cases).map(|_| random_search(&mut rng, &world.naive)).collect();
    let mut answers = stream::iter(searches)
        .map(|search| {
            let answer = tokio::spawn(ask(world.bench.server.clone(), search.to_string()));
            async { (search, answer.await.expect("the server does not panic")) }
        })
        .buffer_unordered(AT_ONCE);
    let mut matched = 0;
    while let Some((search, answer)) = answers.next().await {
        let expected = world.expected(&search);
        matched += usize::from(!expected.ids.is_empty());
        if let Some(difference) = difference(&search, &expected, &answer) {
            drop(answers);
            let smallest = smallest_that_differs(history, search, &difference).await;
            panic!("\nSEARCH_SEED={seed}\n{smallest}");
        }
    }
    assert!(
        matched > cases / 4,
        "only {matched} of {cases} searches find anything: they prove little (seed {seed})"
    );
}

/// What must be found.
struct Expected {
    /// In order.
    ids: Vec<String>,
    /// Types and ids.
    included: BTreeSet<(String, String)>,
}

/// A server with resources, and the same resources for the naive reading.
struct World {
    bench: Bench,
    naive: Naive,
    /// The ids of each type, newest first: the order of what nothing else orders.
    order: HashMap<&'static str, Vec<String>>,
}

impl World {
    /// The world in which these changes happened, or why the server refused one.
    async fn after(history: &[Change]) -> Result<World, String> {
        let bench = bench().await;
        for changes in batches(history) {
            bench.clock.advance(SignedDuration::from_mins(7));
            let ops = changes.iter().map(op).collect();
            commit(&bench.server, &Caller::sandbox(), ops)
                .await
                .map_err(|error| error.error.to_json().to_string())?;
        }
        // What is searched are the resources as the server gives them back, with what it added.
        let (mut stored, mut order) = (Vec::new(), HashMap::new());
        for resource_type in types_in(history) {
            let all = page(&bench.server, &format!("{resource_type}?_count=1000")).await?;
            let resources: Vec<Value> = all["entry"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|entry| entry["resource"].clone())
                .collect();
            order.insert(resource_type, resources.iter().map(id_of).collect());
            stored.extend(resources);
        }
        let found: BTreeSet<(String, String)> = stored
            .iter()
            .map(|it| (text(it, "resourceType"), text(it, "id")))
            .collect();
        assert_eq!(
            found,
            alive_after(history),
            "what was stored is there and what was deleted is not"
        );
        let naive = Naive::new(stored, bench.server.clock.now());
        Ok(World { bench, naive, order })
    }

    fn expected(&self, search: &Search) -> Expected {
        let ids = self.expected_ids(search);
        Expected {
            included: self.naive.included(search, &ids),
            ids,
        }
    }

    fn expected_ids(&self, search: &Search) -> Vec<String> {
        let matches: BTreeSet<String> = self.naive.search(search).into_iter().collect();
        let mut ids: Vec<String> = self
            .order
            .get(search.resource_type)
            .into_iter()
            .flatten()
            .filter(|id| matches.contains(*id))
            .cloned()
            .collect();
        let Some(first) = search.sort.first() else { return ids };
        // Among equals, the direction of the first key tells whether the older or the newer come first.
        if !first.descending {
            ids.reverse();
        }
        let mut keyed: Vec<_> = ids
            .into_iter()
            .map(|id| (self.naive.sort_values(search, &id), id))
            .collect();
        keyed.sort_by(|(a, _), (b, _)| {
            let by_key = search
                .sort
                .iter()
                .zip(a.iter().zip(b))
                .map(|(key, (a, b))| match (a, b) {
                    (Some(a), Some(b)) if key.descending => b.cmp(a),
                    (Some(a), Some(b)) => a.cmp(b),
                    // What has no value comes last in either direction.
                    (a, b) => b.is_some().cmp(&a.is_some()),
                });
            by_key.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
        });
        keyed.into_iter().map(|(_, id)| id).collect()
    }
}

fn text(resource: &Value, name: &str) -> String {
    resource[name].as_str().unwrap().to_owned()
}

fn id_of(resource: &Value) -> String {
    text(resource, "id")
}

/// The history in commits of some changes each, none of which concerns a resource twice.
fn batches(history: &[Change]) -> Vec<Vec<&Change>> {
    let mut batches: Vec<Vec<&Change>> = vec![Vec::new()];
    for change in history {
        let last = batches.last_mut().unwrap();
        if last.len() == 40 || last.iter().any(|other| other.concerns() == change.concerns()) {
            batches.push(vec![change]);
        } else {
            last.push(change);
        }
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

fn op(change: &&Change) -> Op {
    let (resource_type, id) = change.concerns();
    let target = Target::Instance { resource_type, id };
    let write = match change {
        Change::Put(resource) => commit::Write::Update {
            target,
            resource: resource.clone(),
            if_match: None,
            if_none_match_any: false,
        },
        Change::Delete { .. } => commit::Write::Delete { target, if_match: None },
    };
    Op { write, full_url: None }
}

fn types_in(history: &[Change]) -> BTreeSet<&'static str> {
    let definitions = Definitions::r4();
    history
        .iter()
        .map(|change| definitions.resource_type(&change.concerns().0).unwrap().name.as_str())
        .collect()
}

/// Types and ids of what is there in the end.
fn alive_after(history: &[Change]) -> BTreeSet<(String, String)> {
    let mut alive = BTreeSet::new();
    for change in history {
        match change {
            Change::Put(_) => alive.insert(change.concerns()),
            Change::Delete { .. } => alive.remove(&change.concerns()),
        };
    }
    alive
}

/// All pages of a search, joined.
#[derive(Default)]
struct Answer {
    ids: Vec<String>,
    included: BTreeSet<(String, String)>,
    /// As the first page tells it.
    total: Option<u64>,
}

async fn ask(server: Arc<FhirServer>, query: String) -> Result<Answer, String> {
    let mut answer = Answer::default();
    let mut next = Some(query);
    while let Some(query) = next {
        let bundle = page(&server, &query).await?;
        answer.total = answer.total.or(bundle["total"].as_u64());
        for entry in bundle["entry"].as_array().into_iter().flatten() {
            let resource = &entry["resource"];
            match text(&entry["search"], "mode").as_str() {
                "match" => answer.ids.push(id_of(resource)),
                "include" => {
                    _ = answer
                        .included
                        .insert((text(resource, "resourceType"), id_of(resource)))
                }
                other => return Err(format!("a strict search that works needs no {other}: {resource}")),
            }
        }
        let next_link = bundle["link"]
            .as_array()
            .unwrap()
            .iter()
            .find(|link| link["relation"] == "next");
        next = next_link.map(|link| {
            text(link, "url")
                .trim_start_matches(BASE)
                .trim_start_matches('/')
                .to_owned()
        });
    }
    Ok(answer)
}

async fn page(server: &FhirServer, query: &str) -> Result<Value, String> {
    let answer = async {
        let (resource_type, query) = query.split_once('?').unwrap_or((query, ""));
        let asked = search::parse(server, resource_type, &Query::parse(query)?.0, Handling::Strict)?;
        let page = search::search(server, &Caller::sandbox(), &asked).await?;
        search::page_bundle(server, &asked, &page, &Projection::Whole)
    };
    let bundle = answer.await.map_err(|error| error.to_json().to_string())?;
    Ok(serde_json::from_str(&bundle).expect("a Bundle is JSON"))
}

/// What is wrong with an answer: a sentence, and the ids that it concerns.
struct Difference {
    sentence: String,
    ids: BTreeSet<String>,
}

fn difference(search: &Search, expected: &Expected, answer: &Result<Answer, String>) -> Option<Difference> {
    let difference = |sentence, ids| Some(Difference { sentence, ids });
    let answer = match answer {
        Ok(answer) => answer,
        Err(refusal) => return difference(format!("it was refused: {refusal}"), BTreeSet::new()),
    };
    if answer.ids != expected.ids {
        let [must, does] = [&expected.ids, &answer.ids].map(|ids| ids.iter().cloned().collect::<BTreeSet<_>>());
        let mut ids: BTreeSet<String> = must.symmetric_difference(&does).cloned().collect();
        if ids.is_empty() {
            ids = must;
        }
        return difference(
            format!("it finds {:?}, but must find {:?}", answer.ids, expected.ids),
            ids,
        );
    }
    if answer.included != expected.included {
        let sentence = format!(
            "it includes {:?}, but must include {:?}",
            answer.included, expected.included
        );
        return difference(sentence, BTreeSet::new());
    }
    let total = u64::try_from(expected.ids.len()).unwrap();
    match answer.total {
        None if search.accurate_total => difference("it tells no total".to_owned(), BTreeSet::new()),
        Some(told) if told != total => difference(format!("it tells of {told}, but {total} match"), BTreeSet::new()),
        _ => None,
    }
}
