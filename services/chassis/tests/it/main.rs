//! The chassis as its services use it: requests by `oneshot`, connections over loopback, tables in a SQLite file.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod auth;
mod bodies;
mod databases;
mod http_keys;
mod page;
mod requests;
mod serving;
mod sql;
mod until;
