//! The log that a test causes, as a service in the cluster writes it.
//!
//! One subscriber serves all tests of the process and writes the lines of each thread to that
//! thread's own capture. A subscriber for each test would miss events: tracing caches for all threads
//! whether an event is enabled, and the first thread to reach it may have no subscriber.

use std::cell::RefCell;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::sync::Once;

use serde_json::Value;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, fmt, registry};

thread_local! {
    static LINES: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// The log of the current thread, from all targets and at every level, until it is dropped.
#[derive(Debug)]
pub struct CapturedLog {
    /// Keeps the value in its thread: it is not `Send`.
    _of_its_thread: PhantomData<*const ()>,
}

/// Writes to the capture of the current thread.
struct Lines;

impl CapturedLog {
    /// Begins to capture.
    pub fn begin() -> Self {
        static SUBSCRIBED: Once = Once::new();

        SUBSCRIBED.call_once(subscribe);
        LINES.set(Some(Vec::new()));
        Self {
            _of_its_thread: PhantomData,
        }
    }

    /// Returns all lines.
    pub fn text(&self) -> String {
        let bytes = LINES.with_borrow(|lines| lines.clone().unwrap_or_default());
        String::from_utf8(bytes).expect("the log is UTF-8")
    }

    /// Returns the events of the target `security`.
    pub fn security(&self) -> Vec<Value> {
        let text = self.text();
        let events = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("each line is an event"));
        events
            .filter(|event| event["target"] == "security")
            .collect()
    }
}

impl Drop for CapturedLog {
    fn drop(&mut self) {
        LINES.set(None);
    }
}

fn subscribe() {
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_writer(|| Lines);
    let of_captures = dynamic_filter_fn(|_, _| LINES.with_borrow(Option::is_some));

    tracing::subscriber::set_global_default(registry().with(lines.with_filter(of_captures)))
        .expect("no test has another subscriber for all threads");
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.iter_mut().for_each(|lines| lines.extend(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
