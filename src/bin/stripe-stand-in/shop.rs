//! What there is: objects by their kinds, in the order of their making, and what was said about them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use medconsult::base::Clock;
use medconsult::base::crypto::random_bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::answer::Fault;

/// A kind of object: its name, what its ids begin with, and what its address is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Kind {
    pub name: &'static str,
    pub prefix: &'static str,
    pub url: &'static str,
}

pub const SESSIONS: Kind = Kind {
    name: "checkout.session",
    prefix: "cs_test_",
    url: "/v1/checkout/sessions",
};
pub const INTENTS: Kind = Kind {
    name: "payment_intent",
    prefix: "pi_",
    url: "/v1/payment_intents",
};
pub const REFUNDS: Kind = Kind {
    name: "refund",
    prefix: "re_",
    url: "/v1/refunds",
};
pub const PRODUCTS: Kind = Kind {
    name: "product",
    prefix: "prod_",
    url: "/v1/products",
};
pub const PRICES: Kind = Kind {
    name: "price",
    prefix: "price_",
    url: "/v1/prices",
};
pub const EVENTS: Kind = Kind {
    name: "event",
    prefix: "evt_",
    url: "/v1/events",
};

/// What a key was used for, and what came of it.
pub struct Kept {
    pub request: String,
    pub status: StatusCode,
    pub body: Value,
}

/// Everything, behind one lock.
pub struct Shop {
    clock: Clock,
    /// Where the stand-in is, without a slash at the end.
    pub address: String,
    objects: HashMap<Kind, Vec<Value>>,
    /// Lines of sessions, by their ids.
    pub lines: HashMap<String, Vec<Value>>,
    /// What the payments of sessions are to be like, by their ids.
    pub intended: HashMap<String, Value>,
    /// Numbers of cards, by the payments that they made.
    pub cards: HashMap<String, String>,
    pub kept: HashMap<String, Kept>,
    events: UnboundedSender<Value>,
}

/// The shop, and the key to it.
pub struct Desk {
    shop: Mutex<Shop>,
    pub secret_key: String,
}

impl Desk {
    pub fn new(shop: Shop, secret_key: String) -> Desk {
        Desk {
            shop: Mutex::new(shop),
            secret_key,
        }
    }

    pub fn shop(&self) -> MutexGuard<'_, Shop> {
        self.shop.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shop {
    pub fn new(clock: Clock, address: &str, events: UnboundedSender<Value>) -> Shop {
        Shop {
            clock,
            address: address.to_owned(),
            objects: HashMap::new(),
            lines: HashMap::new(),
            intended: HashMap::new(),
            cards: HashMap::new(),
            kept: HashMap::new(),
            events,
        }
    }

    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        self.clock.now().as_second()
    }

    pub fn all(&self, kind: Kind) -> &[Value] {
        self.objects.get(&kind).map_or(&[], Vec::as_slice)
    }

    pub fn get(&self, kind: Kind, id: &str) -> Result<&Value, Fault> {
        let mut all = self.all(kind).iter();
        all.find(|object| object["id"] == id)
            .ok_or_else(|| Fault::missing(kind.name, id))
    }

    pub fn get_mut(&mut self, kind: Kind, id: &str) -> Result<&mut Value, Fault> {
        let mut all = self.objects.get_mut(&kind).into_iter().flatten();
        all.find(|object| object["id"] == id)
            .ok_or_else(|| Fault::missing(kind.name, id))
    }

    /// Makes an object out of its members: it gets an id, a kind and a time.
    pub fn add(&mut self, kind: Kind, mut object: Value) -> Value {
        object["id"] = json!(new_id(kind.prefix));
        object["object"] = json!(kind.name);
        object["created"] = json!(self.now());
        self.objects.entry(kind).or_default().push(object.clone());
        object
    }

    /// Says that something has happened to an object.
    pub fn tell(&mut self, name: &str, object: &Value) {
        let event = json!({
            "api_version": stripe_version(),
            "data": {"object": object},
            "livemode": false,
            "pending_webhooks": 1,
            "request": {"id": null, "idempotency_key": null},
            "type": name
        });
        let event = self.add(EVENTS, event);
        // Nobody listens when the stand-in stops.
        let _ = self.events.send(event);
    }
}

/// The version of the API that async-stripe speaks.
fn stripe_version() -> &'static str {
    "2026-09-30.endive"
}

/// An id that was never given before.
pub fn new_id(prefix: &str) -> String {
    let digits: String = random_bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}{digits}")
}
