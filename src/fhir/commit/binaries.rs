//! What Binaries hold, on its way out of the resources of a commit: each `data` becomes the mark of an object
//! ([`content`](crate::fhir::content)) before the transaction begins, since it takes a network.
//!
//! A patch is only known inside of the transaction, together with what it is applied to. Where it is about a Binary, the
//! transaction ends, what it needs is fetched or put away, and it begins anew.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::PgConnection;

use super::prepare::{Action, LinkTable, Prepared, Step, check_content};
use super::resolve::Found;
use super::transaction::Pending;
use super::{AtOp, CommitError, Stop};
use crate::base::objects::{self, ObjectId};
use crate::fhir::content::{self, Held};
use crate::fhir::error::FhirError;
use crate::fhir::server::FhirServer;

/// A type that content is taken out of.
pub(super) const BINARY: &str = "Binary";

/// What is known of the content of a commit's Binaries.
#[derive(Default)]
pub(super) struct Contents {
    /// By the op that wrote it: content that came as bytes and is in the store already.
    pub placed: HashMap<usize, ObjectId>,
    /// Content that a patch is applied to, as base64; `None` where it is too long to be patched.
    unfolded: HashMap<ObjectId, Option<String>>,
    /// What patches made, by op and as base64, and where it lies now.
    patched: HashMap<(usize, String), Held>,
}

/// What a transaction lacks.
pub(super) enum Need {
    /// The content of this object.
    Content(Held),
    /// An object for the content of this Binary, of this op.
    Object(usize, Value),
}

impl Prepared {
    /// Puts the content of new Binaries into the store, and its mark in its place.
    ///
    /// # Errors
    /// What an intake refuses, and 503 when the store is away or full.
    pub(super) async fn put_away(&mut self, server: &FhirServer) -> Result<(), CommitError> {
        for step in self.steps.iter_mut().filter(|step| step.resource_type == BINARY) {
            let (Action::Create(binary) | Action::Update(binary)) = &mut step.action else {
                continue;
            };
            let data = content::without_data(binary);
            let held = match (self.contents.placed.get(&step.op), data) {
                (Some(id), _) => Held::of_bytes(*id),
                (None, Some(Value::String(text))) => {
                    let bytes = content::decode(&text).at_op(step.op)?;
                    let mut envelope = binary.clone();
                    hide_unknown(&self.links, step.base.as_deref(), &mut envelope);
                    let id = content::place_bytes(server, &envelope, bytes).await.at_op(step.op)?;
                    Held::of_text(id, &text)
                }
                (None, _) => continue,
            };
            binary["data"] = held.mark();
            self.is_plain = false;
        }
        Ok(())
    }

    /// Fetches and puts away what a transaction lacked.
    ///
    /// # Errors
    /// As for [`Prepared::put_away`].
    pub(super) async fn meet(&mut self, server: &FhirServer, needs: Vec<Need>) -> Result<(), CommitError> {
        for need in needs {
            match need {
                Need::Content(held) => {
                    let text = content::base64(server, held, content::INLINE).await?;
                    self.contents.unfolded.insert(held.id, text);
                }
                Need::Object(op, mut binary) => {
                    let Some(Value::String(text)) = content::without_data(&mut binary) else {
                        continue;
                    };
                    let bytes = content::decode(&text).at_op(op)?;
                    let id = content::place_bytes(server, &binary, bytes).await.at_op(op)?;
                    let held = Held::of_text(id, &text);
                    self.contents.patched.insert((op, text), held);
                }
            }
        }
        Ok(())
    }

    /// Asks for the content that patches are applied to.
    pub(super) fn unfold_patched(&self, found: &Found) -> Result<(), Stop> {
        let patches = |step: &&Step| step.resource_type == BINARY && matches!(step.action, Action::Patch(_));
        let objects = self.steps.iter().filter(patches).filter_map(|step| {
            let row = found.row(step)?;
            row.stored
                .content
                .filter(|held| !self.contents.unfolded.contains_key(&held.id))
        });
        let needs: Vec<Need> = objects.map(Need::Content).collect();
        match needs.is_empty() {
            true => Ok(()),
            false => Err(Stop::Lacking(needs)),
        }
    }
}

