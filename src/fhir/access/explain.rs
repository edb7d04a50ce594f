//! Why a caller may or may not do a thing, in words, for whoever runs the server.
//!
//! The verdict comes from the rules that judge requests; the sentences before it tell which scopes and rules of the policy
//! are about the matter, whose record it is, what ties the caller to those patients, and what these refuse.

use std::fmt::Write;

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row};

use super::judge::{Judged, allowed};
use super::members::patient_parameters;
use super::policy::{Reach, Role};
use super::{Permissions, Rule, ScopeContext, ScopeGrant, rule};
use crate::fhir::caller::{Caller, Granted};
use crate::fhir::error::FhirError;
use crate::fhir::resource::StoredResource;
use crate::fhir::server::FhirServer;
use crate::fhir::store::Micros;

/// What a request comes to, for access.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// One letter.
    pub letter: Permissions,
    pub resource_type: &'static str,
    /// `None` for a search and a create.
    pub id: Option<String>,
}

impl Question {
    /// Reads a method and a path below the FHIR base, with or without a query: `GET Observation/7`.
    ///
    /// # Errors
    /// A sentence that says what it cannot be.
    pub fn parse(server: &FhirServer, method: &str, path: &str) -> Result<Question, String> {
        let path = path.trim_start_matches('/');
        let path = path.strip_prefix("fhir/").unwrap_or(path);
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let name = parts.next().unwrap_or_default();
        let definitions = server.definitions;
        let resource_type = definitions
            .resource_type(name)
            .map(|ty| ty.name.as_str())
            .ok_or_else(|| format!("\"{name}\" is no resource type; ask about one at a time, as in Observation/7"))?;
        let id = parts.next().filter(|part| !part.starts_with(['_', '$']));
        let letter = match (method.to_ascii_uppercase().as_str(), id) {
            ("GET" | "HEAD", Some(_)) => Permissions::READ,
            ("GET" | "HEAD", None) => Permissions::SEARCH,
            ("POST", None) if path.ends_with("_search") => Permissions::SEARCH,
            ("POST", None) => Permissions::CREATE,
            ("PUT" | "PATCH", _) => Permissions::UPDATE,
            ("DELETE", _) => Permissions::DELETE,
            _ => return Err(format!("{method} {path} is no interaction with a resource")),
        };
        Ok(Question {
            letter,
            resource_type,
            id: id.map(str::to_owned),
        })
    }
}

/// Why `caller` may or may not do it: lines of text, of which the last is the verdict.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn explain(server: &FhirServer, caller: &Caller, question: &Question) -> Result<String, FhirError> {
    let Some(granted) = caller.grant() else {
        return Ok("This caller may do everything.\n".to_owned());
    };
    let mut text = String::new();
    let Question {
        letter, resource_type, ..
    } = question;
    // Writing to a String cannot fail.
    let _ = writeln!(text, "It takes .{} on {resource_type}.\n", letter.letters());
    write_scopes(&mut text, granted, question);
    write_rules(&mut text, server, granted, question);
    let mut lease = server.store.planned().await?;
    let stored = match &question.id {
        Some(id) => server
            .store
            .read(resource_type, id)
            .await?
            .filter(|stored| !stored.deleted),
        None => None,
    };
    if let Some(stored) = &stored {
        write_record(&mut text, server, &mut lease, granted, stored).await?;
    }
    let _ = writeln!(
        text,
        "\n{}",
        verdict(server, caller, &mut lease, question, stored.as_ref()).await?
    );
    lease.release();
    Ok(text)
}

async fn verdict(
    server: &FhirServer,
    caller: &Caller,
    connection: &mut PgConnection,
    question: &Question,
    stored: Option<&StoredResource>,
) -> Result<String, FhirError> {
    let Question {
        letter,
        resource_type,
        id,
    } = question;
    let limited = match rule(server, caller, *letter, resource_type) {
        Rule::Nothing => {
            return Ok(format!(
                "NO (403): nothing gives .{} on {resource_type}.",
                letter.letters()
            ));
        }
        Rule::Everything => false,
        Rule::When(_) => true,
    };
    Ok(match (id, stored) {
        (None, _) if !limited => "YES, all of them.".to_owned(),
        (None, _) => {
            "YES, but only what these scopes and rules are about; the rest is not there for this caller.".to_owned()
        }
        (Some(id), None) if *letter == Permissions::UPDATE => {
            format!("There is no {resource_type}/{id}: a PUT would create it, if it is about what these rules give.")
        }
        (Some(id), None) => format!("NO (404): there is no {resource_type}/{id}."),
        (Some(_), Some(stored)) => {
            let resources = [(stored.rid, stored.resource_type)];
            let allowed = allowed(server, caller, connection, Judged::to(*letter), &resources).await?;
            match allowed.contains(&stored.rid) {
                true => "YES.".to_owned(),
                false if *letter == Permissions::READ => "NO (404): it is not there for this caller.".to_owned(),
                false => "NO (403): this one is not among what these rules give.".to_owned(),
            }
        }
    })
}

