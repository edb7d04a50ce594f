//! Random writes, and whether they were rightly done or refused.

use std::fmt;

use fastrand::Rng;
use serde_json::{Value, json};

use super::callers::{Asker, Policy};
use super::naive::Naive;
use super::world::{World, content, letter, types};

/// A request to change something.
#[derive(Clone, Debug)]
pub enum Write {
    Post(&'static str, Value),
    Put(&'static str, String, Value),
    Delete(&'static str, String),
}

/// What a write left behind.
pub struct Done {
    pub world: World,
    /// A resource under an id that the world does not know, to be removed.
    pub stray: Option<(String, String)>,
}

impl Write {
    pub fn random(rng: &mut Rng, world: &World) -> Write {
        let version = &world.versions[rng.usize(0..world.versions.len())];
        let (resource_type, id) = (version.resource_type, version.id.clone());
        let types = types();
        match rng.u8(0..6) {
            0..=1 => {
                let ty = types[rng.usize(0..types.len())];
                Write::Post(ty, content(rng, ty, "new"))
            }
            2 => {
                let ty = types[rng.usize(0..types.len())];
                let id = letter(ty) + "99";
                let content = content(rng, ty, &id);
                Write::Put(ty, id, content)
            }
            3 => Write::Delete(resource_type, id),
            _ => {
                let content = content(rng, resource_type, &id);
                Write::Put(resource_type, id, content)
            }
        }
    }

    pub fn to_entry(&self) -> Value {
        match self {
            Write::Post(ty, content) => json!({"request": {"method": "POST", "url": ty}, "resource": content}),
            Write::Put(ty, id, content) => {
                json!({"request": {"method": "PUT", "url": format!("{ty}/{id}")}, "resource": content})
            }
            Write::Delete(ty, id) => json!({"request": {"method": "DELETE", "url": format!("{ty}/{id}")}}),
        }
    }

    /// The world after it, `None` if it was rightly refused.
    ///
    /// # Errors
    /// What is wrong with the answer.
    pub fn outcome(
        &self,
        world: &World,
        asker: &Asker,
        policy: &Policy,
        answer: &Value,
    ) -> Result<Option<Done>, String> {
        let naive = Naive::new(world, asker, policy);
        let (method, ty, id, content) = match self {
            Write::Post(ty, content) => ('c', *ty, "new", Some(content)),
            Write::Put(ty, id, content) => ('u', *ty, id.as_str(), Some(content)),
            Write::Delete(ty, id) => ('d', *ty, id.as_str(), None),
        };
        let current = world.current(ty, id);
        let before = current.and_then(|version| world.judged_by(version));
        let is_gone = current.is_none_or(|version| version.content.is_none());
        let after = match (self, is_gone) {
            (Write::Delete(..), true) => world.clone(),
            _ => world.with(ty, id, content.cloned()),
        };
        let may = naive.may_write(method, before, content, &naive.after(&after, (ty, id)));
        let status = answer["response"]["status"].as_str().unwrap_or_default();
        let is_done = status.starts_with('2');
        if may != is_done {
            let told = if may { "refused" } else { "done" };
            return Err(format!("{told} with {status}, behind {:?}: {answer}", naive.holders));
        }
        if !is_done {
            return match answer["resource"].is_null() {
                true => Ok(None),
                false => Err(format!("a refusal shows {}", answer["resource"])),
            };
        }
        let shows = answer["resource"]["resourceType"] == ty;
        let may_read = content.is_some_and(|content| naive.after(&after, ("", "")).may('r', content));
        if shows && !may_read {
            return Err(format!("the answer shows what may not be read: {answer}"));
        }
        Ok(Some(match self {
            Write::Post(..) => {
                let location = answer["response"]["location"].as_str().unwrap_or_default();
                let mut parts = location.rsplit('/').skip(2);
                let (id, ty) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                Done {
                    world: world.clone(),
                    stray: Some((ty.to_owned(), id.to_owned())),
                }
            }
            Write::Put(..) | Write::Delete(..) => Done {
                world: after,
                stray: None,
            },
        }))
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_entry().fmt(f)
    }
}
