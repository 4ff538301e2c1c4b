//! Compares the engine with an oracle. Records are read in any order by any number of workers, and
//! processes die meanwhile; the committed results must equal those of sorting, grouping and folding
//! the records.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod aggregates;
mod changes;
mod checkpoints;
mod cluster;
mod crashes;
mod damage;
mod decoders;
mod drain;
mod drawn;
mod evolution;
mod fallback;
mod fate;
mod file_sink;
mod hang;
mod idle;
mod joined;
mod lives;
mod log_times;
mod logged;
mod misbehaviour;
mod mortal;
mod oracle;
mod passing;
mod processing;
mod refusals;
mod savepoints;
mod schedules;
mod sessions;
mod shares;
mod side_outputs;
mod silence;
mod slow_sink;
mod sources;
mod staged;
mod status;
mod sweeps;
mod tidy;
mod upgrade;
mod windows;