impl Contents {
    /// A Binary with its content in the place of the mark, for a patch.
    pub fn unfold(&self, binary: &mut Value) {
        let text = content::marked(binary).and_then(|held| self.unfolded.get(&held.id)?.clone());
        if let Some(text) = text {
            binary["data"] = Value::String(text);
        }
    }

    /// The reverse, after the patches: asks for objects for what they made.
    pub fn fold(&self, server: &FhirServer, links: &LinkTable, pending: &mut [Pending]) -> Result<(), Stop> {
        let mut needs = Vec::new();
        for p in pending.iter_mut().filter(|p| p.is_patched_binary()) {
            let before = p.before.as_ref().and_then(content::marked);
            let Some(after) = &mut p.after else { continue };
            let Some(text) = after.get("data").and_then(Value::as_str) else {
                continue;
            };
            let unfolded = before.and_then(|held| self.unfolded.get(&held.id)?.as_deref());
            if before.is_some() && content::marked(after) == before && unfolded.is_none() {
                // Too long to be patched, and as it was.
                continue;
            }
            let object = match before.filter(|_| unfolded == Some(text)) {
                Some(held) => Some(held),
                None => self.patched.get(&(p.op, text.to_owned())).copied(),
            };
            match object {
                Some(held) => after["data"] = held.mark(),
                None => {
                    // As any content that a client sends; here no mark is let through.
                    check_content(server, after).at_op(p.op)?;
                    let mut binary = after.clone();
                    hide_unknown(links, p.base.as_deref(), &mut binary);
                    needs.push(Need::Object(p.op, binary));
                }
            }
        }
        match needs.is_empty() {
            true => Ok(()),
            false => Err(Stop::Lacking(needs)),
        }
    }
}

/// Makes the securityContext of a Binary, for the intakes, one of which nothing is known, where it is a link to an entry whose id and
/// type are not known yet, however it is written.
fn hide_unknown(links: &LinkTable, base: Option<&str>, binary: &mut Value) {
    let context = binary.pointer("/securityContext/reference").and_then(Value::as_str);
    if context.is_some_and(|context| links.awaits(base, context)) {
        binary["securityContext"]["reference"] = Value::from("urn:unknown");
    }
}

/// Lets Binaries that hold what they held before name the object that they named before, so that they count as unchanged.
pub(super) async fn recognise(transaction: &mut PgConnection, pending: &mut [Pending]) -> Result<(), Stop> {
    for p in pending {
        let (Some(before), Some(after)) = (&p.before, &mut p.after) else {
            continue;
        };
        let (Some(old), Some(new)) = (content::marked(before), content::marked(after)) else {
            continue;
        };
        if old.id == new.id {
            continue;
        }
        let is_same = match objects::facts(transaction, old.id).await {
            Ok(facts) => facts == objects::facts(transaction, new.id).await.map_err(FhirError::from)?,
            Err(objects::ObjectError::Erased) => false,
            Err(error) => return Err(FhirError::from(error).into()),
        };
        if is_same {
            after["data"] = Held { id: old.id, ..new }.mark();
        }
    }
    Ok(())
}

/// Keeps the objects that new versions name for good.
pub(super) async fn keep(connection: &mut PgConnection, pending: &[Pending]) -> Result<(), Stop> {
    let named = pending.iter().filter(|p| p.resource_type == BINARY).filter_map(|p| {
        let id = p.after.as_ref().and_then(content::marked)?.id;
        // What the version before names is kept, or was erased since.
        let before = p.before.as_ref().and_then(content::marked);
        before.is_none_or(|before| before.id != id).then_some(id)
    });
    let named: Vec<ObjectId> = named.collect();
    if named.is_empty() {
        return Ok(());
    }
    objects::keep(connection, &named).await.map_err(FhirError::from)?;
    Ok(())
}
