//! Logs on standard error: lines of text on a terminal, and JSON for platforms, with the field `severity` that the
//! logging of Google and others reads.
//!
//! ```text
//! {"timestamp":"2026-11-22T10:00:00.123456Z","severity":"WARNING","message":"…","target":"stream::run","delay_ms":100}
//! ```

use std::fmt;
use std::io::{IsTerminal, Write as _};
use std::sync::OnceLock;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The format of the logs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere
    Auto,
    /// A line of text for each event
    Text,
    /// A JSON object for each event
    Json,
}

/// The format of this process's logs, once logging has begun.
static STARTED: OnceLock<Shape> = OnceLock::new();

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shape {
    Text { has_colours: bool },
    Json,
}

/// The place that standard error goes to.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Place {
    Terminal,
    /// A terminal of a person who has set `NO_COLOR`.
    PlainTerminal,
    Elsewhere,
}

/// Writes an event as a line of JSON.
struct JsonLines;

/// The fields of an event, by name.
#[derive(Default)]
struct Fields(Map<String, Value>);

/// Logs to standard error from now on.
pub fn start(filter: EnvFilter, format: LogFormat) {
    // NO_COLOR: https://no-color.org
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let place = match std::io::stderr().is_terminal() {
        false => Place::Elsewhere,
        true if is_plain => Place::PlainTerminal,
        true => Place::Terminal,
    };

    let shape = shape(format, place);
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // The subscriber would report a closed standard error by printing to it, which panics.
        .log_internal_errors(false);

    match shape {
        Shape::Json => logs.event_format(JsonLines).init(),
        Shape::Text { has_colours } => logs.with_ansi(has_colours).init(),
    }

    STARTED.get_or_init(|| shape);
}

/// Reports why this process ends: as an event of its logs if these are JSON, otherwise as a line of text.
pub fn report(program: &str, sentence: &str, is_passing: bool) {
    let level = if is_passing {
        Level::WARN
    } else {
        Level::ERROR
    };

    if STARTED.get() == Some(&Shape::Json) {
        let mut line = String::new();
        let fields = Fields(Map::from_iter([("message".to_owned(), sentence.into())]));
        if write_line(&mut Writer::new(&mut line), level, program, fields).is_ok() {
            note(line.trim_end());
            return;
        }
    }

    note(&format!("{program}: {sentence}"));
}

/// Writes a line to standard error. If that is closed, the line is left out.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn shape(format: LogFormat, place: Place) -> Shape {
    match (format, place) {
        (LogFormat::Json, _) | (LogFormat::Auto, Place::Elsewhere) => Shape::Json,
        (LogFormat::Text | LogFormat::Auto, _) => Shape::Text {
            has_colours: place == Place::Terminal,
        },
    }
}

/// The name of a level for logging platforms.
fn severity(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

fn write_line(
    writer: &mut Writer<'_>,
    level: Level,
    target: &str,
    Fields(mut fields): Fields,
) -> fmt::Result {
    let mut timestamp = String::new();
    SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
    let message = fields.remove("message").unwrap_or_default();

    // Fields of events do not replace those of the line.
    let mut line = Map::new();
    line.insert("timestamp".to_owned(), timestamp.into());
    line.insert("severity".to_owned(), severity(level).into());
    line.insert("message".to_owned(), message);
    line.insert("target".to_owned(), target.into());
    for (name, value) in fields {
        line.entry(name).or_insert(value);
    }

    writeln!(writer, "{}", Value::Object(line))
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);

        let metadata = event.metadata();
        write_line(&mut writer, *metadata.level(), metadata.target(), fields)
    }
}

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// The lines that were written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the lines that are logged meanwhile.
    fn logged(events: impl FnOnce()) -> Vec<Value> {
        let written = Written::default();
        let into = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .event_format(JsonLines)
            .with_writer(move || into.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, events);

        let bytes = written.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn an_event_is_one_line_with_its_severity_and_its_fields() {
        let lines = logged(|| {
            tracing::error!(topic = "orders", "a \"quoted\"\nmessage");
            tracing::warn!(delay_ms = 100_u64, "waits");
            tracing::info!("begins");
            tracing::debug!("looks");
        });

        let severities: Vec<_> = lines.iter().map(|line| &line["severity"]).collect();
        assert_eq!(severities, ["ERROR", "WARNING", "INFO", "DEBUG"]);
        assert_eq!(lines[0]["message"], "a \"quoted\"\nmessage");
        assert_eq!(lines[0]["topic"], "orders");
        assert_eq!(lines[1]["delay_ms"], 100);
        assert!(lines[2]["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_field_does_not_replace_the_severity() {
        let lines = logged(|| tracing::error!(severity = "none at all", "it failed"));
        assert_eq!(lines[0]["severity"], "ERROR");
    }

    #[test]
    fn only_a_terminal_gets_colours_and_text_by_itself() {
        let text = |has_colours| Shape::Text { has_colours };
        assert_eq!(shape(LogFormat::Auto, Place::Terminal), text(true));
        assert_eq!(shape(LogFormat::Auto, Place::PlainTerminal), text(false));
        assert_eq!(shape(LogFormat::Text, Place::PlainTerminal), text(false));
        assert_eq!(shape(LogFormat::Auto, Place::Elsewhere), Shape::Json);
        assert_eq!(shape(LogFormat::Text, Place::Elsewhere), text(false));
        assert_eq!(shape(LogFormat::Json, Place::Terminal), Shape::Json);
    }
}
