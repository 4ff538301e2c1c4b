//! Tests of the contract of the users service, on every database.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod client;
mod contract;
mod cookies;
#[path = "../../../chassis/tests/it/databases.rs"]
mod databases;
mod ending;
mod enforced;
mod guessing;
mod mail;
mod mail_taken;
mod openapi;
mod reset;
mod revocation;
mod second_factor;
mod security_counts;
mod security_log;
mod sessions;
