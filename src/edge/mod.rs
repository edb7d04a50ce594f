//! What stands between the network and the rooms, around every request: from whom it comes, how many of these may come, which
//! web pages may read the answer, and what every answer tells browsers to refrain from. The router says which routes have what.
//!
//! | file | concern |
//! |---|---|
//! | [`headers`] | who sent a request, and the headers of every answer |
//! | [`cors`] | which web pages may read from this server |
//! | [`pace`] | how many requests somebody may send |
//! | [`deadline`] | how long a form may take to arrive |
//! | [`host`] | under which names a sandbox is reached |
//!
//! Connections, heads of requests and TLS are bounded before, in [`base::listen`](crate::base::listen).

pub mod cors;
pub mod deadline;
pub mod headers;
pub mod host;
pub mod pace;

use axum::response::Response;

/// How a group of routes says no, in the form that its clients read.
pub type Refuse<T> = fn(T) -> Response;
