//! The wire contract, held to the letter.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod counted;
mod golden;
mod timestamps;
