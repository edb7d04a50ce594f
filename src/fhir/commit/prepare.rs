//! What can be said about a commit without asking the database: checks, ids for what is new, links between the entries.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::binaries::{BINARY, Contents};
use super::{AtOp, CommitError, Op, Target, Write};
use crate::fhir::content;
use crate::fhir::error::{FhirError, Issue, IssueType, excerpt};
use crate::fhir::patch::Patch;
use crate::fhir::references::{self, LinkKind};
use crate::fhir::server::FhirServer;
use crate::knowledge::profiles::Package;
use crate::knowledge::validation::{Finding, FindingCode};

/// The ops of a commit, checked, in the order in which they take effect: deletes, creates, then updates and patches.
pub struct Prepared {
    pub steps: Vec<Step>,
    /// Distinct criteria, in the order of their lock.
    pub criteria: Vec<Criteria>,
    pub links: LinkTable,
    /// How many of the ops are the caller's. Those after them are consequences, which are the practice's.
    pub own: usize,
    pub(super) contents: Contents,
    pub(super) is_plain: bool,
}

/// One op.
pub struct Step {
    /// Index in what the caller gave.
    pub op: usize,
    pub resource_type: &'static str,
    pub type_id: i16,
    pub action: Action,
    /// The id in the URL or the body; for a create, the one it is given.
    pub id: Option<String>,
    /// Index in [`Prepared::criteria`].
    pub criteria: Option<usize>,
    pub if_match: Option<i32>,
    pub if_none_match_any: bool,
    /// What relative references of this entry are relative to, if that is another server.
    pub base: Option<String>,
    /// Whether a closer look for conditional references is worth it.
    pub may_hold_conditional: bool,
}

pub enum Action {
    Create(Value),
    Update(Value),
    Patch(Patch),
    Delete,
}

/// A query that is to match at most one resource.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Criteria {
    /// The key of its advisory lock: equal for queries that differ only in the order or encoding of their parameters.
    pub lock: i64,
    pub resource_type: &'static str,
    pub query: String,
}

/// Which names the entries of a commit call each other by.
#[derive(Default)]
pub struct LinkTable {
    /// `fullUrl` → op
    names: HashMap<String, usize>,
    /// op → `Type/id`, once it is known.
    identities: HashMap<usize, String>,
    pub has_unknown: bool,
}

impl LinkTable {
    /// What to write in place of a link, if it is one between entries.
    pub fn resolve(&self, base: Option<&str>, kind: LinkKind, text: &str) -> Option<String> {
        let (name, fragment) = match text.split_once('#') {
            Some((name, _)) => (name, &text[name.len()..]),
            None => (text, ""),
        };
        let op = self.names.get(name).or_else(|| match (base, kind) {
            (Some(base), LinkKind::Reference) if !name.contains(':') => self.names.get(&format!("{base}{name}")),
            _ => None,
        })?;
        self.identities.get(op).map(|identity| format!("{identity}{fragment}"))
    }

    /// Whether it is a link between entries whose target is known only in the transaction.
    pub fn awaits(&self, base: Option<&str>, text: &str) -> bool {
        let with_base = base.map(|base| format!("{base}{text}"));
        let names = [Some(text), with_base.as_deref()];
        let mut ops = names.into_iter().flatten().filter_map(|name| self.names.get(name));
        ops.any(|op| !self.identities.contains_key(op))
    }

