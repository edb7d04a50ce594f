//! A small example of what a random one found.

use std::fmt::Write;

use serde_json::Value;

use super::resources::{BASE, Change};
use super::searches::{Asked, Criterion, Search, SortKey};
use super::{Difference, World, ask, difference};

/// Takes away what the difference does not need: changes, then parts of the search, then elements of the resources.
pub async fn smallest_that_differs(history: Vec<Change>, search: Search, first: &Difference) -> String {
    let differs = async |history: &[Change], search: &Search| {
        let world = World::after(history).await.ok()?;
        let answer = ask(world.bench.server.clone(), search.to_string()).await;
        difference(search, &world.expected(search), &answer)
    };
    let of_difference: Vec<Change> = history
        .iter()
        .filter(|change| first.ids.contains(&change.concerns().1))
        .cloned()
        .collect();
    let start = if differs(&of_difference, &search).await.is_some() {
        of_difference
    } else {
        history
    };
    let history = smallest(start, async |history| differs(history, &search).await.is_some()).await;

    let with_criteria = |criteria: &[Criterion]| Search {
        criteria: criteria.to_vec(),
        ..search.clone()
    };
    let criteria = search.criteria.clone();
    let criteria = smallest(criteria, async |criteria| {
        differs(&history, &with_criteria(criteria)).await.is_some()
    })
    .await;
    let search = with_criteria(&criteria);
    let mut search = search;
    for n in 0..search.criteria.len() {
        let with_values = |values: &[Asked]| {
            let mut changed = search.clone();
            *changed.criteria[n].values_mut() = values.to_vec();
            changed
        };
        let values = search.clone().criteria[n].values_mut().clone();
        let values = smallest(values, async |values| {
            !values.is_empty() && differs(&history, &with_values(values)).await.is_some()
        });
        search = with_values(&values.await);
    }
    let with_sort = |sort: &[SortKey]| Search {
        sort: sort.to_vec(),
        ..search.clone()
    };
    let sort = smallest(search.sort.clone(), async |sort| {
        differs(&history, &with_sort(sort)).await.is_some()
    })
    .await;
    let search = with_sort(&sort);

    let mut history = history;
    for n in 0..history.len().min(4) {
        let Change::Put(Value::Object(resource)) = &history[n] else {
            continue;
        };
        let with_elements = |elements: &[(String, Value)]| {
            let mut changed = history.clone();
            changed[n] = Change::Put(Value::Object(elements.iter().cloned().collect()));
            changed
        };
        let elements: Vec<(String, Value)> = resource.clone().into_iter().collect();
        let (named, elements) = elements.split_at(2); // resourceType and id
        let whole = |elements: &[(String, Value)]| with_elements(&[named, elements].concat());
        let elements = smallest(elements.to_vec(), async |some| {
            differs(&whole(some), &search).await.is_some()
        })
        .await;
        history = whole(&elements);
    }

    let last = differs(&history, &search)
        .await
        .map_or_else(|| first.sentence.clone(), |last| last.sentence);
    let mut report = format!("GET {BASE}/{search}\n{last}\nafter:\n");
    for change in &history {
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
