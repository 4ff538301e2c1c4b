//! Spans: what is told of a request while it is worked on, to the logs and, where one is named, to a collector of traces.
//!
//! A request that comes in, a call that goes out and a record that is dealt with have one each. They find each other by
//! W3C trace context: `traceparent` is read where something comes in, and names the innermost span wherever something goes
//! out. Without a collector there are no ids of our own, and the headers stay as they came.

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

/// What asks all the time, and is of interest to nobody.
const PROBES: [&str; 4] = ["/health", "/health/live", "/health/ready", "/metrics"];

/// The span of a request; from here on the request's headers name it as the parent.
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

/// The span of a record of `topic` that a service deals with, in the trace that its `traceparent` names.
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

/// A call to another service, begun and not yet answered.
#[derive(Debug)]
pub struct Call(Span);

impl Call {
    /// Begins a call to the service at this address; the headers it is made with name it as the parent.
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

    /// Waits for the answer, of which `status` knows the status.
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

/// Says of a span how the request or call was answered.
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
        // Refused where no collector is named: then there is no trace to continue.
        let _is_traced = span.set_parent(parent).is_ok();
    }
}

fn name_as_parent(span: &Span, headers: &mut HeaderMap) {
    if !span.is_disabled() {
        TraceContextPropagator::new().inject_context(&span.context(), &mut HeaderInjector(headers));
    }
}
