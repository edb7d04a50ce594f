//! Records of the trail as AuditEvents in the patterns of IHE's Basic Audit Log Patterns
//! (<https://profiles.ihe.net/ITI/BALP/>).
//!
//! | kind | type | subtype | action | profile, with and without a patient |
//! |---|---|---|---|---|
//! | read, vread | rest | `read`, `vread` | R | PatientRead, Read |
//! | create | rest | `create` | C | PatientCreate, Create |
//! | update, patch | rest | `update`, `patch` | U | PatientUpdate, Update |
//! | delete | rest | `delete` | D | PatientDelete, Delete |
//! | search | rest | `search`, `search-type` or `search-system` | E | PatientQuery, Query |
//! | history | rest | `history-instance`, … | R | none that fits |
//! | operation, refused transaction | rest | `operation`, `transaction` | E | none that fits |
//! | disclosure | Export (DCM 110106) | `disclose` | R | PrivacyDisclosure.Source |
//! | login, logout | User Authentication (DCM 110114) | Login, Logout (DCM) | E | |
//! | token | User Authentication (DCM 110114) | ITI-71 | E | |
//! | consent, revocation | Security Alert (DCM 110113) | `AuthZ-Consent`, `AuthZ-Role` | E | |
//! | account | Security Alert | User Security Attributes Changed (DCM 110137) | U | |
//! | break-glass | Security Alert | Emergency Override Started (DCM 110127) | E | |
//! | an application was opened from within | Application Activity (DCM 110100) | Application Start (DCM 110120) | E | |
//! | applications and keys, changed by a command | Security Alert | Security Configuration (DCM 110129) | U | |
//! | a request that was not let in | Security Alert | Node Authentication (DCM 110126) | E | |
//! | a part of the trail was archived | Audit Log Used (DCM 110101) | `archive` | E | |
//! | the trail was tampered with | Security Alert | Audit Recording Stopped (DCM 110133) | E | |
//!
//! The profiles are for what succeeded; a failure has the same shape and claims none. An AuditEvent names one patient at
//! most, so that the patient may read it: what concerned several becomes several ([`audit_events`]).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::fhir::resource::instant;
use crate::fhir::trail::{Ending, Event, Kind};

const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const REST: &str = "http://hl7.org/fhir/restful-interaction";
const EVENT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const BALP: &str = "https://profiles.ihe.net/ITI/BALP";

/// What is true of every record of a server.
#[derive(Clone, Copy, Debug)]
pub struct Place<'s> {
    /// The FHIR base.
    pub base: &'s str,
}

/// What is known of a record by now.
#[derive(Clone, Debug)]
pub struct Known<'e> {
    pub event: &'e Event,
    pub at: Timestamp,
    /// Ids of the Patients that it concerned.
    pub patients: Vec<String>,
    /// Whether the resource that it names exists, so that it can be referred to.
    pub is_there: bool,
}

/// How a kind of record is written.
struct Pattern {
    event_type: (&'static str, &'static str),
    subtype: (&'static str, &'static str),
    action: &'static str,
    flow: Flow,
    profile: Option<Profile>,
}

