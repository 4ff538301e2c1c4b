//! `order-analytics`: counts the orders of each user in one-minute windows, from Kafka to Kafka.

use std::process::ExitCode;

use order_analytics::OrderFlags;
use stream_cli::Program;

fn main() -> ExitCode {
    Program::<OrderFlags>::default()
        .version(env!("CARGO_PKG_VERSION"))
        .main()
}
