//! `$everything`: the whole record of a patient, an encounter or a practitioner
//! (<https://hl7.org/fhir/R4/patient-operation-everything.html>,
//! <https://hl7.org/fhir/R4/encounter-operation-everything.html>; for practitioners as later releases define it).
//!
//! A record is, in this order: the resource itself, the members of its compartment, newest first, and what these refer to,
//! Binaries and attachments too. Each comes once. What belongs to the record of another patient does not come along
//! because something refers to it, and nothing comes that the caller may not read; what such a thing refers to, neither.
//!
//! | parameter | |
//! |---|---|
//! | `start`, `end` | days between which care was given ([`record`] says what counts); what has no such date is in |
//! | `_since` | members and references that were updated at this instant or later; the resource itself is always there |
//! | `_type` | only these types, out of the same record |
//! | `_count` | resources on a page; without it as many as a page may have |
//!
//! The link `next` holds the place where a page ended, as in searches: pages stay apart whatever is written meanwhile.
//! `Patient/$everything` is one record after the other, newest patient first. What several patients refer to comes with
//! each, so that every record is whole.

mod record;

use std::fmt;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::record::{Item, Record, Stage};
use crate::fhir::caller::Caller;
use crate::fhir::content;
use crate::fhir::error::{FhirError, excerpt};
use crate::fhir::hooks::{Operation, OperationInput};
use crate::fhir::http::Answer;
use crate::fhir::searchset::{Searchset, link_url};
use crate::fhir::server::FhirServer;
use crate::fhir::store::Micros;
use crate::fhir::summary::Projection;
use crate::knowledge::fhirpath::values::{Date, DateTime};

/// The operation on one type.
#[derive(Debug)]
pub struct Everything {
    owner: &'static str,
    definition: &'static LazyLock<Value>,
}

impl Everything {
    pub fn of_patient() -> Everything {
        static DEFINITION: LazyLock<Value> = LazyLock::new(|| definition("Patient", true, true));
        Everything {
            owner: "Patient",
            definition: &DEFINITION,
        }
    }

    pub fn of_encounter() -> Everything {
        static DEFINITION: LazyLock<Value> = LazyLock::new(|| definition("Encounter", false, false));
        Everything {
            owner: "Encounter",
            definition: &DEFINITION,
        }
    }

    pub fn of_practitioner() -> Everything {
        static DEFINITION: LazyLock<Value> = LazyLock::new(|| definition("Practitioner", false, true));
        Everything {
            owner: "Practitioner",
            definition: &DEFINITION,
        }
    }
}

/// The parameter that carries the place where a page begins.
const CURSOR: &str = "_cursor";

fn definition(owner: &str, on_type: bool, has_care_dates: bool) -> Value {
    let input =
        |name: &str, max: &str, kind: &str| json!({"name": name, "use": "in", "min": 0, "max": max, "type": kind});
    let mut parameters = Vec::new();
    if has_care_dates {
        parameters.extend([input("start", "1", "date"), input("end", "1", "date")]);
    }
    parameters.extend([
        input("_since", "1", "instant"),
        input("_type", "*", "code"),
        input("_count", "1", "integer"),
        input(CURSOR, "1", "string"),
        json!({"name": "return", "use": "out", "min": 1, "max": "1", "type": "Bundle"}),
    ]);
    json!({
        "resourceType": "OperationDefinition",
        "id": format!("{owner}-everything"),
        "url": format!("http://hl7.org/fhir/OperationDefinition/{owner}-everything"),
        "name": "Everything",
        "status": "active",
        "kind": "operation",
        "affectsState": false,
        "code": "everything",
        "resource": [owner],
        "system": false,
        "type": on_type,
        "instance": true,
        "parameter": parameters
    })
}

impl Operation for Everything {
    fn definition(&self) -> &Value {
        self.definition
    }

    fn call<'a>(
        &'a self,
        server: &'a FhirServer,
        caller: &'a Caller,
        input: OperationInput,
    ) -> BoxFuture<'a, Result<Answer, FhirError>> {
        Box::pin(async move {
            let request = Request::read(server, self.owner, &input)?;
            let record = Record::new(server, caller, self.owner, &request)?;
            let owner = match &input.id {
                Some(id) => Some(record.owner(id).await?),
                None => None,
            };
            let mut lease = server.store.planned().await?;
            // One more than the page holds tells whether there is a next one.
            let room = request.count + 1;
            let found = match owner {
                Some(owner) => record.of_one(&mut lease, owner, request.cursor, room).await?,
                None => record.of_all(&mut lease, request.cursor, room).await?,
            };
            lease.release();
            page(server, &input, &request, found).await
        })
    }
}

/// What was asked, apart from whose record.
struct Request {
    since: Option<Micros>,
    /// From the first instant to the first one after it.
    care: Option<(Micros, Micros)>,
    /// Empty: all.
    types: Vec<String>,
    count: usize,
    cursor: Option<Place>,
    /// Over all that decides which resources come.
    digest: [u8; DIGEST],
}

