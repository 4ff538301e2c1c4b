//! Checkpoints: they make the results before a boundary repeatable.
//!
//! ```text
//! closed panes ──▶ writing.rs  each worker writes its closed panes, each once      {job}/parts/…
//! crossings ─────▶ commit.rs   one worker writes the manifest, create-only         {job}/manifests/{attempt}-{boundary}.json
//!                      │
//!                      └─▶ the frontier passes the boundary: the sink may commit
//! ```
//!
//! The worker that writes manifests also merges small parts in the background ([`merge`]); the next
//! manifest names the merged part in their place.
//!
//! A checkpoint at boundary `b` is a [`manifest::Manifest`]. For each partition it contains the cut
//! and the offset to resume from; it also names the parts that hold every pane that arrived before
//! `b` and can still matter. Objects are immutable: they are created and never overwritten. The
//! manifest of the highest attempt wins, and among its manifests the one with the highest boundary.
//! [`part`], [`merge`], [`manifest`], [`memory`], [`ledger`], [`lineage`] and [`share`] are pure; [`store`] does
//! the I/O. [`inspect`] is the interface for operators.

pub mod commit;
pub mod encoded;
pub mod inspect;
pub mod ledger;
pub mod lineage;
pub mod manifest;
pub mod memory;
pub mod merge;
pub mod part;
pub mod part_info;
pub mod recover;
pub mod retain;
pub mod share;
pub mod store;
pub mod writing;
