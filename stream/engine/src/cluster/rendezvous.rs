//! Brings the processes of a job together for each attempt. [`Lead`] is process 0's side,
//! [`Follower`] the side of the others. A caller must [prove](super::secret) that it belongs to the
//! job before its messages are read.
//!
//! ```text
//! process 0 (`lead`)                            another process (`follower`)
//!   door ◀─────── proof, terms ────────────────── calls until it is answered
//!   attempt ─────────────────────────────────────▶ opens its publishers
//!        ◀─────── progress that they carry ──────
//!   checkpoint, until one is whole ──────────────▶ reads its share
//!        ◀─────── whole, or the damage ──────────
//!   begin ───────────────────────────────────────▶
//!                  each pair of processes is linked (`links`)
//! ```

mod absence;
mod door;
mod follower;
mod lead;
mod links;

pub use follower::{Agreement, Follower, Instruction};
pub use lead::Lead;
