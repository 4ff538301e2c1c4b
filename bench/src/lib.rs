//! The harness: it starts the real counterparts, generates orders, runs the real programs and compares what they did
//! with an independent computation.
//!
//! Every command is one module. What it prints is for people; what it returns decides the exit code. The library is
//! also what tests of other shapes use: a real Kafka is [`counterparts::kafka`], a million orders is [`orders`], what
//! must come out of them is [`oracle`].

#![allow(
    clippy::print_stdout,
    reason = "the harness talks to people on standard output"
)]

pub mod apart;
pub mod binaries;
pub mod browser;
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
pub mod platform;
pub mod pressure;
pub mod process;
pub mod read;
pub mod recovery;
pub mod shop;
pub mod throughput;
pub mod verify;