/// Who is the source of what moves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    FromServer,
    FromClient,
    /// Something goes away.
    Removal,
    /// It is about being let in.
    Security,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Profile {
    /// The name that stands alone, and with `Patient` in front of it.
    Basic(&'static str),
    /// Only with a patient.
    OfPatients(&'static str),
}

impl Pattern {
    fn of(kind: Kind) -> Pattern {
        use Flow::{FromClient, FromServer, Removal, Security};
        const ON_REST: (&str, &str) = (EVENT_TYPE, "rest");
        const ALERT: (&str, &str) = (DCM, "110113");
        const AUTHENTICATION: (&str, &str) = (DCM, "110114");
        const DECISIONS: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType";
        let rest = |code, action, flow, profile: Option<&'static str>| Pattern {
            event_type: ON_REST,
            subtype: (REST, code),
            action,
            flow,
            profile: profile.map(Profile::Basic),
        };
        let security = |event_type, subtype, action| Pattern {
            event_type,
            subtype,
            action,
            flow: Security,
            profile: None,
        };
        match kind {
            Kind::Create => rest("create", "C", FromClient, Some("Create")),
            Kind::Read => rest("read", "R", FromServer, Some("Read")),
            Kind::Vread => rest("vread", "R", FromServer, Some("Read")),
            Kind::Update => rest("update", "U", FromClient, Some("Update")),
            Kind::Patch => rest("patch", "U", FromClient, Some("Update")),
            Kind::Delete => rest("delete", "D", Removal, Some("Delete")),
            Kind::SearchType => rest("search-type", "E", FromClient, Some("Query")),
            Kind::SearchSystem => rest("search-system", "E", FromClient, Some("Query")),
            Kind::HistoryInstance => rest("history-instance", "R", FromServer, None),
            Kind::HistoryType => rest("history-type", "R", FromServer, None),
            Kind::HistorySystem => rest("history-system", "R", FromServer, None),
            Kind::Operation => rest("operation", "E", FromClient, None),
            Kind::Transaction => rest("transaction", "E", FromClient, None),
            Kind::Disclosure => Pattern {
                event_type: (DCM, "110106"),
                subtype: ("http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle", "disclose"),
                action: "R",
                flow: FromServer,
                profile: Some(Profile::OfPatients("PrivacyDisclosure.Source")),
            },
            Kind::Login => security(AUTHENTICATION, (DCM, "110122"), "E"),
            Kind::Logout => security(AUTHENTICATION, (DCM, "110123"), "E"),
            Kind::Token => security(AUTHENTICATION, ("urn:ihe:event-type-code", "ITI-71"), "E"),
            Kind::Consent => security(ALERT, (DECISIONS, "AuthZ-Consent"), "E"),
            Kind::Revocation => security(ALERT, (DECISIONS, "AuthZ-Role"), "E"),
            Kind::Account => security(ALERT, (DCM, "110137"), "U"),
            Kind::BreakGlass => security(ALERT, (DCM, "110127"), "E"),
            Kind::Access => security(ALERT, (DCM, "110126"), "E"),
            Kind::Archive => security(
                (DCM, "110101"),
                ("http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle", "archive"),
                "E",
            ),
            Kind::Alarm => security(ALERT, (DCM, "110133"), "E"),
            Kind::Launch => security((DCM, "110100"), (DCM, "110120"), "E"),
            Kind::Configuration => security(ALERT, (DCM, "110129"), "U"),
        }
    }
}

/// The AuditEvents of one record: one that names no patient, or one for each patient.
///
/// A query may name several people. Where it does, or its answer was about several, the AuditEvents of the patients only
/// tell what was asked for by name of parameter, and one without a patient keeps the whole.
pub fn audit_events(place: Place<'_>, known: &Known<'_>) -> Vec<Value> {
    let whole = known.event.request.as_deref();
    match &known.patients[..] {
        [] => vec![audit_event(place, known, None, whole)],
        [patient] if !whole.is_some_and(may_name_several) => {
            vec![audit_event(place, known, Some(patient), whole)]
        }
        patients => {
            let masked = whole.map(masked);
            let of_patients = patients
                .iter()
                .map(|patient| audit_event(place, known, Some(patient), masked.as_deref()));
            let everything = whole.map(|_| audit_event(place, known, None, whole));
            everything.into_iter().chain(of_patients).collect()
        }
    }
}

/// Whether a query may be about more than one person: it has alternatives.
fn may_name_several(request: &str) -> bool {
    request.split_once('?').is_some_and(|(_, query)| {
        query.contains(',') || query.contains("%2C") || query.contains("%2c") || query.contains("_filter")
    })
}

/// The request with the names of its parameters alone.
fn masked(request: &str) -> String {
    let Some((path, query)) = request.split_once('?') else {
        return request.to_owned();
    };
    let names: Vec<&str> = query
        .split('&')
        .map(|pair| pair.split('=').next().unwrap_or_default())
        .collect();
    format!("{path}?{}", names.join("&"))
}

fn audit_event(place: Place<'_>, known: &Known<'_>, patient: Option<&str>, request: Option<&str>) -> Value {
    let Known { event, at, .. } = known;
    let pattern = Pattern::of(event.kind);
    let mut resource = Map::new();
    resource.insert("resourceType".to_owned(), json!("AuditEvent"));
    let profiles = profiles(event, &pattern, patient.is_some());
    if !profiles.is_empty() {
        resource.insert("meta".to_owned(), json!({"profile": profiles}));
    }
    let mut set = |name: &str, value: Value| resource.insert(name.to_owned(), value);
    set("type", coding(pattern.event_type));
    set("subtype", json!([coding(pattern.subtype)]));
    set("action", json!(pattern.action));
    set("recorded", json!(instant(*at)));
    set(
        "outcome",
        json!(match event.ending {
            Ending::Success => "0",
            Ending::Refused => "4",
            Ending::Failed => "8",
        }),
    );
    if let Some(outcome) = &event.outcome {
        set("outcomeDesc", json!(outcome));
    }
    if event.kind == Kind::BreakGlass {
        let mut purpose = json!({"coding": [{"system": REASON, "code": "BTG"}]});
        if let Some(reason) = &event.reason {
            purpose["text"] = json!(reason);
        }
        set("purposeOfEvent", json!([purpose]));
    }
    set("agent", Value::Array(agents(place, event, &pattern)));
    set(
        "source",
        json!({
            "observer": server(place),
            "type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4"}]
        }),
    );
    let entities = entities(known, &pattern, patient, place, request);
    if !entities.is_empty() {
        set("entity", Value::Array(entities));
    }
    Value::Object(resource)
}