fn write_scopes(text: &mut String, granted: &Granted, question: &Question) {
    text.push_str("Scopes\n");
    let is_about = |scope: &&ScopeGrant| {
        scope.permissions.contain(question.letter)
            && scope.resource_type.is_none_or(|name| name == question.resource_type)
    };
    let mut found = false;
    for scope in granted.scopes.iter().filter(is_about) {
        found = true;
        let filter = scope
            .filter
            .as_deref()
            .map(|filter| format!("?{filter}"))
            .unwrap_or_default();
        let name = scope.resource_type.unwrap_or("*");
        let letters = scope.permissions.letters();
        let _ = match (scope.context, &granted.patient, &granted.user) {
            (ScopeContext::Patient, Some(patient), Some(_)) => {
                writeln!(
                    text,
                    "  patient/{name}.{letters}{filter} gives it within the record of Patient/{patient}"
                )
            }
            (ScopeContext::Patient, ..) => {
                writeln!(
                    text,
                    "  patient/{name}.{letters}{filter} gives nothing: no patient was chosen"
                )
            }
            (ScopeContext::User, _, Some(_)) => {
                writeln!(
                    text,
                    "  user/{name}.{letters}{filter} gives it as far as the policy of the role does"
                )
            }
            (ScopeContext::System, _, None) => {
                writeln!(
                    text,
                    "  system/{name}.{letters}{filter} gives it as far as the policy of back ends does"
                )
            }
            (ScopeContext::User, _, None) => {
                writeln!(text, "  user/{name}.{letters}{filter} gives nothing: there is no user")
            }
            (ScopeContext::System, _, Some(_)) => {
                writeln!(
                    text,
                    "  system/{name}.{letters}{filter} gives nothing: it is for back ends"
                )
            }
        };
    }
    if !found {
        text.push_str("  none gives it\n");
    }
}

fn write_rules(text: &mut String, server: &FhirServer, granted: &Granted, question: &Question) {
    let role = Role::of(granted.user.as_ref().map(|user| user.role));
    let _ = writeln!(text, "Policy of the role {role}");
    let rules = server.settings.policies.rules(role).iter();
    let mut found = false;
    for rule in rules.filter(|rule| rule.gives(question.letter, question.resource_type)) {
        found = true;
        let whose = match rule.to {
            Reach::All => "all resources of the type",
            Reach::Own => "the user's own record",
            Reach::CaredFor => "patients whom the user cares for, but for what they refuse",
            Reach::BreakGlass => "patients for whom the user broke the glass",
        };
        let user = granted.user.as_ref().map_or("", |user| user.fhir_user.as_str());
        let filter = rule
            .filter_for(user)
            .map(|filter| format!(", where {filter}"))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "  rule {} gives it to {}: {whose}{filter}",
            rule.number,
            rule.to.name()
        );
    }
    if !found {
        text.push_str("  no rule gives it\n");
    }
}

/// A row of `care_relation` with names: the patient, the holder, the source, the time.
type Tie = (String, String, Option<String>, Micros, Micros);
/// A row of `consent_denial` with names.
struct Refusal {
    patient: String,
    holder: String,
    resource_type: String,
    source: String,
    starts: Micros,
    ends: Micros,
    /// Whether it is meant for the caller and this type.
    is_meant: bool,
}

impl FromRow<'_, PgRow> for Refusal {
    fn from_row(row: &PgRow) -> Result<Refusal, sqlx::Error> {
        Ok(Refusal {
            patient: row.try_get("patient")?,
            holder: row.try_get("holder")?,
            resource_type: row.try_get("resource_type")?,
            source: row.try_get("source")?,
            starts: row.try_get("starts")?,
            ends: row.try_get("ends")?,
            is_meant: row.try_get("is_meant")?,
        })
    }
}

