//! Bodies: a request's is read whole within limits, an answer's is relayed piece by piece.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use chassis::{Problem, Shutdown};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep, timeout};

/// The limits of a request's body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Largest size.
    pub(crate) bytes: usize,
    /// Longest time to arrive.
    pub(crate) time: Duration,
}

/// Reads the body of a request.
///
/// # Errors
/// 413 when it is larger than allowed, 408 when it takes too long, 400 when it ends early.
pub(super) async fn read(body: Body, limits: Limits) -> Result<Bytes, Problem> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > limits.bytes as u64 {
        return Err(too_large(limits));
    }

    match timeout(limits.time, Limited::new(body, limits.bytes).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limits)),
        Ok(Err(_)) => Err(Problem::bad_request("the body ended early")),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body took too long to arrive",
        )),
    }
}

fn too_large(limits: Limits) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is larger than {} bytes", limits.bytes),
    )
}

/// The body of an answer on its way to the client. It holds its slot at the upstream until it ends
/// or is dropped.
pub(super) struct Relay {
    body: Incoming,
    end: End,
    _place: OwnedSemaphorePermit,
}

/// The condition that ends a body early.
enum End {
    /// The upstream sends nothing for this time. The timer is set when the body has no data ready.
    Silence {
        limit: Duration,
        alarm: Option<Pin<Box<Sleep>>>,
    },
    /// The gateway's shutdown, for streams without an end.
    Shutdown(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// The error if the upstream sends nothing for too long within the body of its answer.
#[derive(Debug, thiserror::Error)]
#[error("the upstream stopped sending in the middle of its answer")]
struct Silent;

impl Relay {
    /// Returns the relay of a body with an end; `limit` is the longest silence.
    pub(super) fn finite(body: Incoming, limit: Duration, place: OwnedSemaphorePermit) -> Self {
        Self {
            body,
            end: End::Silence { limit, alarm: None },
            _place: place,
        }
    }

    /// Returns the relay of an event stream, which lasts until the client, the upstream or the
    /// gateway ends it.
    pub(super) fn endless(body: Incoming, shutdown: Shutdown, place: OwnedSemaphorePermit) -> Self {
        let requested = Box::pin(async move { shutdown.requested().await });
        Self {
            body,
            end: End::Shutdown(requested),
            _place: place,
        }
    }
}

impl HttpBody for Relay {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.end.put_off();
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        self.end
            .poll_reached(context)
            .map(|outcome| outcome.err().map(|silent| Err(silent.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl End {
    /// Resets the timer: the upstream sent something.
    fn put_off(&mut self) {
        if let Self::Silence {
            limit,
            alarm: Some(alarm),
        } = self
        {
            alarm.as_mut().reset(Instant::now() + *limit);
        }
    }

    fn poll_reached(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Silent>> {
        match self {
            Self::Silence { limit, alarm } => {
                let alarm = alarm.get_or_insert_with(|| Box::pin(sleep(*limit)));
                alarm.as_mut().poll(context).map(|()| Err(Silent))
            }
            Self::Shutdown(requested) => requested.as_mut().poll(context).map(Ok),
        }
    }
}
