//! Who can be booked for what: Schedules with the services that they are for.
//!
//! Found by the server's own search, so that nobody finds a calendar that they may not read. What was read from their
//! JSON is kept by version.

use std::collections::HashMap;
use std::sync::Arc;

use moka::sync::Cache;
use serde_json::{Value, json};

use super::rules::{Policy, Rules};
use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::preferences::Handling;
use crate::fhir::resource::StoredResource;
use crate::fhir::search::{self, SearchPage};
use crate::fhir::server::FhirServer;

/// A calendar in which a service can be booked.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The rid of the Schedule.
    pub calendar: i64,
    /// Its id.
    pub schedule: String,
    /// The rid of the HealthcareService; 0 for none.
    pub service: i64,
    pub terms: Arc<Terms>,
}

/// What an [`Offer`] comes to.
#[derive(Debug)]
pub struct Terms {
    pub rules: Rules,
    pub policy: Policy,
    /// `Schedule.actor`: a Reference.
    pub practitioner: Value,
    /// A Reference to the HealthcareService, if it is for one.
    pub service: Option<Value>,
    /// `HealthcareService.type`, else `Schedule.serviceType`.
    pub service_type: Option<Value>,
    pub specialty: Option<Value>,
}

/// A version of a resource, by rid.
type Version = (i64, i32);

/// Reads offers. Whatever it remembers belongs to one database.
pub struct Directory {
    contents: Cache<Version, Arc<Value>>,
    terms: Cache<(Version, Option<Version>), Option<Arc<Terms>>>,
}

impl Default for Directory {
    fn default() -> Directory {
        Directory {
            contents: Cache::new(5_000),
            terms: Cache::new(10_000),
        }
    }
}

