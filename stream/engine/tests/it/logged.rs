//! The lines that a job logs on the thread that runs it, as text.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps each event as a line of its fields.
struct Keeper(Arc<Mutex<Vec<String>>>);

/// A line of fields: `name=value`, in their order.
#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

impl Subscriber for Keeper {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Runs `run`, and returns its result and the lines that it logs on this thread.
pub fn logged<T>(run: impl FnOnce() -> T) -> (T, Vec<String>) {
    let lines = Arc::default();
    let keeper = Keeper(Arc::clone(&lines));
    let outcome = tracing::subscriber::with_default(keeper, run);

    let lines = lines.lock().unwrap().clone();
    (outcome, lines)
}
