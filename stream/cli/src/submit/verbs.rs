//! The verbs on a job, by its place: each finds the job, makes a plan and carries it out.

pub mod follow;
pub mod google;
pub mod kubernetes;
pub mod local;
pub mod savepoint;
pub mod yarn;