    pub fn set_identity(&mut self, op: usize, resource_type: &str, id: &str) {
        self.identities.insert(op, format!("{resource_type}/{id}"));
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

impl Prepared {
    pub fn new(server: &FhirServer, ops: Vec<Op>, own: usize) -> Result<Prepared, CommitError> {
        let mut prepared = Prepared {
            steps: Vec::with_capacity(ops.len()),
            criteria: Vec::new(),
            links: LinkTable::default(),
            own,
            contents: Contents::default(),
            is_plain: true,
        };
        for (index, op) in ops.into_iter().enumerate() {
            prepared.add(server, index, op).at_op(index)?;
        }
        prepared.refuse_overlaps()?;
        prepared.order_criteria();
        prepared.steps.sort_by_key(|step| match step.action {
            Action::Delete => 0,
            Action::Create(_) => 1,
            Action::Update(_) | Action::Patch(_) => 2,
        });
        prepared.rewrite_known_links(server);
        if prepared.is_plain {
            // Other commits may have links that are known, or guards that amend, only within the transaction.
            prepared.check_profiles()?;
        }
        Ok(prepared)
    }

    /// Whether all ops are creates that depend on nothing in the database, concern no hook and bring no content.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    fn add(&mut self, server: &FhirServer, op: usize, Op { write, full_url }: Op) -> Result<(), FhirError> {
        let (criteria, target_type, target_id) = match &write {
            Write::Create {
                resource,
                if_none_exist,
            } => (if_none_exist.as_deref(), type_of(resource)?, None),
            Write::Update { target, .. } | Write::Patch { target, .. } | Write::Delete { target, .. } => match target {
                Target::Instance { resource_type, id } => (None, resource_type.as_str(), Some(id.clone())),
                Target::Criteria { resource_type, query } => (Some(query.as_str()), resource_type.as_str(), None),
            },
        };
        let types = server.store.types();
        let resource_type = types
            .known(target_type)
            .ok_or_else(|| FhirError::unknown_type(target_type))?;
        let type_id = types
            .id(resource_type)
            .ok_or_else(|| FhirError::unknown_type(resource_type))?;
        let criteria = criteria.map(|query| self.add_criteria(resource_type, query));
        if let Some(id) = &target_id {
            check_id(id)?;
        }
        let (action, id, if_match, if_none_match_any) = match write {
            // Whatever id the client put into a create is not the one it gets.
            Write::Create { resource, .. } => (
                Action::Create(resource),
                Some(server.ids.next().to_string()),
                None,
                false,
            ),
            Write::Update {
                target,
                resource,
                if_match,
                if_none_match_any,
            } => {
                let id = check_identity(&target, &resource)?;
                (Action::Update(resource), id, if_match, if_none_match_any)
            }
            Write::Patch { patch, if_match, .. } => (Action::Patch(patch), target_id.clone(), if_match, false),
            Write::Delete { if_match, .. } => (Action::Delete, target_id.clone(), if_match, false),
        };
        let content = match &action {
            Action::Create(resource) | Action::Update(resource) => Some(resource),
            Action::Patch(_) | Action::Delete => None,
        };
        if let Some(resource) = content {
            check_content(server, resource)?;
        }
        let may_hold_conditional = match &action {
            Action::Patch(_) => true,
            _ => content.is_some_and(references::may_hold_conditional),
        };
        self.is_plain &= matches!(action, Action::Create(_))
            && criteria.is_none()
            && !may_hold_conditional
            && !server.hooks.concern(resource_type);
        let base = full_url.as_deref().and_then(references::base_of).map(str::to_owned);
        let is_own = |base: &str| base.strip_suffix('/') == Some(&server.settings.base_url);
        let base = base.filter(|base| !is_own(base));
        let identity = id.clone().filter(|_| criteria.is_none());
        self.add_link(server, op, full_url, resource_type, identity)?;
        self.steps.push(Step {
            op,
            resource_type,
            type_id,
            action,
            id,
            criteria,
            if_match,
            if_none_match_any,
            base,
            may_hold_conditional,
        });
        Ok(())
    }

    fn check_profiles(&self) -> Result<(), CommitError> {
        for step in &self.steps {
            if let Action::Create(resource) = &step.action {
                check_profiles(resource).at_op(step.op)?;
            }
        }
        Ok(())
    }

    fn add_criteria(&mut self, resource_type: &'static str, query: &str) -> usize {
        let query = query.strip_prefix('?').unwrap_or(query);
        let lock = lock_key(resource_type, query);
        let known = self
            .criteria
            .iter()
            .position(|c| c.lock == lock && c.resource_type == resource_type);
        known.unwrap_or_else(|| {
            self.criteria.push(Criteria {
                lock,
                resource_type,
                query: query.to_owned(),
            });
            self.criteria.len() - 1
        })
    }

    /// Everybody takes locks in the same order.
    fn order_criteria(&mut self) {
        let mut order: Vec<usize> = (0..self.criteria.len()).collect();
        order.sort_by_key(|&index| self.criteria[index].lock);
        for step in &mut self.steps {
            step.criteria = step
                .criteria
                .and_then(|old| order.iter().position(|&index| index == old));
        }
        self.criteria.sort_by_key(|criteria| criteria.lock);
    }

    fn add_link(
        &mut self,
        server: &FhirServer,
        op: usize,
        full_url: Option<String>,
        resource_type: &str,
        id: Option<String>,
    ) -> Result<(), FhirError> {
        let Some(full_url) = full_url else { return Ok(()) };
        match id {
            Some(id) => {
                let own_url = [&server.settings.base_url, "/", resource_type, "/", &id].concat();
                if own_url == full_url {
                    // Links by the address that the resource has anyway stay as they are written.
                    return Ok(());
                }
                self.links.set_identity(op, resource_type, &id);
            }
            None => self.links.has_unknown = true,
        }
        match self.links.names.insert(full_url, op) {
            None => Ok(()),
            Some(_) => Err(FhirError::bad_request(
                "Two entries have the same fullUrl; links to it would be ambiguous.",
            )),
        }
    }

    /// No two ops may meet on one resource: the result would depend on their order.
    fn refuse_overlaps(&self) -> Result<(), CommitError> {
        let mut seen = HashSet::with_capacity(self.steps.len());
        for step in &self.steps {
            if step.criteria.is_none()
                && let Some(id) = &step.id
                && !seen.insert((step.type_id, id.as_str()))
            {
                return Err(overlap(step.resource_type, id)).at_op(step.op);
            }
        }
        Ok(())
    }

    /// Rewrites links to entries whose id is known by now. Doing it again changes nothing, so it need not be undone when
    /// the transaction is tried again.
    fn rewrite_known_links(&mut self, server: &FhirServer) {
        if self.links.is_empty() {
            return;
        }
        let links = &self.links;
        for step in &mut self.steps {
            let base = step.base.as_deref();
            if let Action::Create(resource) | Action::Update(resource) = &mut step.action {
                references::rewrite(server.definitions, resource, &mut |kind, text| {
                    links.resolve(base, kind, text)
                });
            }
        }
    }
}

/// 400 for two ops on one resource.
pub fn overlap(resource_type: &str, id: &str) -> FhirError {
    FhirError::bad_request(format!(
        "Two entries change {resource_type}/{}: in a transaction each resource may be changed once.",
        excerpt(id)
    ))
}

/// # Errors
/// 400 where `resource` is not an object with a `resourceType`.
fn type_of(resource: &Value) -> Result<&str, FhirError> {
    if !resource.is_object() {
        return Err(FhirError::malformed("A resource is a JSON object."));
    }
    resource.get("resourceType").and_then(Value::as_str).ok_or_else(|| {
        FhirError::malformed("The resource has no resourceType, so nothing says what it is.").at("resourceType")
    })
}

/// <https://hl7.org/fhir/R4/datatypes.html#id>
fn check_id(id: &str) -> Result<(), FhirError> {
    let is_id = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if is_id {
        return Ok(());
    }
    Err(FhirError::bad_value(format!(
        "'{}' is not an id: 1 to 64 letters, digits, '-' and '.'.",
        excerpt(id)
    )))
}

/// The id an update is for, if body or URL say one; they must agree.
fn check_identity(target: &Target, resource: &Value) -> Result<Option<String>, FhirError> {
    let found = type_of(resource)?;
    if found != target.resource_type() {
        let text = format!(
            "The URL is of type {}, the resource of type {}.",
            target.resource_type(),
            excerpt(found)
        );
        return Err(FhirError::bad_request(text).at("resourceType"));
    }
    let in_body = resource.get("id").map(|id| id.as_str().unwrap_or_default());
    let expression = || format!("{found}.id");
    match (target, in_body) {
        (Target::Instance { id, .. }, Some(in_body)) if in_body == id => Ok(Some(id.clone())),
        (Target::Instance { id, .. }, Some(in_body)) => {
            let text = format!(
                "The URL is for the id '{}', the resource has '{}'.",
                excerpt(id),
                excerpt(in_body)
            );
            Err(FhirError::bad_request(text).at(expression()))
        }
        (Target::Instance { id, .. }, None) => {
            let text = format!("The resource has no id; an update of '{}' needs it.", excerpt(id));
            Err(FhirError::bad_request(text).at(expression()))
        }
        (Target::Criteria { .. }, Some(in_body)) => {
            check_id(in_body).map_err(|error| error.at(expression()))?;
            Ok(Some(in_body.to_owned()))
        }
        (Target::Criteria { .. }, None) => Ok(None),
    }
}

/// Validates a resource as the client sent it, or as a patch or a guard left it.
///
/// # Errors
/// 422 with one issue per finding.
pub fn check_content(server: &FhirServer, resource: &Value) -> Result<(), FhirError> {
    refuse(server.validator.validate(resource))
}

/// Validates a resource that may have the mark of an object in the place of its content.
///
/// # Errors
/// As for [`check_content`].
pub fn check_marked(server: &FhirServer, resource: &Value) -> Result<(), FhirError> {
    if resource["resourceType"] != BINARY || content::marked(resource).is_none() {
        return check_content(server, resource);
    }
    let mut bare = resource.clone();
    content::without_data(&mut bare);
    check_content(server, &bare)
}

/// Holds a valid resource, as it is going to be stored, against those of MedConsult's profiles that it claims.
///
/// # Errors
/// 422 with one issue per finding.
pub fn check_profiles(resource: &Value) -> Result<(), FhirError> {
    refuse(Package::medconsult().check(resource))
}

/// # Errors
/// 422 with one issue per finding, if there are any.
pub fn refuse(findings: Vec<Finding>) -> Result<(), FhirError> {
    if findings.is_empty() {
        return Ok(());
    }
    let issues = findings.into_iter().map(issue).collect();
    Err(FhirError::with_issues(
        axum::http::StatusCode::UNPROCESSABLE_ENTITY,
        issues,
    ))
}

fn issue(finding: Finding) -> Issue {
    let code = match finding.code {
        FindingCode::Structure => IssueType::Structure,
        FindingCode::Required => IssueType::Required,
        FindingCode::Value => IssueType::Value,
        FindingCode::CodeInvalid => IssueType::CodeInvalid,
        FindingCode::Invariant => IssueType::Invariant,
    };
    Issue::error(code, finding.message).at(finding.expression)
}

/// A number that is the same for all ways to write the same criteria, in every version of this program.
fn lock_key(resource_type: &str, query: &str) -> i64 {
    let mut pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    pairs.sort();
    let mut hash = Sha256::new();
    hash.update(resource_type);
    for (name, value) in pairs {
        // Names and values hold no NUL in any query that can match.
        for part in [name, value] {
            hash.update([0]);
            hash.update(part.as_bytes());
        }
    }
    hash.finalize()
        .iter()
        .take(8)
        .fold(0, |key, byte| key << 8 | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criteria_share_a_lock_however_they_are_written() {
        let key = lock_key("Patient", "identifier=a%7Cb&name=x");
        assert_eq!(key, lock_key("Patient", "name=x&identifier=a|b"));
        assert_ne!(key, lock_key("Person", "name=x&identifier=a|b"));
        assert_ne!(lock_key("Patient", "a=bc"), lock_key("Patient", "ab=c"));
    }

    #[test]
    fn ids_are_what_the_specification_says() {
        assert!(check_id("A-1.b").is_ok());
        for bad in ["", "a_b", "a/b", "ä", &"x".repeat(65)] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn links_resolve_by_name_and_by_base() {
        let mut links = LinkTable::default();
        links.names.insert("http://old.example/fhir/Patient/1".to_owned(), 0);
        links.names.insert("urn:uuid:x".to_owned(), 1);
        links.set_identity(0, "Patient", "new");
        let base = Some("http://old.example/fhir/");
        assert_eq!(
            links.resolve(base, LinkKind::Reference, "Patient/1").as_deref(),
            Some("Patient/new")
        );
        assert_eq!(links.resolve(base, LinkKind::Uri, "Patient/1"), None);
        assert_eq!(links.resolve(None, LinkKind::Reference, "Patient/1"), None);
        let absolute = "http://old.example/fhir/Patient/1#part";
        assert_eq!(
            links.resolve(None, LinkKind::Uri, absolute).as_deref(),
            Some("Patient/new#part")
        );
        assert_eq!(
            links.resolve(None, LinkKind::Reference, "urn:uuid:x"),
            None,
            "its id is not known yet"
        );
    }
}
