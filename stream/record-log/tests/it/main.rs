//! One conformance suite for every record log, and what only one of them promises.
//!
//! The suite runs on Apache Kafka when `TIDEMARK_TEST_BROKERS` names brokers, and says loudly when it does not.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod broker;
mod certificates;
mod conformance;
mod embedded;
mod files;
mod guarded;
mod kafka;
mod leaders;
mod native;
mod secured;
mod simulated;
mod subject;
mod versions;
