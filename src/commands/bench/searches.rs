//! Thirty searches, from one token to a chain of three with an include, as a clinic's programs ask them.
//!
//! Each is asked by one client, which tells how long an answer takes, and by all clients at once, which tells what it
//! costs. How many resources match and how many rows the database touched are asked of the server (`_summary=count` and
//! `_explain`), so that it can be seen what the cost follows: the answer or the store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use super::driver::{Bounds, Measure, drive};
use super::processes::Processes;
use super::records::{self, BUNDLE, code};
use super::workload::Http;

/// Requests of one search are this many at most: their answers are alike.
const REQUESTS: u64 = 20_000;

/// Variants of a search whose matches and rows are counted.
const COUNTED: u64 = 3;

/// Patients whose records are asked for, spread over all that were imported.
const PATIENTS: u64 = 100;

/// One search at one size of the store.
#[derive(Debug, Serialize)]
pub struct SearchMeasure {
    pub name: &'static str,
    /// One of the requests.
    pub example: String,
    /// Resources that match, the mean of some variants.
    pub matches: Option<f64>,
    /// Rows of tables and indexes that Postgres touched for a page, the mean of some variants.
    pub rows_touched: Option<f64>,
    /// By one client.
    pub alone: Measure,
    /// By all clients at once.
    pub together: Measure,
}

/// What is stored, as far as searches need to know it.
struct World {
    /// Ids of patients.
    patients: Vec<String>,
    /// How many transactions were imported.
    bundles: u64,
}

/// The path of the search with that number; numbers stand for other values of the same kind.
type Path = Box<dyn Fn(&World, u64) -> String + Send + Sync>;

fn path(path: impl Fn(&World, u64) -> String + Send + Sync + 'static) -> Path {
    Box::new(path)
}

fn loinc(place: u64) -> String {
    format!("http://loinc.org|{}", code(place as u32))
}

fn day(number: u64) -> String {
    format!("20{}-0{}-1{}", 10 + number % 16, 1 + number % 9, number % 9)
}

impl World {
    fn patient(&self, number: u64) -> &str {
        &self.patients[number as usize % self.patients.len()]
    }

    /// The number in a patient's identifier.
    fn patient_number(&self, number: u64) -> u64 {
        number * 7919 % self.bundles * BUNDLE
    }
}

