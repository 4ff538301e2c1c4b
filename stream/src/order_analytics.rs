//! The job `order-analytics`: orders of each user in one-minute windows, and the totals of each window.

mod decode;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use events::{Timestamp, TopUser, WindowCount, WindowSummary};
use record_log::RecordLog;
use serde::Serialize;

use crate::aggregate::{Count, Sum};
use crate::attempt::JobError;
use crate::checkpoint::manifest::Fingerprint;
use crate::flow::Row;
use crate::job::{Job, Output, Pipeline};
use crate::pane::{EventTimeMs, InvalidWindows, Windows};
use crate::run::Run;
use crate::settings::Settings;
use crate::summary::Totals;

/// How many orders, and the sum of their totals in cents.
pub type OrderTotals = (Count, Sum);

/// How many users a summary names.
const TOP_USERS: usize = 10;

/// The settings of the job.
#[derive(Clone, Debug, clap::Args)]
pub struct OrderAnalytics {
    /// The job's name; checkpoints and transactions belong to it
    #[arg(long, env = "TIDEMARK_JOB", default_value = "order-analytics", value_name = "NAME")]
    pub job: String,

    /// Topic that orders are read from
    #[arg(long, env = "TIDEMARK_INPUT_TOPIC", default_value = events::ORDERS, value_name = "TOPIC")]
    pub input_topic: String,

    /// Topic that counts per user and window go to
    #[arg(long, env = "TIDEMARK_OUTPUT_TOPIC", default_value = events::ANALYTICS_RESULTS, value_name = "TOPIC")]
    pub output_topic: String,

    /// Topic that totals per window go to
    #[arg(long, env = "TIDEMARK_SUMMARY_TOPIC", default_value = events::ANALYTICS_SUMMARIES, value_name = "TOPIC")]
    pub summary_topic: String,

    /// Topic that records go to which come too late to correct their window
    #[arg(long, env = "TIDEMARK_LATE_TOPIC", default_value = events::ORDERS_LATE, value_name = "TOPIC")]
    pub late_topic: String,

    /// Topic that records go to which are not orders
    #[arg(long, env = "TIDEMARK_DEAD_LETTER_TOPIC", default_value = events::ORDERS_DEAD_LETTER, value_name = "TOPIC")]
    pub dead_letter_topic: String,

    /// Length of the windows
    #[arg(long, env = "TIDEMARK_WINDOW", default_value = "1m", value_parser = humantime::parse_duration)]
    pub window: Duration,

    /// Length of the panes that windows are made of; must divide them [default: the window]
    #[arg(long, env = "TIDEMARK_PANE", value_parser = humantime::parse_duration)]
    pub pane: Option<Duration>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub settings: Settings,
}

impl OrderAnalytics {
    /// The job on a log, ready to run.
    ///
    /// # Errors
    /// [`JobError::Settings`], [`JobError::Store`].
    pub fn on(&self, log: Arc<dyn RecordLog>) -> Result<Run<u64, OrderTotals>, JobError> {
        let pipeline = self.pipeline().map_err(|error| JobError::Settings(error.to_string()))?;
        Run::new(pipeline, self.settings.clone(), log)
    }

    /// What must not change under the job's checkpoints.
    ///
    /// # Errors
    /// [`InvalidWindows`] when panes and windows do not fit.
    pub fn fingerprint(&self) -> Result<Fingerprint, InvalidWindows> {
        Ok(Fingerprint::new(&self.input_topic, &self.windows()?, self.settings.sink_slots))
    }

    fn windows(&self) -> Result<Windows, InvalidWindows> {
        let windows = Windows::tumbling(self.window)?;
        self.pane.map_or(Ok(windows), |pane| windows.in_panes_of(pane))
    }

    /// What the job does.
    ///
    /// # Errors
    /// [`InvalidWindows`] when panes and windows do not fit.
    pub fn pipeline(&self) -> Result<Pipeline<u64, OrderTotals>, InvalidWindows> {
        let windows = self.windows()?;
        let size_ms = windows.size_ms();
        Ok(Job::new(&self.job)
            .source(&self.input_topic, decode::order)
            .window(windows)
            .aggregate(|order: decode::Order| [(order.user_id, (Count(1), Sum(order.total_cents)))])
            .sink(&self.output_topic, move |row, output| write_count(row, size_ms, output))
            .summarize(&self.summary_topic, TOP_USERS, by_orders, move |totals, output| {
                write_summary(totals, size_ms, output);
            })
            .asides(&self.late_topic, &self.dead_letter_topic))
    }
}

/// Most orders first; then the higher total, then the lower id.
fn by_orders((id, totals): (&u64, &OrderTotals), (other_id, other): (&u64, &OrderTotals)) -> std::cmp::Ordering {
    (Reverse(totals), id).cmp(&(Reverse(other), other_id))
}

fn write_count(row: &Row<u64, OrderTotals>, size_ms: u64, output: &mut Output) {
    let (Count(order_count), Sum(total_cents)) = row.aggregate;
    let (window_start, window_end) = window(row.window_start, size_ms);
    let count =
        WindowCount { user_id: row.key, window_start, window_end, order_count, total_cents, revision: row.revision };
    output.key.extend(row.key.to_string().bytes());
    write_json(&count, output);
}

fn write_summary(totals: &Totals<u64, OrderTotals>, size_ms: u64, output: &mut Output) {
    let top = |(user_id, (Count(order_count), Sum(total_cents))): &(u64, OrderTotals)| TopUser {
        user_id: *user_id,
        order_count: *order_count,
        total_cents: *total_cents,
    };
    let (Count(order_count), Sum(total_cents)) = totals.aggregate;
    let (window_start, window_end) = window(totals.window_start, size_ms);
    let summary = WindowSummary {
        window_start,
        window_end,
        order_count,
        user_count: totals.keys,
        total_cents,
        top_users: totals.top.iter().map(top).collect(),
        revision: totals.revision(),
    };
    output.key.extend(window_start.to_string().bytes());
    write_json(&summary, output);
}

fn window(start: EventTimeMs, size_ms: u64) -> (Timestamp, Timestamp) {
    let instant = |ms| Timestamp::from_ms(ms).expect("orders are dated within the range of timestamps");
    (instant(start), instant(start + size_ms))
}

fn write_json(value: &impl Serialize, output: &mut Output) {
    serde_json::to_writer(&mut output.value, value).expect("numbers and timestamps are JSON");
}
