//! Tests of the file processor: the binary that Lambda starts, on a Runtime API of the test's own, and the service over
//! a folder.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod failures;
mod imports;
mod kinds;
mod large;
mod long_csv;
mod openapi;
mod runtime_api;
mod s3;
mod samples;
mod service;
mod uploads;
