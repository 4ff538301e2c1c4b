//! Reads the rest of a request's body that its handler left unread, within limits, and discards it.
//!
//! A handler may answer without having read the body: a request without a token is refused at once.
//! A connection that is closed with unread data is reset, and the reset may overtake the answer. A
//! proxy would then see a broken connection instead of a refusal, and count it as a failure of the
//! service.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

/// Largest number of bytes that are discarded; larger than any body that a handler accepts.
const MOST_BYTES: usize = 128 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// A request's body that is read to its end, even if its handler does not do so.
pub(crate) struct Leftover(Option<Incoming>);

impl Leftover {
    pub(crate) fn of(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Body for Leftover {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.0
            .as_mut()
            .map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        let left = self.0.take().filter(|body| !body.is_end_stream());
        // If there is no runtime, the process is ending, and so is the connection.
        if let (Some(body), Ok(runtime)) = (left, Handle::try_current()) {
            runtime.spawn(async { tokio::time::timeout(PATIENCE, read(body)).await });
        }
    }
}

async fn read(mut body: Incoming) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > MOST_BYTES {
            break;
        }
    }
}
