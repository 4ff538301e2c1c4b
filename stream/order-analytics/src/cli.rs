//! The command line of `order-analytics`.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use order_analytics::OrderAnalytics;
use stream::checkpoint::inspect::CheckpointsCommand;
use stream::cluster::Membership;
use tracing_subscriber::EnvFilter;

/// Counts the orders of each user in windows of event time, exactly once, from Kafka to Kafka
#[derive(Parser)]
#[command(
    name = "order-analytics",
    version,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,

    #[command(flatten)]
    pub run: RunArguments,
}

#[derive(Subcommand)]
pub enum Command {
    /// Runs the job in a process of its own and starts it again when it dies or hangs
    Supervise(Box<RunArguments>),
    /// Shows, verifies and prunes the job's checkpoints
    Checkpoints(CheckpointsArguments),
    /// Lets the next start read the topic from its beginning and replace all results; the job must
    /// not be running
    StartOver(Box<RunArguments>),
}

#[derive(Args)]
pub struct CheckpointsArguments {
    /// URL of the folder that holds the checkpoints
    #[arg(
        long,
        env = "TIDEMARK_CHECKPOINTS",
        value_name = "URL",
        global = true,
        default_value = "memory:///"
    )]
    pub checkpoints: String,

    /// The job's name
    #[arg(
        long,
        env = "TIDEMARK_JOB",
        default_value = "order-analytics",
        value_name = "NAME",
        global = true
    )]
    pub job: String,

    #[command(subcommand)]
    pub command: CheckpointsCommand,
}

#[derive(Args)]
pub struct RunArguments {
    /// Kafka brokers, host:port, comma separated
    #[arg(long, env = "TIDEMARK_BROKERS", default_value = "localhost:9092")]
    pub brokers: String,

    /// Client of Kafka: librdkafka, or this project's own
    #[arg(
        long,
        env = "TIDEMARK_CLIENT",
        value_enum,
        default_value_t = Client::Rdkafka
    )]
    pub client: Client,

    /// Further property, by librdkafka's name, such as security.protocol=SASL_SSL; repeat the flag,
    /// or put one property on each line of the variable
    ///
    /// --client native takes: security.protocol; sasl.mechanism (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER), sasl.username,
    /// sasl.password, sasl.oauthbearer.token.file (its own); ssl.ca.location, ssl.certificate.location, ssl.key.location (or
    /// .pem), ssl.endpoint.identification.algorithm; client.id; socket.timeout.ms, socket.connection.setup.timeout.ms,
    /// socket.keepalive.enable, socket.send.buffer.bytes, socket.receive.buffer.bytes; fetch.wait.max.ms, fetch.min.bytes,
    /// fetch.max.bytes, max.partition.fetch.bytes, queued.max.messages.kbytes; transaction.timeout.ms
    #[arg(long = "property", env = "TIDEMARK_PROPERTIES", hide_env_values = true, value_delimiter = '\n', value_parser = parse_property, value_name = "NAME=VALUE")]
    pub properties: Vec<(String, String)>,

    /// Address that serves status, health and metrics; not served if absent
    #[arg(long, env = "TIDEMARK_STATUS_ADDRESS", value_name = "HOST:PORT")]
    pub status_address: Option<SocketAddr>,

    /// What is logged: a level (error, warn, info, debug), or a level for one module as in
    /// `stream=debug`
    #[arg(
        long,
        env = "TIDEMARK_LOG",
        default_value = "warn",
        value_name = "FILTER"
    )]
    pub log: EnvFilter,

    #[command(flatten)]
    pub members: Membership,

    #[command(flatten)]
    pub job: OrderAnalytics,
}

/// A client of Kafka.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Client {
    /// librdkafka
    Rdkafka,
    /// This project's own, for reading and publishing; it rejects properties that it does not support
    Native,
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected")?;
    Ok((name.to_owned(), value.to_owned()))
}
