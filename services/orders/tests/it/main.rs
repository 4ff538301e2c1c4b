//! The contract of the orders service, the same on every database; and its relay, whichever process dies.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod catalogue;
mod contract;
#[path = "../../../chassis/tests/it/databases.rs"]
mod databases;
mod enforced;
mod idempotency;
mod migration;
mod minutes;
mod openapi;
mod payments;
mod relay;
mod service;
mod shop;
mod states;
mod stock;