impl Request {
    fn read(server: &FhirServer, owner: &str, input: &OperationInput) -> Result<Request, FhirError> {
        let parameters = &input.parameters;
        let place = |name: &str| format!("Parameters.parameter.where(name = '{name}')");
        if input.projection == Projection::Count {
            let text = "_summary=count counts matches; only a search has them.";
            return Err(FhirError::not_supported(text).at("http._summary"));
        }
        let mut types = Vec::new();
        for name in parameters
            .texts("_type")
            .flat_map(|list| list.split(','))
            .map(str::trim)
        {
            if server.definitions.resource_type(name).is_none() {
                let text = format!("'{}' is not a resource type of FHIR R4.", excerpt(name));
                return Err(FhirError::bad_value(text).at(place("_type")));
            }
            types.push(name.to_owned());
        }
        let most = server.settings.max_count;
        let count = match parameters.text("_count").map(str::parse::<i64>) {
            None => most,
            Some(Ok(number @ 1..)) => u32::try_from(number).map_or(most, |number| number.min(most)),
            Some(_) => {
                let text = "_count is the number of resources on a page, 1 or more.";
                return Err(FhirError::bad_value(text).at(place("_count")));
            }
        };
        let since = parameters.text("_since").map(|text| text.replace(' ', "+"));
        let since = since
            .and_then(|text| DateTime::parse(&text))
            .map(|at| at.bounds(0).0.into());
        let day = |name: &str| parameters.text(name).and_then(Date::parse).map(|day| day.bounds(0));
        let care = match (day("start"), day("end")) {
            (None, None) => None,
            (start, end) => {
                let low = start.map_or(Micros(i64::MIN), |(low, _)| low.into());
                let high = end.map_or(Micros(i64::MAX), |(_, high)| high.into());
                if low >= high {
                    return Err(FhirError::bad_value("The end is before the start.").at(place("end")));
                }
                Some((low, high))
            }
        };
        let digest = digest(owner, input);
        let cursor = match parameters.text(CURSOR) {
            None => None,
            Some(text) => Some(Place::read(text, digest).ok_or_else(|| {
                let text = "This page link was altered or belongs to another request. Follow links as they are given.";
                FhirError::bad_value(text).at(place(CURSOR))
            })?),
        };
        Ok(Request {
            since,
            care,
            types,
            count: count as usize,
            cursor,
            digest,
        })
    }
}

const DIGEST: usize = 8;

fn digest(owner: &str, input: &OperationInput) -> [u8; DIGEST] {
    let mut hasher = Sha256::new();
    hasher.update(owner);
    hasher.update([0]);
    hasher.update(input.id.as_deref().unwrap_or_default());
    for (name, value) in input.parameters.pairs() {
        if name != CURSOR && name != "_count" {
            for part in [name, value] {
                hasher.update([0]);
                hasher.update(part);
            }
        }
    }
    let mut digest = [0; DIGEST];
    digest.copy_from_slice(&hasher.finalize()[..DIGEST]);
    digest
}

/// The last resource of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    /// Whose record it is in, by rid.
    owner: i64,
    stage: Stage,
    rid: i64,
    digest: [u8; DIGEST],
}

impl Place {
    /// Reads what a `next` link carried; `None` when it is not of this request.
    fn read(text: &str, expected: [u8; DIGEST]) -> Option<Place> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (digest, rest) = bytes.split_first_chunk::<DIGEST>()?;
        let (owner, rest) = rest.split_first_chunk::<8>()?;
        let (stage, rest) = rest.split_first()?;
        let rid = <[u8; 8]>::try_from(rest).ok()?;
        let place = Place {
            owner: i64::from_be_bytes(*owner),
            stage: Stage::from_number(*stage)?,
            rid: i64::from_be_bytes(rid),
            digest: *digest,
        };
        (place.digest == expected).then_some(place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.digest.to_vec();
        bytes.extend(self.owner.to_be_bytes());
        bytes.push(self.stage.number());
        bytes.extend(self.rid.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// The Bundle of the first `count` of what was found.
async fn page(
    server: &FhirServer,
    input: &OperationInput,
    request: &Request,
    mut found: Vec<Item>,
) -> Result<Answer, FhirError> {
    let is_last = found.len() <= request.count;
    found.truncate(request.count);
    let resources = found.iter_mut().map(|item| &mut item.resource).collect();
    content::give_back(server, resources).await?;
    let next = found.last().filter(|_| !is_last).map(|last| Place {
        owner: last.owner,
        stage: last.stage,
        rid: last.resource.rid,
        digest: request.digest,
    });
    let is_whole = is_last && request.cursor.is_none();
    let matches = found.iter().filter(|item| item.stage != Stage::Referenced).count();
    let total = is_whole.then_some(matches as u64);
    let mut bundle = Searchset::new(server, total, found.iter().map(|item| &item.resource));
    let link = |cursor: Option<&Place>| {
        let mut url = server.settings.base_url.clone();
        for part in [input.resource_type, input.id.as_deref(), Some("$everything")]
            .into_iter()
            .flatten()
        {
            url.push('/');
            url.push_str(part);
        }
        let mut pairs = input.parameters.pairs();
        if cursor.is_some() {
            pairs.retain(|(name, _)| name != CURSOR);
        }
        pairs.extend(input.projection.pair().map(|(name, value)| (name.to_owned(), value)));
        pairs.extend(cursor.map(|place| (CURSOR.to_owned(), place.to_string())));
        link_url(url, pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    };
    bundle.link("self", &link(None));
    if let Some(next) = &next {
        bundle.link("next", &link(Some(next)));
    }
    for Item { stage, resource, .. } in &found {
        let mode = match stage {
            Stage::Owner | Stage::Member => "match",
            Stage::Referenced => "include",
        };
        bundle.entry(resource, mode, &input.projection)?;
    }
    Ok(Answer::with_body(bundle.finish()).showing(found.iter().map(|item| &item.resource)))
}