/// The searches by name.
fn all() -> Vec<(&'static str, Path)> {
    vec![
        ("all of a type", path(|_, _| "/Observation".to_owned())),
        (
            "rare code",
            path(|_, n| format!("/Observation?code={}", loinc(1200 + n % 700))),
        ),
        (
            "frequent code",
            path(|_, n| format!("/Observation?code={}", loinc(n % 3))),
        ),
        (
            "status that most have",
            path(|_, _| "/Observation?status=final".to_owned()),
        ),
        (
            "one of four codes",
            path(|_, n| {
                let codes: Vec<_> = (0..4).map(|more| loinc(n % 50 + 3 * more)).collect();
                format!("/Observation?code={}", codes.join(","))
            }),
        ),
        (
            "code and category",
            path(|_, n| format!("/Observation?code={}&category=vital-signs", loinc(n % 9))),
        ),
        (
            "code and rare status",
            path(|_, n| format!("/Observation?code={}&status=amended", loinc(n % 90))),
        ),
        ("status:not", path(|_, _| "/Observation?status:not=final".to_owned())),
        (
            "code:text",
            path(|_, n| {
                format!(
                    "/Observation?code:text=something%20measured,%20{}",
                    code(n as u32 % 900)
                )
            }),
        ),
        (
            "identifier",
            path(|world, n| {
                format!(
                    "/Patient?identifier=https://clinic.example/patients|P{}",
                    world.patient_number(n)
                )
            }),
        ),
        (
            "patient",
            path(|world, n| format!("/Observation?patient={}", world.patient(n))),
        ),
        (
            "patient and code",
            path(|world, n| format!("/Observation?patient={}&code={}", world.patient(n), loinc(n % 3))),
        ),
        (
            "patient and date",
            path(|world, n| format!("/Observation?patient={}&date=ge{}", world.patient(n), day(n))),
        ),
        (
            "patient, newest date first",
            path(|world, n| format!("/Observation?patient={}&_sort=-date", world.patient(n))),
        ),
        (
            "name",
            path(|_, n| format!("/Patient?name={}", ["smi", "garc", "nguy", "oka"][n as usize % 4])),
        ),
        (
            "name:contains",
            path(|_, n| format!("/Patient?name:contains={}", ["mith", "owals", "anak"][n as usize % 3])),
        ),
        (
            "family:exact",
            path(|_, n| format!("/Patient?family:exact=Smith{}", n % 900)),
        ),
        ("day", path(|_, n| format!("/Encounter?date={}", day(n)))),
        ("since", path(|_, n| format!("/Observation?date=ge{}", day(n)))),
        (
            "value of a code",
            path(|_, n| format!("/Observation?code={}&value-quantity=gt290", loinc(n % 9))),
        ),
        (
            "code and value (composite)",
            path(|_, n| format!("/Observation?code-value-quantity={}$gt290", loinc(n % 9))),
        ),
        (
            "encounter:missing",
            path(|_, _| "/Observation?encounter:missing=true".to_owned()),
        ),
        ("changed last", path(|_, _| "/Condition?_sort=-_lastUpdated".to_owned())),
        (
            "filter",
            path(|world, n| {
                format!(
                    "/Observation?_filter=patient%20eq%20Patient/{}%20and%20(code%20eq%20{}%20or%20date%20ge%20{})",
                    world.patient(n),
                    code(n as u32 % 3),
                    day(n)
                )
            }),
        ),
        (
            "chain: patient's identifier",
            path(|world, n| {
                format!(
                    "/Observation?patient.identifier=https://clinic.example/patients|P{}",
                    world.patient_number(n)
                )
            }),
        ),
        (
            "chain of two: ward's name",
            path(|_, n| {
                format!(
                    "/Observation?patient.organization.name=ward%20{}%20of",
                    n % records::WARDS
                )
            }),
        ),
        (
            "reverse chain: patients by code",
            path(|_, n| format!("/Patient?_has:Observation:patient:code={}", loinc(1200 + n % 700))),
        ),
        (
            "with its patient",
            path(|_, n| format!("/Observation?code={}&_include=Observation:patient", loinc(n % 90))),
        ),
        (
            "with what refers to it",
            path(|_, n| format!("/Encounter?date={}&_revinclude=Observation:encounter", day(n))),
        ),
        (
            "chain of three with include",
            path(|_, n| {
                format!(
                    "/Observation?patient.organization.partof.name=house%20{}%20hospital&_include=Observation:patient",
                    n % records::HOUSES
                )
            }),
        ),
    ]
}

/// Measures all of them, each for `time` at most, on a server into which so many `bundles` were imported.
///
/// # Errors
/// When a search fails.
pub async fn measure(
    http: &Http,
    bounds: Bounds,
    processes: Processes,
    time: Duration,
    bundles: u64,
) -> Result<Vec<SearchMeasure>> {
    let world = Arc::new(World {
        patients: patients(http, bundles).await?,
        bundles,
    });
    let mut measures = Vec::new();
    for (name, path) in all() {
        measures.push(one(http, bounds, processes, time, &world, name, path.into()).await?);
    }
    // A page that is far from the first, of the same search.
    if let Some(deep) = page(http, "/Observation?status=final", 100).await? {
        let path: Path = path(move |_, _| deep.clone());
        measures.push(
            one(
                http,
                bounds,
                processes,
                time,
                &world,
                "page 100 of a status",
                path.into(),
            )
            .await?,
        );
    }
    Ok(measures)
}

