//! The engine against an oracle: whatever is read in whatever order by however many workers, and whatever dies
//! meanwhile, what was committed is what sorting, grouping and folding the records gives.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod aggregates;
mod changes;
mod checkpoints;
mod cluster;
mod crashes;
mod damage;
mod fallback;
mod fate;
mod mortal;
mod oracle;
mod refusals;
mod schedules;
mod sessions;
mod silence;
mod status;
mod tidy;
mod windows;
