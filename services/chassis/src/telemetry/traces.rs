//! Traces: spans go to an OpenTelemetry collector, by OTLP over HTTP.
//!
//! A thread of the exporter collects them in batches of bounded size and number, and the runtime
//! sends them. A span is dropped if the queue is full, and a batch is dropped if the collector
//! rejects it: traced code never waits. OpenTelemetry's variables (`OTEL_TRACES_SAMPLER`,
//! `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_…`) control the rest.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use futures::future::BoxFuture;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use reqwest::{Client, Url};
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::in_one_line;

/// Path of the collector's trace endpoint, below its base address.
const PATH: &str = "/v1/traces";
/// OpenTelemetry's own variables for the collector's address.
const USUAL_VARIABLES: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
];
/// Time limit for sending one batch to the collector.
const SEND_LIMIT: Duration = Duration::from_secs(5);
/// Longest delay of the process's exit while the last spans are sent.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// The destination of traces.
#[derive(Args, Clone, Debug)]
pub struct TraceSettings {
    /// Base address of a collector of traces that takes OTLP over HTTP, such as
    /// `http://127.0.0.1:4318` [default: OTEL_EXPORTER_OTLP_ENDPOINT, or no traces].
    #[arg(long, env = "TIDEMARK_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<Url>,
}

/// An error in the trace settings or in setting up the exporter.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The address or one of OpenTelemetry's variables is invalid.
    #[error("traces cannot be sent (--otlp-endpoint): {0}")]
    Exporter(#[from] ExporterBuildError),
    /// The HTTP client cannot be created on this system.
    #[error("traces cannot be sent: {0}")]
    Client(#[from] reqwest::Error),
}

/// Sends traces while it lives. When it is dropped, it sends the remaining ones.
#[derive(Debug, Default)]
#[must_use = "traces are sent while this lives"]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Starts sending traces under the name `service`, if the settings or OpenTelemetry's variables
    /// name a collector.
    pub(super) fn begin(
        settings: &TraceSettings,
        service: &'static str,
    ) -> Result<Self, TraceError> {
        let is_asked_for = settings.otlp_endpoint.is_some()
            || USUAL_VARIABLES
                .map(std::env::var_os)
                .iter()
                .any(Option::is_some);

        if !is_asked_for {
            return Ok(Self(None));
        }

        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new()?)
            .with_retry_policy(RetryPolicy::disabled());

        let exporter = match &settings.otlp_endpoint {
            Some(base) => {
                exporter.with_endpoint(format!("{}{PATH}", base.as_str().trim_end_matches('/')))
            }
            None => exporter,
        };

        let resource = Resource::builder().with_service_name(service).build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter.build()?)
            .with_resource(resource);
        Ok(Self(Some(provider.build())))
    }

    /// Returns the layer that records the chassis's spans, and the warnings and errors within them.
    pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(
        &self,
    ) -> Option<impl Layer<S> + use<S>> {
        let tracer = self.0.as_ref()?.tracer(env!("CARGO_PKG_NAME"));
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        let layer = layer
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false);

        let spans = Targets::new()
            .with_default(LevelFilter::WARN)
            .with_target("chassis::span", LevelFilter::INFO);
        Some(layer.with_filter(spans))
    }
}

impl Traces {
    /// Sends the queued spans. It blocks while the runtime sends them, so it makes no progress on a
    /// runtime with a single thread.
    fn finish(&mut self, limit: Duration) {
        if let Some(Err(error)) = self
            .0
            .take()
            .map(|provider| provider.shutdown_with_timeout(limit))
        {
            tracing::debug!(%error, "the last traces were not sent");
        }
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        self.finish(FLUSH_LIMIT);
    }
}

/// The HTTP client for the collector. It sends on the runtime, because the exporter's thread has
/// none.
#[derive(Debug)]
struct Collector {
    client: Client,
    runtime: Handle,
    /// Whether the current outage was already logged.
    is_away: AtomicBool,
}

impl Collector {
    fn new() -> Result<Self, reqwest::Error> {
        let client = Client::builder().timeout(SEND_LIMIT).build()?;
        Ok(Self {
            client,
            runtime: Handle::current(),
            is_away: AtomicBool::new(false),
        })
    }

    /// Logs once when the collector becomes unavailable, and once when it is available again.
    fn note(&self, failure: Option<String>) {
        match failure {
            Some(reason) if !self.is_away.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%reason, "the collector does not accept traces; they are dropped");
            }
            None if self.is_away.swap(false, Ordering::Relaxed) => {
                tracing::info!("the collector accepts traces again");
            }
            _ => {}
        }
    }
}

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> BoxFuture<'b, Result<Response<Bytes>, HttpError>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let answer = self
                .runtime
                .spawn(send(self.client.clone(), request))
                .await?;

            self.note(match &answer {
                Ok(answer) if answer.status().is_success() => None,
                Ok(answer) => Some(format!("it answered {}", answer.status())),
                Err(error) => Some(in_one_line(error)),
            });

            Ok(answer?)
        })
    }
}

async fn send(client: Client, request: Request<Bytes>) -> Result<Response<Bytes>, reqwest::Error> {
    let answer = client.execute(request.try_into()?).await?;
    let mut response = Response::new(Bytes::new());
    (*response.status_mut(), *response.headers_mut()) = (answer.status(), answer.headers().clone());
    *response.body_mut() = answer.bytes().await?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::post;
    use tokio::net::TcpListener;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::span::of_record;

    const PATIENCE: Duration = Duration::from_secs(60);

    async fn traces_to(listener: &TcpListener) -> Traces {
        let base = format!("http://{}", listener.local_addr().unwrap());
        Traces::begin(
            &TraceSettings {
                otlp_endpoint: base.parse().ok(),
            },
            "test",
        )
        .unwrap()
    }

    fn trace_something(traces: &Traces) {
        let subscriber = tracing_subscriber::registry().with(traces.layer());
        tracing::subscriber::with_default(subscriber, || drop(of_record("test", "orders", None)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_waits_is_sent_at_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut traces = traces_to(&listener).await;
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&taken);

        let router = Router::new().route(
            PATH,
            post(async move || {
                counted.fetch_add(1, Ordering::SeqCst);
            }),
        );
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        trace_something(&traces);
        traces.finish(PATIENCE);

        assert_eq!(taken.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_failing_collector_is_logged_once_until_it_works_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{PATH}", listener.local_addr().unwrap());
        let collector = Collector::new().unwrap();

        let send = async || {
            collector
                .send_bytes(Request::post(&url).body(Bytes::new()).unwrap())
                .await
        };

        drop(listener);
        assert!(send().await.is_err() && collector.is_away.load(Ordering::SeqCst));
        let listener = TcpListener::bind(url.split('/').nth(2).unwrap())
            .await
            .unwrap();
        let answers = Arc::new(AtomicUsize::new(0));

        let busy_at_first = async move || match answers.fetch_add(1, Ordering::SeqCst) {
            0 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        };
        let router = Router::new().route(PATH, post(busy_at_first));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

        assert_eq!(send().await.unwrap().status(), 503);
        assert!(collector.is_away.load(Ordering::SeqCst));
        assert_eq!(send().await.unwrap().status(), 200);
        assert!(!collector.is_away.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_refused() {
        let settings = TraceSettings {
            otlp_endpoint: "data:nothing".parse().ok(),
        };
        assert!(Traces::begin(&settings, "test").is_err());
    }
}
