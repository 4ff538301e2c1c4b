//! The harness: it starts the real counterparts, generates orders, runs the real programs and
//! compares their results with an independent computation.
//!
//! Every command is one module. It prints text for people; its return value decides the exit code. Commands that measure
//! return figures in one common form, too ([`results`]).
//! Other tests use the library, too: [`counterparts::kafka`] starts a real Kafka, [`orders`] makes
//! a million orders, and [`oracle`] computes the expected results.

#![allow(
    clippy::print_stdout,
    reason = "the harness talks to people on standard output"
)]

pub mod analytics_writes;
pub mod apart;
pub mod binaries;
pub mod browser;
pub mod budgets;
pub mod catalogue;
pub mod code;
pub mod command;
pub mod compare;
pub mod counterparts;
pub mod crash;
pub mod cut_off;
pub mod drill;
pub mod end_to_end;
pub mod exact;
pub mod flink;
pub mod gateway;
pub mod generate;
pub mod idle;
pub mod job;
pub mod latency;
pub mod load;
pub mod machine;
pub mod oracle;
pub mod orders;
pub mod orders_as_sql;
pub mod overload;
pub mod peers;
pub mod platform;
mod ports;
pub mod pressure;
pub mod process;
pub mod read;
pub mod recovery;
pub mod report;
pub mod results;
pub mod sessions;
pub mod shop;
pub mod throughput;
pub mod torn;
pub mod verify;