async fn one(
    http: &Http,
    bounds: Bounds,
    processes: Processes,
    time: Duration,
    world: &Arc<World>,
    name: &'static str,
    path: Arc<Path>,
) -> Result<SearchMeasure> {
    let run = async |concurrency| {
        let bounds = Bounds {
            concurrency,
            time,
            operations: REQUESTS,
        };
        let (http, world, path) = (http.clone(), world.clone(), path.clone());
        drive(name, bounds, processes, move |number| {
            let (http, path) = (http.clone(), path(&world, number));
            async move {
                http.send(Method::GET, &path, None).await?;
                Ok(())
            }
        })
        .await
    };
    let example = path(world, 0);
    let together = run(bounds.concurrency).await?;
    let alone = run(1).await?;
    Ok(SearchMeasure {
        name,
        matches: mean(http, world, &path, "_summary=count", total).await?,
        rows_touched: mean(http, world, &path, "_explain=true", rows_touched).await?,
        example,
        alone,
        together,
    })
}

/// What `read` finds in the answers to some variants of a search with one more parameter; `None` when a server does not
/// tell.
async fn mean(
    http: &Http,
    world: &World,
    path: &Path,
    parameter: &str,
    read: impl Fn(&Value) -> Option<f64>,
) -> Result<Option<f64>> {
    let mut sum = 0.0;
    for number in 0..COUNTED {
        let path = path(world, number);
        let separator = if path.contains('?') { '&' } else { '?' };
        let answer = http
            .send(Method::GET, &format!("{path}{separator}{parameter}"), None)
            .await?;
        match read(&serde_json::from_str(&answer)?) {
            Some(number) => sum += number,
            None => return Ok(None),
        }
    }
    Ok(Some(sum / COUNTED as f64))
}

fn total(bundle: &Value) -> Option<f64> {
    bundle["total"].as_f64()
}

/// The sum over the statements of a page, which `_explain` tells in a Parameters resource.
fn rows_touched(bundle: &Value) -> Option<f64> {
    let entries = bundle["entry"].as_array()?;
    let explained = entries
        .iter()
        .map(|entry| &entry["resource"])
        .find(|resource| resource["resourceType"] == "Parameters")?;
    let parts = explained["parameter"]
        .as_array()?
        .iter()
        .filter_map(|statement| statement["part"].as_array());
    let rows = parts.flatten().filter(|part| part["name"] == "rowsTouched");
    Some(rows.filter_map(|part| part["valueDecimal"].as_f64()).sum())
}

/// Ids of patients from the first transaction to the last.
async fn patients(http: &Http, bundles: u64) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for number in 0..PATIENTS.min(bundles) {
        let identifier = number * bundles / PATIENTS.min(bundles) * BUNDLE;
        let found = http
            .send(Method::GET, &format!("/Patient?identifier=P{identifier}"), None)
            .await?;
        let found: Value = serde_json::from_str(&found)?;
        let id = found["entry"][0]["resource"]["id"].as_str();
        ids.push(id.context("a patient that was imported is not found")?.to_owned());
    }
    Ok(ids)
}

/// The address of the page that `links` next links lead to; `None` when there are not as many pages.
async fn page(http: &Http, first: &str, links: u32) -> Result<Option<String>> {
    let mut path = first.to_owned();
    for _ in 0..links {
        let page: Value = serde_json::from_str(&http.send(Method::GET, &path, None).await?)?;
        let next = page["link"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|link| link["relation"] == "next");
        let Some(url) = next.and_then(|link| link["url"].as_str()) else {
            return Ok(None);
        };
        let own = url
            .strip_prefix(http.base())
            .context("the next link leads to another server")?;
        path = own.to_owned();
    }
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn there_are_thirty_of_different_names() {
        let names: BTreeSet<_> = all().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 30);
    }

    #[test]
    fn rows_of_all_statements_are_added() {
        let statement =
            |rows: u64| json!({"part": [{"name": "purpose"}, {"name": "rowsTouched", "valueDecimal": rows}]});
        let bundle = json!({"entry": [
            {"resource": {"resourceType": "Patient"}},
            {"resource": {"resourceType": "Parameters", "parameter": [statement(40), statement(2)]}},
        ]});
        assert_eq!(rows_touched(&bundle), Some(42.0));
        assert_eq!(rows_touched(&json!({"entry": []})), None);
    }
}
