//! Programs of jobs as processes of their own, on a real Kafka.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "the record log's tests use all of it")]
#[path = "../../../record-log/tests/it/broker.rs"]
mod broker;
mod unpaid_orders;
