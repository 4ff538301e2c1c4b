//! Spans of requests, calls and records, for the logs and, where one is configured, for a collector
//! of traces.
//!
//! Each incoming request, outgoing call and processed record has one span. W3C trace context links
//! them: `traceparent` is read from incoming messages, and names the innermost span in outgoing
//! ones. Without a collector the process creates no ids of its own, and the headers stay
//! unchanged.

use std::collections::HashMap;
use std::future::Future;

use axum::http::{HeaderMap, Method, StatusCode};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::field::Empty;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::RequestId;
use crate::trace::TRACEPARENT;

/// Probe and metrics routes; their requests are not traced.
const PROBES: [&str; 4] = ["/health", "/health/live", "/health/ready", "/metrics"];

/// Returns the span of a request, and writes it into the request's headers as the parent.
pub(crate) fn of_request(
    service: &str,
    method: &Method,
    route: &str,
    id: &RequestId,
    headers: &mut HeaderMap,
) -> Span {
    if PROBES.contains(&route) {
        return Span::none();
    }

    let span = tracing::info_span!(
        "request",
        service,
        http.request.method = %method,
        http.route = route,
        request_id = id.as_str(),
        otel.kind = "server",
        otel.name = format!("{method} {route}"),
        http.response.status_code = Empty,
        otel.status_code = Empty,
    );
    continue_trace(&span, &HeaderExtractor(headers));
    name_as_parent(&span, headers);

    span
}

/// Returns the span of a record of `topic` that a service processes, in the trace that its
/// `traceparent` names.
pub fn of_record(service: &str, topic: &str, traceparent: Option<&[u8]>) -> Span {
    let span = tracing::info_span!(
        "record",
        service,
        messaging.system = "kafka",
        messaging.destination.name = topic,
        otel.kind = "consumer",
        otel.name = format!("process {topic}"),
    );

    if let Some(Ok(parent)) = traceparent.map(str::from_utf8) {
        continue_trace(
            &span,
            &HashMap::from([(TRACEPARENT.to_owned(), parent.to_owned())]),
        );
    }

    span
}

/// The span of a call to another service that is not yet answered.
#[derive(Debug)]
pub struct Call(Span);

impl Call {
    /// Begins a call to the service at this address, and writes the span into the call's headers as
    /// the parent.
    pub fn begin(address: &str, method: &Method, headers: &mut HeaderMap) -> Self {
        let span = tracing::info_span!(
            "call",
            http.request.method = %method,
            server.address = address,
            otel.kind = "client",
            otel.name = format!("{method} {address}"),
            http.response.status_code = Empty,
            otel.status_code = Empty,
        );
        name_as_parent(&span, headers);

        Self(span)
    }

    /// Waits for the answer; `status` returns its status.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn answered<A, E>(
        self,
        answer: impl Future<Output = Result<A, E>>,
        status: impl FnOnce(&A) -> StatusCode,
    ) -> Result<A, E> {
        let answer = answer.instrument(self.0.clone()).await;
        match &answer {
            Ok(answer) => note_status(&self.0, status(answer)),
            Err(_) => note_failure(&self.0),
        }
        answer
    }
}

/// Records the status of the reply in the span.
pub(crate) fn note_status(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        note_failure(span);
    }
}

fn note_failure(span: &Span) {
    span.record("otel.status_code", "ERROR");
}

fn continue_trace(span: &Span, carrier: &dyn Extractor) {
    if !span.is_disabled() {
        let parent = TraceContextPropagator::new().extract(carrier);
        // `set_parent` fails without a collector: then there is no trace to continue.
        let _is_traced = span.set_parent(parent).is_ok();
    }
}

fn name_as_parent(span: &Span, headers: &mut HeaderMap) {
    if !span.is_disabled() {
        TraceContextPropagator::new().inject_context(&span.context(), &mut HeaderInjector(headers));
    }
}
