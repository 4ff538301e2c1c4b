//! Checkpoints: what makes the results of a boundary repeatable.
//!
//! ```text
//! closed panes ──▶ parts.rs    each worker writes its closed panes, each once      {job}/parts/…
//! crossings ─────▶ commit.rs   one worker writes the manifest, create-only         {job}/manifests/{attempt}-{boundary}.json
//!                      │
//!                      └─▶ the frontier passes the boundary: the sink may commit
//! ```
//!
//! A checkpoint at boundary `b` is a [`manifest::Manifest`]: for each partition the cut and where to resume, and the parts
//! that hold every pane that arrived before `b` and can still matter. Objects are immutable and created, never
//! overwritten; the highest attempt that has a manifest wins, then its highest boundary. [`part`], [`manifest`], [`memory`],
//! [`ledger`] and [`lineage`] are pure; [`store`] does the I/O. [`inspect`] is for people.

pub mod commit;
pub mod inspect;
pub mod ledger;
pub mod lineage;
pub mod manifest;
pub mod memory;
pub mod part;
pub mod parts;
pub mod recover;
pub mod retain;
pub mod store;
