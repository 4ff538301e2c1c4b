//! The job `order-analytics`: counts the orders of each user in one-minute windows, and the totals
//! of each window.
//!
//! With `--session-gap` it counts the orders of each session instead. A session is a
//! [`WindowCount`] that ends one gap after its last order. When a late order joins two sessions,
//! the later one is emitted again, with the next revision and no orders. A consumer that replaces
//! rows by user and start, as for windows, therefore has every order once at any time. Totals are
//! those of all sessions between two cuts.

//!
//! [`WindowCount`]: events::WindowCount

pub mod decode;
mod length;
mod totals;
pub mod write;

use std::time::Duration;

use stream::{
    AnyPipeline, InvalidWindows, Job, JobError, Pipeline, Session, SessionWindows, Windows,
};
use stream_cli::{JobDefinition, JobSettings};

pub use totals::OrderTotals;

/// The number of users that a summary names.
const TOP_USERS: usize = 10;

/// The settings of the job: its name, its own flags, and how it is run.
pub type OrderAnalytics = JobSettings<OrderFlags>;

/// The job's own flags.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct OrderFlags {
    /// Topic that orders are read from
    #[arg(long, env = "TIDEMARK_INPUT_TOPIC", default_value = events::ORDERS, value_name = "TOPIC")]
    pub input_topic: String,

    /// Topic that counts per user and window go to
    #[arg(long, env = "TIDEMARK_OUTPUT_TOPIC", default_value = events::ANALYTICS_RESULTS, value_name = "TOPIC")]
    pub output_topic: String,

    /// Topic that totals per window go to
    #[arg(long, env = "TIDEMARK_SUMMARY_TOPIC", default_value = events::ANALYTICS_SUMMARIES, value_name = "TOPIC")]
    pub summary_topic: String,

    /// Topic for records that come too late to correct their window
    #[arg(long, env = "TIDEMARK_LATE_TOPIC", default_value = events::ORDERS_LATE, value_name = "TOPIC")]
    pub late_topic: String,

    /// Topic for records that are not orders
    #[arg(long, env = "TIDEMARK_DEAD_LETTER_TOPIC", default_value = events::ORDERS_DEAD_LETTER, value_name = "TOPIC")]
    pub dead_letter_topic: String,

    /// Length of the windows, in ms, s, m, h, d or w. They begin at multiples of it since 1970 (UTC): a week begins on a
    /// Thursday
    #[arg(long, env = "TIDEMARK_WINDOW", default_value = "1m", value_parser = length::fixed)]
    pub window: Duration,

    /// Count sessions instead of windows: a session ends when its user has not ordered for this
    /// long. Use another job name and output topic than for windows, so that the two do not mix
    #[arg(long, env = "TIDEMARK_SESSION_GAP", value_name = "DURATION", conflicts_with = "window", value_parser = length::fixed)]
    pub session_gap: Option<Duration>,

    /// Sessions are cut at multiples of this length (since 1970, UTC); until the cut and the
    /// allowed lateness have passed, sessions are kept and late events correct them
    #[arg(long, env = "TIDEMARK_SESSION_LIMIT", value_name = "DURATION", default_value = "24h", requires = "session_gap", value_parser = length::fixed)]
    pub session_limit: Duration,

    /// Length of the panes that windows are made of; windows, or the session gap and limit, must be
    /// multiples of it [default: the window, or a tenth of the gap if that is a whole number of
    /// milliseconds]
    #[arg(long, env = "TIDEMARK_PANE", value_parser = length::fixed)]
    pub pane: Option<Duration>,
}

impl JobDefinition for OrderFlags {
    const NAME: &'static str = "order-analytics";
    const ABOUT: &'static str = "Counts the orders of each user in windows of event time, exactly once, from Kafka to Kafka";

    fn define(&self, job: Job) -> Result<AnyPipeline, JobError> {
        Ok(match self.session_gap {
            None => self.windowed(job, self.windows()?).into(),
            Some(gap) => self.sessioned(job, self.sessions(gap)?).into(),
        })
    }
}

impl OrderFlags {
    fn windows(&self) -> Result<Windows, InvalidWindows> {
        let windows = Windows::tumbling(self.window)?;
        self.pane
            .map_or(Ok(windows), |pane| windows.in_panes_of(pane))
    }

    fn sessions(&self, gap: Duration) -> Result<SessionWindows, InvalidWindows> {
        let sessions = SessionWindows::new(gap, self.session_limit)?;
        self.pane
            .map_or(Ok(sessions), |pane| sessions.in_panes_of(pane))
    }

    fn windowed(&self, job: Job, windows: Windows) -> Pipeline<u64, OrderTotals> {
        let size_ms = windows.size_ms();
        job.source_of_some(&self.input_topic, decode::order)
            .identified_by(|order| order.event_id)
            .window(windows)
            .aggregate(|order: decode::Order| [order.counted()])
            .sink(&self.output_topic, move |row, output| {
                write::count(row, size_ms, output);
            })
            .summarize(
                &self.summary_topic,
                TOP_USERS,
                write::most(of_window),
                move |totals, output| {
                    write::summary(totals, of_window, size_ms, output);
                },
            )
            .side_outputs(&self.late_topic, &self.dead_letter_topic)
            .decoded_by(decode::VERSION)
    }

    fn sessioned(&self, job: Job, sessions: SessionWindows) -> Pipeline<u64, Session<OrderTotals>> {
        let limit_ms = sessions.cut_to().size_ms();
        job.source_of_some(&self.input_topic, decode::order)
            .identified_by(|order| order.event_id)
            .sessions(sessions)
            .aggregate(|order: decode::Order| [order.counted()])
            .sink(&self.output_topic, move |row, output| {
                write::session(row, sessions, output);
            })
            .summarize(
                &self.summary_topic,
                TOP_USERS,
                write::most(of_session),
                move |totals, output| {
                    write::summary(totals, of_session, limit_ms, output);
                },
            )
            .side_outputs(&self.late_topic, &self.dead_letter_topic)
            .decoded_by(decode::VERSION)
    }
}

fn of_window(totals: &OrderTotals) -> &OrderTotals {
    totals
}

fn of_session(session: &Session<OrderTotals>) -> &OrderTotals {
    &session.aggregate
}
