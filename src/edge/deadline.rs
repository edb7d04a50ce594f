//! How long a form may take to arrive. Handlers that read forms bound their length themselves; that of FHIR's bodies and the
//! time for them are bounded where these are read ([`body`](crate::fhir::http::body)).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::Refuse;

/// How long, and how a group of routes says that it is over.
#[derive(Clone, Copy)]
pub struct Deadline {
    pub patience: Duration,
    pub refuse: Refuse<()>,
}

/// Ends a body that has not arrived in time. Whatever the handler makes of that, the client is told that it was too slow.
pub async fn enforce(State(deadline): State<Deadline>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let was_late = Arc::<AtomicBool>::default();
    let request = request.map(|body| {
        Body::new(TimedBody {
            body,
            deadline: Box::pin(sleep(deadline.patience)),
            was_late: was_late.clone(),
        })
    });
    let response = next.run(request).await;
    match was_late.load(Ordering::Relaxed) {
        true => (deadline.refuse)(()),
        false => response,
    }
}

/// A body that fails at an instant.
struct TimedBody {
    body: Body,
    deadline: Pin<Box<Sleep>>,
    was_late: Arc<AtomicBool>,
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() {
            return frame;
        }
        if self.deadline.as_mut().poll(cx).is_ready() {
            self.was_late.store(true, Ordering::Relaxed);
            let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
            return Poll::Ready(Some(Err(axum::Error::new(late))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
