//! A request makes one trace, with a span of each service that it passes. The spans have the right parents.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;

use crate::platform::{Platform, wait_until};
use crate::shop::Answer;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// The client's own span.
const PARENT: &str = "00f067aa0ba902b7";

/// A collector that keeps the spans that it receives, until the test ends.
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    fn start() -> Self {
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let kept = Arc::clone(&spans);
        let keep = post(async move |body: Bytes| {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            let scopes = request
                .resource_spans
                .into_iter()
                .flat_map(|of_resource| of_resource.scope_spans);

            kept.lock()
                .unwrap()
                .extend(scopes.flat_map(|of_scope| of_scope.spans));
        });

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();

        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().route("/v1/traces", keep);
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });

        Self {
            url,
            spans,
            _runtime: runtime,
        }
    }

    /// Waits for the span of this name, and returns it with all its ancestors.
    fn lineage(&self, service: &str, name: &str) -> Vec<Span> {
        let mut lineage = Vec::new();
        wait_until(
            &format!("{service} has a span {name} within the client's"),
            || {
                let spans = self.spans.lock().unwrap();
                let of_trace: Vec<&Span> = spans
                    .iter()
                    .filter(|span| hex(&span.trace_id) == TRACE)
                    .collect();

                let last = of_trace
                    .iter()
                    .find(|span| span.name == name && attribute(span, "service") == service);

                let up = |span: &&Span| {
                    of_trace
                        .iter()
                        .find(|other| other.span_id == span.parent_span_id)
                        .copied()
                };
                lineage = std::iter::successors(last.copied(), up).cloned().collect();

                lineage
                    .last()
                    .is_some_and(|first| hex(&first.parent_span_id) == PARENT)
            },
        );

        lineage
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute<'a>(span: &'a Span, name: &str) -> &'a str {
    let value = span
        .attributes
        .iter()
        .find(|attribute| attribute.key == name)
        .and_then(|it| it.value.as_ref());

    match value.and_then(|value| value.value.as_ref()) {
        Some(StringValue(text)) => text,
        _ => "",
    }
}

#[test]
fn an_order_is_one_trace_through_gateway_orders_products_and_notifications() {
    let collector = Collector::start();
    let platform = Platform::start(&["--ephemeral", "--otlp-endpoint", &collector.url]);
    platform.wait_until_healthy();

    let (_, user) = platform.post(
        "/api/users",
        &json!({"name": "Ada", "email": "ada@test.com"}),
    );

    let (_, lamp) = platform.post(
        "/api/products",
        &json!({"name": "Lamp", "price_cents": 1999, "stock": 5}),
    );
    let order =
        json!({"user_id": user["id"], "items": [{"product_id": lamp["id"], "quantity": 1}]});

    let request = platform
        .client
        .post(platform.url("/api/orders"))
        .json(&order);
    Answer::to(request.header("traceparent", format!("00-{TRACE}-{PARENT}-01"))).expect(201);

    let call = |part: &str| {
        format!(
            "POST {}",
            platform.url_of(part).trim_start_matches("http://")
        )
    };

    let names = |spans: &[Span]| {
        spans
            .iter()
            .map(|span| span.name.clone())
            .collect::<Vec<_>>()
    };

    let reserved = collector.lineage("products", "POST /products/reservations");
    let way = [
        "POST /products/reservations",
        &call("products"),
        "POST /orders",
        &call("orders"),
        "POST /api/orders",
    ];
    assert_eq!(names(&reserved), way);
    assert_eq!(attribute(&reserved[2], "service"), "orders");
    assert_eq!(attribute(&reserved[4], "service"), "gateway");

    let told = collector.lineage("notifications", "process orders");
    assert_eq!(
        names(&told),
        [
            "process orders",
            "POST /orders",
            &call("orders"),
            "POST /api/orders"
        ]
    );

    assert!(
        collector
            .spans
            .lock()
            .unwrap()
            .iter()
            .all(|span| !span.name.contains("/health")),
        "probes are not traced"
    );
}
