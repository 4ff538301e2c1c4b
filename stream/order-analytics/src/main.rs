//! `order-analytics`: counts the orders of each user in one-minute windows, from Kafka to Kafka.

use std::process::ExitCode;

use order_analytics::OrderFlags;
use stream_cli::{Bootstrap, Program};

/// The scripts that Terraform uses, too.
const BOOTSTRAP: Bootstrap = Bootstrap {
    run: include_str!("../../../infra-gcp/bootstrap/run.sh"),
    startup: include_str!("../../../infra-gcp/bootstrap/startup.sh"),
    unit: include_str!("../../../infra-gcp/bootstrap/order-analytics.service"),
};

fn main() -> ExitCode {
    Program::<OrderFlags>::default()
        .version(env!("CARGO_PKG_VERSION"))
        .bootstrap(BOOTSTRAP)
        .main()
}