fn coding((system, code): (&str, &str)) -> Value {
    json!({"system": system, "code": code})
}

fn profiles(event: &Event, pattern: &Pattern, has_patient: bool) -> Vec<String> {
    if event.ending != Ending::Success {
        return Vec::new();
    }
    let url = |name: &str| format!("{BALP}/StructureDefinition/IHE.BasicAudit.{name}");
    let mut profiles = Vec::new();
    match pattern.profile {
        Some(Profile::Basic(name)) if has_patient => profiles.push(url(&format!("Patient{name}"))),
        Some(Profile::Basic(name)) => profiles.push(url(name)),
        Some(Profile::OfPatients(name)) if has_patient => profiles.push(url(name)),
        Some(Profile::OfPatients(_)) | None => {}
    }
    if event.who.token.is_some() && event.who.account.is_some() && pattern.flow != Flow::Security {
        profiles.push(url("OAUTHaccessTokenUse.Minimal"));
    }
    profiles
}

/// What this server is called.
fn server(place: Place<'_>) -> Value {
    json!({"identifier": {"system": "urn:ietf:rfc:3986", "value": place.base}})
}

/// The client, the server and, if there is one, the person.
fn agents(place: Place<'_>, event: &Event, pattern: &Pattern) -> Vec<Value> {
    let who = &event.who;
    let (client_type, server_type) = match pattern.flow {
        Flow::FromServer => ((DCM, "110152"), (DCM, "110153")),
        Flow::FromClient => ((DCM, "110153"), (DCM, "110152")),
        Flow::Removal => (
            (DCM, "110150"),
            (
                "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
                "custodian",
            ),
        ),
        Flow::Security => (
            (DCM, "110150"),
            (
                "https://profiles.ihe.net/ITI/BALP/CodeSystem/UserAgentTypes",
                "AuthzOauthService",
            ),
        ),
    };
    let root = place.base.strip_suffix("/fhir").unwrap_or(place.base);
    let policy = who
        .token
        .as_ref()
        .map(|jti| json!([format!("urn:ietf:params:oauth:jti:{jti}")]));
    let has_user = who.account.is_some() || who.user.is_some() || who.operator.is_some();
    let network = match who.address {
        Some(address) => json!({"address": address.to_string(), "type": "2"}),
        None => json!({"address": "unknown", "type": "1"}),
    };
    let client = match &who.client {
        Some(client) => json!({"identifier": {"system": format!("{root}/auth/clients"), "value": client}}),
        None if who.operator.is_some() => json!({"display": "a command on the server's machine"}),
        None => json!({"display": "no registered application"}),
    };
    let mut client = json!({
        "type": {"coding": [coding(client_type)]},
        "who": client,
        "requestor": !has_user,
        "network": network
    });
    let server = json!({
        "type": {"coding": [coding(server_type)]},
        "who": server(place),
        "requestor": false,
        "network": {"address": place.base, "type": "5"}
    });
    if !has_user {
        if let Some(policy) = policy {
            client["policy"] = policy;
        }
        return vec![client, server];
    }
    let part = match pattern.flow {
        Flow::FromServer | Flow::Security => "IRCP",
        Flow::FromClient if pattern.action == "E" => "IRCP",
        Flow::FromClient | Flow::Removal => "AUT",
    };
    let mut types = vec![coding((PARTICIPATION, part))];
    if who.token.is_some() {
        types.push(coding((
            "https://profiles.ihe.net/ITI/BALP/CodeSystem/UserAgentTypes",
            "UserOauthAgent",
        )));
    }
    let person = match (&who.user, &who.account, &who.operator) {
        (Some(user), ..) => json!({"reference": user}),
        (None, Some(account), _) => {
            json!({"identifier": {"system": format!("{root}/auth/accounts"), "value": account}})
        }
        (None, None, Some(operator)) => {
            json!({"identifier": {"system": format!("{root}/operators"), "value": operator}})
        }
        (None, None, None) => json!({"display": "unknown"}),
    };
    let mut user = json!({"type": {"coding": types}, "who": person, "requestor": true});
    if let Some(account) = &who.account {
        user["altId"] = json!(account);
    }
    if let Some(policy) = policy {
        user["policy"] = policy;
    }
    if event.kind == Kind::BreakGlass {
        user["purposeOfUse"] = json!([{"coding": [{"system": REASON, "code": "BTG"}]}]);
    }
    vec![client, server, user]
}

