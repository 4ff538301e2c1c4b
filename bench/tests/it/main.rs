//! Tests of the harness itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(clippy::print_stdout, reason = "a test that skips itself says so")]

mod architecture;
mod compare;
mod counterparts;
mod end_to_end;
mod features;
mod process;
mod read;
mod registry;
mod report;
mod security;

use bench::orders::OrderSettings;
use clap::Parser;
use events::{Amount, Amounts};

/// Returns the defaults of the command line, with this number of orders.
fn settings(orders: u64) -> OrderSettings {
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: OrderSettings,
    }

    OrderSettings {
        orders,
        ..Line::parse_from(["test"]).settings
    }
}

/// Returns totals in dollars alone.
fn dollars(cents: u64) -> Amounts {
    let amount = Amount {
        currency: "USD".parse().unwrap(),
        minor_units: cents,
    };
    [amount].into_iter().collect()
}
