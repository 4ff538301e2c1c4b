//! Tests of the wire contract.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod counted;
mod golden;
mod timestamps;
