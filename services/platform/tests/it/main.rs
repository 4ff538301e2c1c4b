//! The built binary, as a person meets it: it starts, serves, explains its refusals, and stops.

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
mod shop;
mod traces;