impl Directory {
    /// The offers among the active Schedules that match `criteria` (a search on Schedule), in no particular order. With
    /// `services` (ids), for these alone; otherwise each Schedule for the first active service that it names, or for none
    /// where it names none.
    ///
    /// # Errors
    /// Those of a search.
    pub async fn offers(
        &self,
        server: &FhirServer,
        caller: &Caller,
        criteria: &[(String, String)],
        services: Option<&[String]>,
    ) -> Result<Vec<Offer>, FhirError> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut pairs = criteria.to_vec();
        if let Some(services) = services {
            let references: Vec<String> = services.iter().map(|id| format!("HealthcareService/{id}")).collect();
            pairs.push(pair("actor", &references.join(",")));
        }
        pairs.push(pair("active", "true"));
        pairs.push(pair("_include", "Schedule:actor:HealthcareService"));
        let mut offers = Vec::new();
        for page in pages(server, caller, "Schedule", &pairs).await? {
            let known = page.included.iter().map(|found| (found.id.as_str(), found));
            let known: HashMap<&str, &StoredResource> = known.collect();
            for schedule in &page.matches {
                self.read(schedule, &known, services, &mut offers)?;
            }
        }
        Ok(offers)
    }

    /// The one offer of a Schedule for a service (ids).
    ///
    /// # Errors
    /// 409 when there is none any more.
    pub async fn offer(
        &self,
        server: &FhirServer,
        caller: &Caller,
        schedule: &str,
        service: Option<&str>,
    ) -> Result<Offer, FhirError> {
        let services: Option<Vec<String>> = service.map(|service| vec![service.to_owned()]);
        let criteria = [("_id".to_owned(), schedule.to_owned())];
        let mut found = self.offers(server, caller, &criteria, services.as_deref()).await?;
        found
            .pop()
            .ok_or_else(|| FhirError::conflict("This can no longer be booked. Ask Appointment/$find what can."))
    }

    fn read(
        &self,
        schedule: &StoredResource,
        known: &HashMap<&str, &StoredResource>,
        services: Option<&[String]>,
        offers: &mut Vec<Offer>,
    ) -> Result<(), FhirError> {
        let content = self.content(schedule)?;
        let actors = content["actor"].as_array().map_or(&[][..], Vec::as_slice);
        let named = actors.iter().filter_map(|actor| {
            let id = actor["reference"].as_str()?.strip_prefix("HealthcareService/")?;
            known.get(id).copied()
        });
        let named: Vec<Option<&StoredResource>> = match services {
            None => named.map(Some).collect(),
            Some(wanted) => named.filter(|service| wanted.contains(&service.id)).map(Some).collect(),
        };
        let named = match named.is_empty() && services.is_none() {
            true => vec![None],
            false => named,
        };
        for service in named {
            let key = (
                (schedule.rid, schedule.version),
                service.map(|service| (service.rid, service.version)),
            );
            let terms = match self.terms.get(&key) {
                Some(terms) => terms,
                None => {
                    let service = service.map(|service| self.content(service)).transpose()?;
                    let terms = Terms::read(&content, service.as_deref()).map(Arc::new);
                    self.terms.insert(key, terms.clone());
                    terms
                }
            };
            let Some(terms) = terms else { continue };
            offers.push(Offer {
                calendar: schedule.rid,
                schedule: schedule.id.clone(),
                service: service.map_or(0, |service| service.rid),
                terms,
            });
            if services.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn content(&self, stored: &StoredResource) -> Result<Arc<Value>, FhirError> {
        let key = (stored.rid, stored.version);
        if let Some(content) = self.contents.get(&key) {
            return Ok(content);
        }
        let content: Value =
            serde_json::from_str(&stored.json).map_err(|_| FhirError::internal("stored content is not JSON"))?;
        let content = Arc::new(content);
        self.contents.insert(key, content.clone());
        Ok(content)
    }
}

/// Ids of the resources that match.
///
/// # Errors
/// Those of a search.
pub async fn ids(
    server: &FhirServer,
    caller: &Caller,
    resource_type: &str,
    criteria: &[(String, String)],
) -> Result<Vec<String>, FhirError> {
    let pages = pages(server, caller, resource_type, criteria).await?;
    Ok(pages
        .into_iter()
        .flat_map(|page| page.matches)
        .map(|found| found.id)
        .collect())
}

/// Every page of a search.
async fn pages(
    server: &FhirServer,
    caller: &Caller,
    resource_type: &str,
    criteria: &[(String, String)],
) -> Result<Vec<SearchPage>, FhirError> {
    let mut pairs = criteria.to_vec();
    pairs.push(("_count".to_owned(), server.settings.max_count.to_string()));
    let (mut pages, first) = (Vec::new(), pairs.len());
    loop {
        let search = search::parse(server, resource_type, &pairs, Handling::Strict)?;
        let page = search::search(server, caller, &search).await?;
        pairs.truncate(first);
        pairs.extend(page.next.as_ref().map(|next| ("_cursor".to_owned(), next.to_string())));
        pages.push(page);
        if pairs.len() == first {
            return Ok(pages);
        }
    }
}

impl Terms {
    /// `None` for what cannot be booked: without hours, without a practitioner, or of a service that is not active.
    fn read(schedule: &Value, service: Option<&Value>) -> Option<Terms> {
        if service.is_some_and(|service| service["active"] == false) {
            return None;
        }
        // The guard has checked both when they were stored. What an older release let in offers nothing.
        let rules = Rules::read(schedule, service).ok()??;
        let policy = Policy::read(service).ok()?;
        let actors = schedule["actor"].as_array()?;
        let practitioner = actors.iter().find(|actor| {
            let reference = actor["reference"].as_str();
            reference.is_some_and(|reference| reference.starts_with("Practitioner/"))
        })?;
        let reference = service.and_then(|service| {
            let id = service["id"].as_str()?;
            let mut reference = json!({"reference": format!("HealthcareService/{id}")});
            if let Some(name) = service["name"].as_str() {
                reference["display"] = json!(name);
            }
            Some(reference)
        });
        let list = |resource: &Value, name: &str| resource.get(name).filter(|list| list.is_array()).cloned();
        Some(Terms {
            rules,
            policy,
            practitioner: practitioner.clone(),
            service: reference,
            service_type: service
                .and_then(|service| list(service, "type"))
                .or_else(|| list(schedule, "serviceType")),
            specialty: list(schedule, "specialty"),
        })
    }
}
