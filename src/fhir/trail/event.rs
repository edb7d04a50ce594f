//! What is recorded of one thing that somebody did.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::fhir::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::resource::StoredResource;

/// Longest text of a request that is kept: whoever sends more is told apart by the first part as well.
const LONGEST: usize = 8_000;

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Kind {
    // FHIR's interactions (https://hl7.org/fhir/R4/valueset-restful-interaction.html).
    Create,
    Read,
    Vread,
    Update,
    Patch,
    Delete,
    HistoryInstance,
    HistoryType,
    HistorySystem,
    SearchType,
    SearchSystem,
    Operation,
    /// A Bundle that was refused as a whole.
    Transaction,
    /// A request by somebody who was not let in.
    Access,
    /// The whole record of somebody at once: `$everything`.
    Disclosure,
    /// Access to the record of a patient whom nothing ties to the caller, for an emergency.
    BreakGlass,
    Login,
    Logout,
    /// A change of what somebody signs in with, or of the account itself.
    Account,
    /// What a person allowed an application, or denied it.
    Consent,
    /// An access token was given.
    Token,
    /// A token or a grant was taken back.
    Revocation,
    /// An application was opened from within, about a patient or about nobody.
    Launch,
    /// An application was registered, let in or shut out, or a key was withdrawn.
    Configuration,
    /// A part of the trail was moved into a file.
    Archive,
    /// The trail itself was tampered with.
    Alarm,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Ending {
    #[default]
    Success,
    /// Refused: the request was wrong, or not allowed.
    Refused,
    /// The server could not do it.
    Failed,
}

/// Where a request comes from, apart from who sends it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// The client's, as far as the proxies in front of the server tell.
    pub address: Option<IpAddr>,
    /// As in the header `X-Request-Id` of its answer.
    pub request: String,
}

/// One version of a resource, by the number that stands for the resource.
pub type Shown = (i64, i32);

/// A record of the trail. Made by [`Event::new`] and the functions that add to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "is_default")]
    pub ending: Ending,
    /// Why it was refused or failed, without what the request held.
    #[serde(default, skip_serializing_if = "is_default")]
    pub outcome: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub who: Who,
    /// Type, id and version of the resource it was about; an empty id is not known.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resource: Option<(String, String, Option<i32>)>,
    /// Ids of Patients it was about, as far as they are known at once.
    #[serde(default, skip_serializing_if = "is_default")]
    pub patients: Vec<String>,
    /// Method and address below the base, with the query.
    #[serde(default, skip_serializing_if = "is_default")]
    pub request: Option<String>,
    /// What the caller was shown or changed: it tells the other patients.
    #[serde(default, skip_serializing_if = "is_default")]
    pub shown: Vec<Shown>,
    /// What somebody gave as the reason of an emergency.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub details: Vec<(String, String)>,
}