/// The patient, the resource, the query and the request, as far as there are any.
fn entities(
    known: &Known<'_>,
    pattern: &Pattern,
    patient: Option<&str>,
    place: Place<'_>,
    request: Option<&str>,
) -> Vec<Value> {
    let event = known.event;
    let entity = |what: Value, entity_type: &str, role: &str| {
        json!({
            "what": what,
            "type": coding((ENTITY_TYPE, entity_type)),
            "role": coding((OBJECT_ROLE, role))
        })
    };
    let mut entities = Vec::new();
    if let Some((resource_type, id, version)) = &event.resource {
        let address = format!("{resource_type}/{id}");
        let what = match version {
            _ if id.is_empty() => json!({"display": resource_type}),
            // A reference would make room for what may never come.
            _ if !known.is_there => json!({"display": address}),
            Some(version) => json!({"reference": format!("{address}/_history/{version}")}),
            None => json!({"reference": address}),
        };
        entities.push(entity(what, "2", "4"));
    }
    if let Some(patient) = patient {
        entities.push(entity(json!({"reference": format!("Patient/{patient}")}), "1", "1"));
    }
    if let Some(request) = request {
        let query = STANDARD.encode(format!("{}/{request}", place.base));
        entities.push(json!({
            "type": coding((ENTITY_TYPE, "2")),
            "role": coding((OBJECT_ROLE, "24")),
            "query": query
        }));
    }
    if !event.details.is_empty() {
        let details: Vec<Value> = event
            .details
            .iter()
            .map(|(name, value)| json!({"type": name, "valueString": value}))
            .collect();
        let role = if pattern.flow == Flow::Security { "13" } else { "4" };
        entities.push(json!({
            "type": coding((ENTITY_TYPE, "2")),
            "role": coding((OBJECT_ROLE, role)),
            "detail": details
        }));
    }
    if let Some(request) = &event.who.request {
        entities.push(json!({
            "what": {"identifier": {"value": request}},
            "type": {"system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "code": "XrequestId"}
        }));
    }
    entities
}