async fn write_record(
    text: &mut String,
    server: &FhirServer,
    connection: &mut PgConnection,
    granted: &Granted,
    stored: &StoredResource,
) -> Result<(), FhirError> {
    const PATIENTS: &str = "SELECT DISTINCT p.rid, p.id FROM resource p WHERE p.type = $3 AND (p.rid = $1 OR p.rid IN (\
         SELECT x.target FROM idx_reference x WHERE x.rid = $1 AND x.param = ANY($2))) ORDER BY p.id";
    const TIES: &str = "SELECT p.id, ht.name || '/' || h.id, st.name || '/' || s.id, c.starts, c.ends \
         FROM care_relation c JOIN resource p ON p.rid = c.patient \
         JOIN resource h ON h.rid = c.holder JOIN resource_type ht ON ht.id = h.type \
         LEFT JOIN resource s ON s.rid = c.source LEFT JOIN resource_type st ON st.id = s.type \
         WHERE c.patient = ANY($1) AND c.holder = ANY($2) ORDER BY 1, 4, 3";
    const REFUSALS: &str = "SELECT p.id AS patient, 'Consent/' || s.id AS source, d.starts, d.ends, \
         coalesce(ht.name || '/' || h.id, CASE d.except_holders WHEN '{}' THEN 'everybody' ELSE 'all others' END) AS holder, \
         coalesce(t.name, CASE d.except_types WHEN '{}' THEN 'everything' ELSE 'all other types' END) AS resource_type, \
         (d.holder = ANY($2) OR d.holder = 0 AND NOT d.except_holders && $2) \
         AND (d.type = $3 OR d.type = 0 AND $3 <> ALL(d.except_types)) AS is_meant \
         FROM consent_denial d JOIN resource p ON p.rid = d.patient JOIN resource s ON s.rid = d.source \
         LEFT JOIN resource h ON h.rid = d.holder LEFT JOIN resource_type ht ON ht.id = h.type \
         LEFT JOIN resource_type t ON t.id = d.type WHERE d.patient = ANY($1) ORDER BY patient, d.starts, source";
    let registry = server.search.current();
    let types = server.store.types();
    let codes = patient_parameters(server.definitions, stored.resource_type);
    let params = codes
        .iter()
        .filter_map(|code| registry.parameter(stored.resource_type, code));
    let params: Vec<i16> = match stored.resource_type {
        "Patient" => Vec::new(),
        _ => params.map(|parameter| parameter.id).collect(),
    };
    let patients: Vec<(i64, String)> = sqlx::query_as(PATIENTS)
        .bind(stored.rid)
        .bind(params)
        .bind(types.id("Patient"))
        .fetch_all(&mut *connection)
        .await?;
    let _ = writeln!(text, "{}/{}", stored.resource_type, stored.id);
    if patients.is_empty() {
        text.push_str("  is in no patient's record\n");
    }
    let Some(user) = &granted.user else { return Ok(()) };
    let now = server.clock.now();
    let rids: Vec<i64> = patients.iter().map(|(rid, _)| *rid).collect();
    let ties: Vec<Tie> = sqlx::query_as(TIES)
        .bind(&rids)
        .bind(&user.holders.all)
        .fetch_all(&mut *connection)
        .await?;
    let refusals: Vec<Refusal> = sqlx::query_as(REFUSALS)
        .bind(&rids)
        .bind(&user.holders.all)
        .bind(types.id(stored.resource_type))
        .fetch_all(connection)
        .await?;
    for (rid, patient) in &patients {
        let own = if user.holders.patients.contains(rid) {
            ", the user's own"
        } else {
            ""
        };
        let _ = writeln!(text, "  is in the record of Patient/{patient}{own}");
        let of_patient = ties.iter().filter(|tie| tie.0 == *patient);
        let mut tied = false;
        for (_, holder, source, starts, ends) in of_patient {
            tied = true;
            let source = source.as_deref().unwrap_or("a broken glass");
            let _ = writeln!(text, "    {source} ties {holder} to it {}", time(now, *starts, *ends));
        }
        if !tied && own.is_empty() {
            text.push_str("    nothing ties the user to it\n");
        }
        for refusal in refusals.iter().filter(|refusal| refusal.patient == *patient) {
            let Refusal {
                holder,
                resource_type,
                source,
                starts,
                ends,
                ..
            } = refusal;
            let meant = if refusal.is_meant {
                ""
            } else {
                ", which is not about this"
            };
            let time = time(now, *starts, *ends);
            let _ = writeln!(text, "    {source} refuses {resource_type} to {holder} {time}{meant}");
        }
    }
    Ok(())
}

/// From when to when, and whether that is now.
fn time(now: Timestamp, starts: Micros, ends: Micros) -> String {
    let at = Micros::from(now);
    let when = if at < starts {
        "not yet"
    } else if at < ends {
        "now"
    } else {
        "no more"
    };
    let day = |at: Micros| at.timestamp().strftime("%Y-%m-%d %H:%MZ").to_string();
    match (starts.0 == i64::MIN, ends.0 == i64::MAX) {
        (true, true) => format!("({when}: always)"),
        (true, false) => format!("({when}: until {})", day(ends)),
        (false, true) => format!("({when}: from {})", day(starts)),
        (false, false) => format!("({when}: from {} to {})", day(starts), day(ends)),
    }
}
