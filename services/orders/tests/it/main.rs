//! Tests of the orders service: its contract, on every database, and its relay, even if processes die.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod catalogue;
mod contract;
#[path = "../../../chassis/tests/it/databases.rs"]
mod databases;
mod enforced;
mod idempotency;
mod migration;
mod minutes;
mod names;
mod openapi;
mod payments;
mod relay;
mod relay_on_kafka;
mod sales;
mod service;
mod shop;
mod states;
mod stock;
