//! One conformance suite for every record log, and tests of single logs.
//!
//! The suite runs on Apache Kafka when `TIDEMARK_TEST_BROKERS` names brokers, and prints a line when it is skipped.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod broker;
mod certificates;
mod cluster;
mod conformance;
mod damaged;
mod embedded;
mod files;
mod generated;
mod guarded;
mod kafka;
mod leaders;
mod listeners;
mod lost_topic;
mod membership;
mod native;
mod quota;
mod racks;
mod secured;
mod simulated;
mod subject;
mod throttle;
mod tidy;
mod timed_out;
mod truncated;
mod versions;
