//! The engine against an oracle: whatever is read in whatever order by however many workers, and whatever dies
//! meanwhile, what was committed is what sorting, grouping and folding the records gives.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod aggregates;
mod cluster;
mod crashes;
mod oracle;
mod tidy;
mod windows;