/// Who did it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Who {
    /// The registered application.
    #[serde(default, skip_serializing_if = "is_default")]
    pub client: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub account: Option<String>,
    /// The resource that stands for the person: `Practitioner/7`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub user: Option<String>,
    /// The name (`jti`) of the access token.
    #[serde(default, skip_serializing_if = "is_default")]
    pub token: Option<String>,
    /// Who ran a command on the server's machine, as the operating system calls them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub operator: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub address: Option<IpAddr>,
    /// `X-Request-Id`
    #[serde(default, skip_serializing_if = "is_default")]
    pub request: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Event {
    /// Something of this kind was done, successfully.
    pub fn new(kind: Kind) -> Event {
        Event {
            kind,
            ending: Ending::Success,
            outcome: None,
            who: Who::default(),
            resource: None,
            patients: Vec::new(),
            request: None,
            shown: Vec::new(),
            reason: None,
            details: Vec::new(),
        }
    }

    /// By whom, and from where.
    #[must_use]
    pub fn by(mut self, caller: &Caller) -> Event {
        if let Some(granted) = caller.grant() {
            self.who.client = Some(granted.client.clone());
            self.who.account.clone_from(&granted.account);
            self.who.user = granted.user.as_ref().map(|user| user.fhir_user.clone());
            self.who.token = Some(granted.token.clone()).filter(|token| !token.is_empty());
        }
        match caller.origin() {
            Some(origin) => self.at(origin),
            None => self,
        }
    }

    #[must_use]
    pub fn at(mut self, origin: &Origin) -> Event {
        self.who.address = origin.address;
        self.who.request = (!origin.request.is_empty()).then(|| origin.request.clone());
        self
    }

    /// By whoever runs a command of the program.
    #[must_use]
    pub fn operator(mut self, name: &str) -> Event {
        self.who.operator = Some(name.to_owned());
        self
    }

    /// By a person, who is not acting through an application: the account, and the resource that stands for the person.
    #[must_use]
    pub fn account(mut self, id: &str, user: &str) -> Event {
        self.who.account = Some(id.to_owned());
        self.who.user = Some(user.to_owned());
        self
    }

    /// The same, where only the account is known.
    #[must_use]
    pub fn account_id(mut self, id: &str) -> Event {
        self.who.account = Some(id.to_owned());
        self
    }

    /// By, or for, a registered application.
    #[must_use]
    pub fn client(mut self, id: &str) -> Event {
        self.who.client = Some(id.to_owned());
        self
    }

    /// With, or about, the access token of this name (`jti`).
    #[must_use]
    pub fn token(mut self, jti: &str) -> Event {
        self.who.token = Some(jti.to_owned());
        self
    }

    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Event {
        self.who.address = Some(address);
        self
    }

    /// About this resource; `None` for the version it has.
    #[must_use]
    pub fn resource(mut self, resource_type: &str, id: &str, version: Option<i32>) -> Event {
        self.resource = Some((resource_type.to_owned(), id.to_owned(), version));
        self
    }

    /// In this version, if that is known by now.
    #[must_use]
    pub fn version(mut self, version: Option<i32>) -> Event {
        if let (Some((.., known)), Some(version)) = (&mut self.resource, version) {
            *known = Some(version);
        }
        self
    }

    /// About the Patient with this id, whatever was shown.
    #[must_use]
    pub fn patient(mut self, id: &str) -> Event {
        self.patients.push(id.to_owned());
        self
    }

    /// As it was asked for: method and address below the base, with the query.
    #[must_use]
    pub fn request(mut self, text: impl Into<String>) -> Event {
        let mut text = text.into();
        text.truncate(text.floor_char_boundary(LONGEST));
        self.request = Some(text);
        self
    }

    /// The resources that were shown or changed.
    #[must_use]
    pub fn showing(mut self, resources: impl IntoIterator<Item = Shown>) -> Event {
        self.shown.extend(resources);
        self
    }

    /// It was not done, for a reason that says nothing of what the request held.
    #[must_use]
    pub fn refused(mut self, why: impl Into<String>) -> Event {
        self.ending = Ending::Refused;
        self.outcome = Some(why.into());
        self
    }

    /// It was not done: the status, and the code of the first issue.
    #[must_use]
    pub fn ended_by(mut self, error: &FhirError) -> Event {
        self.ending = match error.status.is_server_error() {
            true => Ending::Failed,
            false => Ending::Refused,
        };
        let code = error.issues.first().map_or("", |issue| issue.code.code());
        self.outcome = Some(format!("{} {code}", error.status.as_u16()));
        self
    }

    /// Why somebody broke the glass, in their words.
    #[must_use]
    pub fn reason(mut self, text: &str) -> Event {
        self.reason = Some(text.chars().take(LONGEST / 4).collect());
        self
    }

    /// Something else that whoever reads the trail wants to know: no secret, and nothing of a record.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<String>) -> Event {
        self.details.push((name.to_owned(), value.into()));
        self
    }
}

impl From<&StoredResource> for Shown {
    fn from(stored: &StoredResource) -> Shown {
        (stored.rid, stored.version)
    }
}
