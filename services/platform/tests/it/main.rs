//! Tests of the built binary from the outside: it starts, serves, explains its refusals, and stops.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounts;
mod apart;
mod explained;
mod files;
mod hostile;
mod owasp;
mod platform;
mod refusals;
mod replay;
mod running;
mod security_log;
mod shop;
mod traces;
