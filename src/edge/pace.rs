//! How many requests somebody may send; what is counted and how is told in [`limits`](crate::base::limits).

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::Refuse;
use crate::base::address::{ClientAddress, household};
use crate::base::limits::{Counted, Exceeded, Limits};
use crate::fhir::caller::Caller;

/// What is counted in front of a group of routes, and how they refuse.
#[derive(Clone)]
pub struct Gate {
    pub limits: Limits,
    /// All that an address sends there.
    pub counted: &'static [Counted],
    pub refuse: Refuse<Exceeded>,
}

/// Counts a request by the address of its client, before anything is done for it.
pub async fn by_address(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    if let Some(ClientAddress(address)) = request.extensions().get() {
        let address = household(*address).to_string();
        for counted in gate.counted {
            if let Err(exceeded) = gate.limits.count(*counted, &address).await {
                return refused(&gate, exceeded);
            }
        }
    }
    next.run(request).await
}

/// Counts a request by the application and the person in whose name it comes, once they are known.
pub async fn by_caller(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let granted = request.extensions().get::<Caller>().and_then(Caller::grant);
    if let Some(granted) = granted {
        let mut counted = gate.limits.count(Counted::Client, &granted.client).await;
        if let (Ok(()), Some(account)) = (counted, &granted.account) {
            counted = gate.limits.count(Counted::User, account).await;
        }
        if let Err(exceeded) = counted {
            return refused(&gate, exceeded);
        }
    }
    next.run(request).await
}

fn refused(gate: &Gate, exceeded: Exceeded) -> Response {
    let mut response = (gate.refuse)(exceeded);
    let seconds = HeaderValue::from(exceeded.retry_after);
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}
