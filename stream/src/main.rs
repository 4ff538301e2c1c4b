//! `order-analytics`: counts the orders of each user in one-minute windows, from Kafka to Kafka.

use std::net::SocketAddr;

use anyhow::Context;
use clap::Parser;
use record_log::LogSettings;
use stream::order_analytics::OrderAnalytics;
use stream::{Stop, status};
use tracing_subscriber::EnvFilter;

/// Counts the orders of each user in windows of event time, exactly once, from Kafka to Kafka
#[derive(Parser)]
#[command(name = "order-analytics", version)]
struct Arguments {
    /// Kafka brokers, host:port, comma separated
    #[arg(long, env = "TIDEMARK_BROKERS", default_value = "localhost:9092")]
    brokers: String,

    /// Further librdkafka property, such as security.protocol=SASL_SSL; repeat it, or in the variable one a line
    #[arg(long = "property", env = "TIDEMARK_PROPERTIES", value_delimiter = '\n', value_parser = parse_property, value_name = "NAME=VALUE")]
    properties: Vec<(String, String)>,

    /// Address that health and metrics are served on; not served if absent
    #[arg(long, env = "TIDEMARK_STATUS_ADDRESS", value_name = "HOST:PORT")]
    status_address: Option<SocketAddr>,

    /// What is logged: error, warn, info, debug, or by module as in `stream=debug`
    #[arg(long, env = "TIDEMARK_LOG", default_value = "warn", value_name = "FILTER")]
    log: EnvFilter,

    #[command(flatten)]
    job: OrderAnalytics,
}

fn main() -> anyhow::Result<()> {
    let Arguments { brokers, properties, status_address, log, job } = Arguments::parse();
    tracing_subscriber::fmt().with_env_filter(log).with_writer(std::io::stderr).init();
    let log = record_log::open(&LogSettings::Kafka { brokers, properties })?;
    let run = job.on(log)?;
    let (stop, metrics) = (Stop::default(), run.metrics.clone());
    stop.request_on_signals().context("cannot listen for signals")?;
    status_address.map_or(Ok(()), |address| status::serve(address, metrics))?;
    run.run(&stop).context("the job ended")
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected")?;
    Ok((name.to_owned(), value.to_owned()))
}
