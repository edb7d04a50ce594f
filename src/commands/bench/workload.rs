//! The operations on a FHIR server that are measured.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use super::driver::{Bounds, Measure, drive};
use super::processes::Processes;
use super::records::{self, BUNDLE, chance, code};

/// Patients that the single observations belong to.
const PATIENTS: u64 = 200;

/// Requests of a search are this many at most: their answers are alike.
const SEARCHES: u64 = 20_000;

/// A server and what has been stored in it.
pub struct Workload {
    http: Http,
    bounds: Bounds,
    processes: Processes,
    /// Type and id of the resources that were created one by one.
    created: Arc<Vec<(String, String)>>,
    patients: Arc<Vec<String>>,
    stored: u64,
    /// Numbers of the Bundles that were sent: each one is sent once.
    bundles: Arc<AtomicU64>,
}

#[derive(Clone)]
struct Http {
    client: Client,
    base: Arc<str>,
}

impl Http {
    async fn send(&self, method: Method, path: &str, body: Option<String>) -> Result<String> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.header("content-type", "application/fhir+json").body(body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{status}: {}", text.chars().take(500).collect::<String>());
        }
        Ok(text)
    }

    /// Creates a resource and returns its id.
    async fn create(&self, resource: &Value) -> Result<String> {
        let kind = resource["resourceType"].as_str().unwrap_or_default();
        let answer = self
            .send(Method::POST, &format!("/{kind}"), Some(resource.to_string()))
            .await?;
        let answer: Value = serde_json::from_str(&answer)?;
        Ok(answer["id"]
            .as_str()
            .context("the server does not return what it created")?
            .to_owned())
    }
}

impl Workload {
    pub fn new(base: &str, bounds: Bounds, processes: Processes) -> Result<Workload> {
        let client = Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(bounds.concurrency)
            .build()?;
        let http = Http {
            client,
            base: base.into(),
        };
        Ok(Workload {
            http,
            bounds,
            processes,
            created: Arc::default(),
            patients: Arc::default(),
            stored: 0,
            bundles: Arc::default(),
        })
    }

    /// `POST /Observation`, after some patients.
    pub async fn create(&mut self) -> Result<Measure> {
        let mut patients = Vec::new();
        for number in 0..PATIENTS {
            patients.push(self.http.create(&records::patient(number)).await?);
        }
        self.patients = Arc::new(patients);
        let created = Arc::new(Mutex::new(Vec::new()));
        let (http, patients, list) = (self.http.clone(), self.patients.clone(), created.clone());
        let measure = drive("create", self.bounds, self.processes, move |number| {
            let (http, patients, list) = (http.clone(), patients.clone(), list.clone());
            async move {
                let subject = format!("Patient/{}", patients[number as usize % patients.len()]);
                let id = http.create(&records::observation(number, &subject, None)).await?;
                let mut list = list.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                list.push(("Observation".to_owned(), id));
                Ok(())
            }
        })
        .await?;
        self.created = Arc::new(std::mem::take(
            &mut *created.lock().unwrap_or_else(|poisoned| poisoned.into_inner()),
        ));
        self.stored += PATIENTS + measure.operations;
        Ok(measure)
    }

    /// `GET /Observation/{id}`.
    pub async fn read(&self) -> Result<Measure> {
        let (http, created) = (self.http.clone(), self.created.clone());
        drive("read", self.bounds, self.processes, move |number| {
            let (http, created) = (http.clone(), created.clone());
            async move {
                let place = chance(number, 20) * created.len() as f64;
                let (kind, id) = &created[place as usize];
                http.send(Method::GET, &format!("/{kind}/{id}"), None).await?;
                Ok(())
            }
        })
        .await
    }

    /// `PUT /Observation/{id}` with another status and value, each resource at most once.
    pub async fn update(&self) -> Result<Measure> {
        let (http, created, patients) = (self.http.clone(), self.created.clone(), self.patients.clone());
        let bounds = Bounds {
            operations: self.bounds.operations.min(created.len() as u64),
            ..self.bounds
        };
        drive("update", bounds, self.processes, move |number| {
            let (http, created, patients) = (http.clone(), created.clone(), patients.clone());
            async move {
                let (kind, id) = &created[number as usize];
                let subject = format!("Patient/{}", patients[number as usize % patients.len()]);
                let mut resource = records::observation(number, &subject, None);
                resource["id"] = id.as_str().into();
                resource["status"] = "corrected".into();
                http.send(Method::PUT, &format!("/{kind}/{id}"), Some(resource.to_string()))
                    .await?;
                Ok(())
            }
        })
        .await
    }

    /// Transactions of a hundred creates that refer to each other.
    pub async fn import(&mut self) -> Result<Measure> {
        let measure = self.import_within(self.bounds).await?;
        self.stored += measure.operations * BUNDLE;
        Ok(measure.per("import, per resource", BUNDLE))
    }

    async fn import_within(&self, bounds: Bounds) -> Result<Measure> {
        let (http, bundles) = (self.http.clone(), self.bundles.clone());
        drive("import", bounds, self.processes, move |_| {
            let (http, number) = (http.clone(), bundles.fetch_add(1, Ordering::Relaxed));
            async move {
                http.send(Method::POST, "", Some(records::bundle(number).to_string()))
                    .await?;
                Ok(())
            }
        })
        .await
    }

    /// Imports until `resources` are stored.
    pub async fn grow(&mut self, resources: u64) -> Result<()> {
        let missing = resources.saturating_sub(self.stored).div_ceil(BUNDLE);
        if missing > 0 {
            let bounds = Bounds {
                operations: missing,
                time: std::time::Duration::MAX,
                ..self.bounds
            };
            self.stored += self.import_within(bounds).await?.operations * BUNDLE;
        }
        Ok(())
    }

