//! The operations on a FHIR server that are measured.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Client, ClientBuilder, Method, StatusCode};
use serde_json::Value;

use super::driver::{Bounds, Measure, drive};
use super::processes::Processes;
use super::records::{self, BUNDLE, chance};
use super::searches::{self, SearchMeasure};

/// Patients that the single observations belong to.
const PATIENTS: u64 = 200;

/// The number of the first record that is not part of a transaction.
const APART: u64 = 1_000_000_000;

/// Observations that are stored before anything is measured, of these patients and at no encounter.
const OBSERVATIONS: u64 = 2_000;

/// Further index rows of the resources that show what a row costs.
const MORE_ROWS: usize = 24;

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

/// Where a server is, and the connections to it.
#[derive(Clone)]
pub struct Http {
    client: Client,
    base: Arc<str>,
}

impl Http {
    /// For as many clients at one time, each with this access token if there is one.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(base: &str, concurrency: usize, token: Option<&str>) -> Result<Http> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, format!("Bearer {token}").parse()?);
        }
        Ok(Http {
            client: client(concurrency).default_headers(headers).build()?,
            base: base.into(),
        })
    }

    /// The answer to a request, which must succeed.
    ///
    /// # Errors
    /// When it does not: with the status and the beginning of the answer.
    pub async fn send(&self, method: Method, path: &str, body: Option<String>) -> Result<String> {
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

    /// The address that paths are appended to.
    pub fn base(&self) -> &str {
        &self.base
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
        Ok(Workload {
            http: Http::new(base, bounds.concurrency, None)?,
            bounds,
            processes,
            created: Arc::default(),
            patients: Arc::default(),
            stored: 0,
            bundles: Arc::default(),
        })
    }

    /// Stores the organisations, some patients, and observations that belong to no encounter.
    pub async fn prepare(&mut self) -> Result<()> {
        let organizations = records::organizations();
        self.http
            .send(Method::POST, "", Some(organizations.to_string()))
            .await?;
        let mut patients = Vec::new();
        for number in 0..PATIENTS {
            // Other numbers than the imported ones have.
            patients.push(self.http.create(&records::patient(APART + number)).await?);
        }
        self.patients = Arc::new(patients);
        let bounds = Bounds {
            operations: OBSERVATIONS,
            time: Duration::MAX,
            ..self.bounds
        };
        let few = self.create_within("create", bounds, 0).await?;
        self.stored += records::HOUSES + records::WARDS + PATIENTS + few.operations;
        Ok(())
    }

    /// `POST /Observation`.
    pub async fn create(&mut self) -> Result<Measure> {
        let measure = self.create_within("create", self.bounds, 0).await?;
        self.stored += measure.operations;
        Ok(measure)
    }

    /// The same of observations with more index rows, and how many more.
    pub async fn create_with_more_rows(&mut self) -> Result<(Measure, usize)> {
        let name = format!("create, {MORE_ROWS} more index rows");
        let measure = self.create_within(&name, self.bounds, MORE_ROWS).await?;
        self.stored += measure.operations;
        Ok((measure, MORE_ROWS))
    }

    async fn create_within(&mut self, name: &str, bounds: Bounds, more_codes: usize) -> Result<Measure> {
        let created = Arc::new(Mutex::new(Vec::new()));
        let (http, patients, list) = (self.http.clone(), self.patients.clone(), created.clone());
        let measure = drive(name, bounds, self.processes, move |number| {
            let (http, patients, list) = (http.clone(), patients.clone(), list.clone());
            async move {
                let subject = format!("Patient/{}", patients[number as usize % patients.len()]);
                let observation = records::observation(APART + number, &subject, None);
                let id = http
                    .create(&records::with_more_codes(observation, number, more_codes))
                    .await?;
                let mut list = list.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                list.push(("Observation".to_owned(), id));
                Ok(())
            }
        })
        .await?;
        if more_codes == 0 {
            self.created = Arc::new(std::mem::take(
                &mut *created.lock().unwrap_or_else(|poisoned| poisoned.into_inner()),
            ));
        }
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

    /// Imports until `resources` are stored; `None` when they are.
    pub async fn grow(&mut self, resources: u64) -> Result<Option<Measure>> {
        let missing = resources.saturating_sub(self.stored).div_ceil(BUNDLE);
        if missing == 0 {
            return Ok(None);
        }
        let bounds = Bounds {
            operations: missing,
            time: Duration::MAX,
            ..self.bounds
        };
        let measure = self.import_within(bounds).await?;
        self.stored += measure.operations * BUNDLE;
        let name = format!("import until {resources}, per resource");
        Ok(Some(measure.per(&name, BUNDLE)))
    }

    /// The searches, each for `time` at most.
    pub async fn searches(&self, time: Duration) -> Result<Vec<SearchMeasure>> {
        let bundles = self.bundles.load(Ordering::Relaxed);
        searches::measure(&self.http, self.bounds, self.processes, time, bundles).await
    }

    /// A search whose answers are compressed, for comparison.
    pub async fn compressed(&self) -> Result<Measure> {
        let url = format!("{}/Observation?status=final", self.http.base);
        fetch("search, compressed answer", url, true, self.bounds, self.processes).await
    }

    /// Whose CPU is counted.
    pub fn processes(&self) -> Processes {
        self.processes
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
}

/// Clients ask for answers as they are. What compressing one costs is measured by itself.
fn client(concurrency: usize) -> ClientBuilder {
    let builder = Client::builder().no_proxy().tcp_nodelay(true).gzip(false);
    builder.pool_max_idle_per_host(concurrency)
}

/// Fetches one address again and again, compressed if `gzip` says so.
///
/// # Errors
/// When every request failed.
pub async fn fetch(name: &str, url: String, gzip: bool, bounds: Bounds, processes: Processes) -> Result<Measure> {
    let client = client(bounds.concurrency).gzip(gzip).build()?;
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
