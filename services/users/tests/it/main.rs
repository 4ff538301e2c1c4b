//! The contract of the users service, the same on every database.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod client;
mod contract;
mod cookies;
#[path = "../../../chassis/tests/it/databases.rs"]
mod databases;
mod enforced;
mod guessing;
mod mail;
mod openapi;
mod reset;
mod revocation;
mod sessions;