    /// How many resources were stored.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Type and id of what was created one by one.
    pub fn ids(&self) -> Arc<Vec<(String, String)>> {
        self.created.clone()
    }

    /// A resource as the server sends it.
    pub async fn example(&self) -> Result<String> {
        let (kind, id) = self.created.first().context("nothing was created")?;
        self.http.send(Method::GET, &format!("/{kind}/{id}"), None).await
    }

    /// Every kind of search, one after the other, and a page deep in a long answer.
    pub async fn searches(&self) -> Result<Vec<Measure>> {
        let loinc = |place| format!("http://loinc.org|{}", code(place));
        let patients = self.patients.clone();
        let patient = move |number: u64| patients[number as usize % patients.len()].clone();
        let day = |number: u64| format!("20{}-0{}-1{}", 10 + number % 16, 1 + number % 9, number % 9);
        let somebody = patient.clone();
        let mut measures = vec![
            self.search("search: rare code", move |n| {
                format!("/Observation?code={}", loinc(1200 + n as u32 % 700))
            })
            .await?,
            self.search("search: frequent code", move |n| {
                format!("/Observation?code={}", loinc(n as u32 % 3))
            })
            .await?,
            self.search("search: status", |_| "/Observation?status=final".to_owned())
                .await?,
            self.search("search: code and category", move |n| {
                format!("/Observation?code={}&category=vital-signs", loinc(n as u32 % 9))
            })
            .await?,
            self.search("search: code and rare status", move |n| {
                format!("/Observation?code={}&status=amended", loinc(n as u32 % 90))
            })
            .await?,
            self.search("search: one of four codes", move |n| {
                let codes: Vec<_> = (0..4).map(|more| loinc(n as u32 % 50 + 3 * more)).collect();
                format!("/Observation?code={}", codes.join(","))
            })
            .await?,
            self.search("search: patient", move |n| {
                format!("/Observation?patient={}", patient(n))
            })
            .await?,
            self.search("search: patient and date", {
                let patient = somebody.clone();
                move |n| format!("/Observation?patient={}&date=ge{}", patient(n), day(n))
            })
            .await?,
            self.search("search: patient, newest first", {
                let patient = somebody.clone();
                move |n| format!("/Observation?patient={}&_sort=-date", patient(n))
            })
            .await?,
            self.search("search: name", |n| {
                format!("/Patient?name={}", ["smi", "garc", "nguy", "oka"][n as usize % 4])
            })
            .await?,
            self.search("search: name:contains", |n| {
                format!("/Patient?name:contains={}", ["mith", "owals", "anak"][n as usize % 3])
            })
            .await?,
            self.search("search: day", move |n| format!("/Encounter?date={}", day(n)))
                .await?,
            self.search("search: since", move |n| format!("/Observation?date=ge{}", day(n)))
                .await?,
            self.search("search: value of a code", move |n| {
                format!("/Observation?code={}&value-quantity=gt290", loinc(n as u32 % 9))
            })
            .await?,
            self.search("search: encounter:missing", |_| {
                "/Observation?encounter:missing=true".to_owned()
            })
            .await?,
            self.search("search: patient's name (chain)", |n| {
                format!("/Observation?patient.identifier=P{}", n % PATIENTS)
            })
            .await?,
            self.search("search: with its patient", move |n| {
                format!(
                    "/Observation?code={}&_include=Observation:patient",
                    loinc(n as u32 % 90)
                )
            })
            .await?,
        ];
        for (name, after) in [("search: second page", 1), ("search: page 500", 499)] {
            if let Some(path) = self.page("/Observation?status=final", after).await? {
                measures.push(self.search(name, move |_| path.clone()).await?);
            }
        }
        Ok(measures)
    }

    async fn search(&self, name: &str, path: impl Fn(u64) -> String + Send + Sync + 'static) -> Result<Measure> {
        let http = self.http.clone();
        let bounds = Bounds {
            operations: self.bounds.operations.min(SEARCHES),
            ..self.bounds
        };
        drive(name, bounds, self.processes, move |number| {
            let (http, path) = (http.clone(), path(number));
            async move {
                http.send(Method::GET, &path, None).await?;
                Ok(())
            }
        })
        .await
    }

    /// The address of the page that `links` next links lead to; `None` when there are not as many pages.
    async fn page(&self, first: &str, links: u32) -> Result<Option<String>> {
        let mut path = first.to_owned();
        for _ in 0..links {
            let page: Value = serde_json::from_str(&self.http.send(Method::GET, &path, None).await?)?;
            let next = page["link"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|link| link["relation"] == "next");
            let Some(url) = next.and_then(|link| link["url"].as_str()) else {
                return Ok(None);
            };
            let own = url
                .strip_prefix(&*self.http.base)
                .context("the next link leads to another server")?;
            path = own.to_owned();
        }
        Ok(Some(path))
    }
}

/// Fetches one address again and again.
pub async fn fetch(name: &str, url: String, bounds: Bounds, processes: Processes) -> Result<Measure> {
    let client = Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(bounds.concurrency)
        .build()?;
    drive(name, bounds, processes, move |_| {
        let request = client.get(&url);
        async move {
            let response = request.send().await?;
            if response.status() != StatusCode::OK {
                bail!("{}", response.status());
            }
            response.bytes().await?;
            Ok(())
        }
    })
    .await
}
