//! A small example of what a random one found.

use std::fmt::Write;

use serde_json::Value;

use super::resources::{BASE, Change};
use super::searches::{Criterion, Search};
use super::{Difference, World, ask, difference};

/// Takes away what the difference does not need: changes, then parts of the search, then elements of the resources.
pub async fn smallest_that_differs(history: Vec<Change>, search: Search, first: &Difference) -> String {
    // Often a resource that is found wrongly suffices.
    let concerned = history.iter().filter(|change| first.ids.contains(&change.concerns().1));
    let concerned: Vec<Change> = concerned.cloned().collect();
    let start = if how_they_differ(&concerned, &search).await.is_some() {
        concerned
    } else {
        history
    };
    let mut history = smallest(start, async |history| how_they_differ(history, &search).await.is_some()).await;

    let differs = async |search: &Search| how_they_differ(&history, search).await.is_some();
    let search = smaller(search, |search| &mut search.criteria, &differs).await;
    let search = smaller(search, |search| &mut search.sort, &differs).await;
    let mut search = smaller(search, |search| &mut search.includes, &differs).await;
    for n in 0..search.criteria.len() {
        if search.criteria[n].values_mut().is_some() {
            search = smaller(search, |search| search.criteria[n].values_mut().unwrap(), &differs).await;
        }
    }

    for n in 0..history.len().min(4) {
        let Change::Put(Value::Object(resource)) = &history[n] else {
            continue;
        };
        let elements: Vec<(String, Value)> = resource.clone().into_iter().collect();
        let (named, elements) = elements.split_at(2); // resourceType and id
        let with = |elements: &[(String, Value)]| {
            let mut changed = history.clone();
            changed[n] = Change::Put(Value::Object([named, elements].concat().into_iter().collect()));
            changed
        };
        let differs = async |elements: &[_]| how_they_differ(&with(elements), &search).await.is_some();
        history = with(&smallest(elements.to_vec(), differs).await);
    }
    let last = how_they_differ(&history, &search).await;
    report(
        &history,
        &search,
        &last.map_or_else(|| first.sentence.clone(), |last| last.sentence),
    )
}

async fn how_they_differ(history: &[Change], search: &Search) -> Option<Difference> {
    // A criterion without values is refused, which would be another difference.
    let is_empty = |criterion: &Criterion| criterion.clone().values_mut().is_some_and(|values| values.is_empty());
    if search.criteria.iter().any(is_empty) {
        return None;
    }
    // What the server refuses to store is no example.
    let world = World::after(history).await.ok()?;
    let answer = ask(world.bench.server.clone(), search.to_string()).await;
    difference(search, &world.expected(search), &answer)
}

/// The search with as little as possible in one of its lists.
async fn smaller<T: Clone>(
    search: Search,
    list: impl Fn(&mut Search) -> &mut Vec<T>,
    differs: impl AsyncFn(&Search) -> bool,
) -> Search {
    let with = |items: &[T]| {
        let mut changed = search.clone();
        *list(&mut changed) = items.to_vec();
        changed
    };
    let items = list(&mut search.clone()).clone();
    with(&smallest(items, async |items| differs(&with(items)).await).await)
}

fn report(history: &[Change], search: &Search, sentence: &str) -> String {
    let mut report = format!("GET {BASE}/{search}\n{sentence}\nafter:\n");
    for change in history {
        let _ = match change {
            Change::Put(resource) => writeln!(report, "PUT {resource}"),
            Change::Delete { resource_type, id } => writeln!(report, "DELETE {resource_type}/{id}"),
        };
    }
    report
}

/// A part of `items` that still fails although it would not with any one less: halves are tried first, then quarters, …
async fn smallest<T: Clone>(mut items: Vec<T>, fails: impl AsyncFn(&[T]) -> bool) -> Vec<T> {
    let mut size = items.len().div_ceil(2);
    while size > 0 && !items.is_empty() {
        let mut start = 0;
        while start < items.len() {
            let end = (start + size).min(items.len());
            let rest = [&items[..start], &items[end..]].concat();
            if fails(&rest).await {
                items = rest;
            } else {
                start = end;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    items
}
