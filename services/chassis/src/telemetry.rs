//! Telemetry of the process: structured logs, as JSON on standard output or as text on standard
//! error, and traces, sent to a collector.

mod traces;

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
pub use traces::{TraceError, TraceSettings, Traces};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The settings of logging.
#[derive(Args, Clone, Debug)]
pub struct LogSettings {
    /// Log filter: a level (error, warn, info, debug) or directives like `warn,orders=debug`.
    /// With `--auth enforced`, the target `security` is at info unless the filter names it.
    #[arg(
        long,
        env = "TIDEMARK_LOG",
        default_value = "warn",
        value_name = "FILTER"
    )]
    pub log: LogFilter,
    /// Format of the logs; `auto` is text on a terminal and JSON elsewhere.
    #[arg(
        long,
        env = "TIDEMARK_LOG_FORMAT",
        default_value = "auto",
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
}

/// A well-formed log filter.
#[derive(Clone, Debug)]
pub struct LogFilter(String);

impl std::str::FromStr for LogFilter {
    type Err = tracing_subscriber::filter::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        EnvFilter::try_new(text).map(|_| Self(text.to_owned()))
    }
}

impl LogFilter {
    /// Adds directives for targets that the filter does not name itself.
    #[must_use]
    pub fn with_defaults(self, directives: &str) -> Self {
        Self(format!("{directives},{}", self.0))
    }
}

/// The format of the logs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One line of text for each event.
    Text,
    /// One JSON object for each event.
    Json,
}

/// Starts logging. A process that already has a subscriber (a test's) keeps it.
pub fn init(settings: &LogSettings) {
    start(settings, &Traces::default());
}

/// Starts logging. Starts tracing under the name `service` if the settings name a collector.
///
/// # Errors
/// [`TraceError`].
///
/// # Panics
/// Outside of a tokio runtime.
pub fn init_with_traces(
    settings: &LogSettings,
    traces: &TraceSettings,
    service: &'static str,
) -> Result<Traces, TraceError> {
    let traces = Traces::begin(traces, service)?;
    start(settings, &traces);
    Ok(traces)
}

fn start(settings: &LogSettings, traces: &Traces) {
    let json = match settings.log_format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };

    let lines = tracing_subscriber::fmt::layer();
    let lines = if json {
        lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed()
    } else {
        lines
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .boxed()
    };
    let logs = lines.with_filter(EnvFilter::new(&settings.log.0));

    if let Err(error) = tracing_subscriber::registry()
        .with(traces.layer())
        .with(logs)
        .try_init()
    {
        tracing::debug!(%error, "logging was started before");
    }
}
