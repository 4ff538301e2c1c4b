//! # Operating
//!
//! ## Checkpoints
//!
//! Every job has commands for its checkpoints. `revenue` is the job of the [first page](super).
//!
//! ```text
//! $ revenue checkpoints --checkpoints file:///var/lib/revenue list
//! $ revenue checkpoints --checkpoints file:///var/lib/revenue verify
//! ```
//!
//! | command | |
//! |---|---|
//! | `list`, `show` | prints the checkpoints, with positions, parts and sizes |
//! | `verify` | reads every object, and names each that is damaged |
//! | `prune` | deletes checkpoints and parts that no start needs |
//! | `copy` | a savepoint: another job begins from it, or the same job elsewhere |
//! | `read` | the content as NDJSON |
//!
//! All of them are safe while the job runs.
//!
//! ## Try a new version beside the old one
//!
//! ```text
//! $ revenue checkpoints --checkpoints file:///var/lib/revenue copy --to revenue-green
//! $ revenue-of-tomorrow --job revenue-green --checkpoints file:///var/lib/revenue …
//! ```
//!
//! - The new job begins with the state of the checkpoint and reads from its positions. It does not read the
//!   past again, and its windows are whole.
//! - It has transactions and progress of its own, since these belong to the job's name. It neither fences the
//!   first job nor changes a result of it.
//! - It publishes what closes or is corrected from the checkpoint's boundary on, each row once. Rows before
//!   that are the first job's, and so are late and rejected records below the checkpoint's positions.
//! - While both run, the new program needs topics of its own. In the same topics, each row of the time in which
//!   both ran is there twice, with equal revisions unless late records came in another order.
//! - To hand the topics over, stop the first job by a signal (it commits everything before its last checkpoint),
//!   copy that checkpoint, and start the new job. After a kill, rows between the committed ones and the boundary
//!   may be missing: let the first job start once more and stop it. A late or rejected record that the first job
//!   read after its last checkpoint is in the side topics twice.
//!
//! A job that has a checkpoint is never overwritten: `copy` names the checkpoint that it found. A copy that was
//! interrupted is no checkpoint, since its manifest is written last. Repeat the command, and it goes on.
//!
//! `copy --to s3://bucket/prefix` takes a job's checkpoint to another place. The job keeps its name, so it goes
//! on there with its progress in the log, and no result is lost or doubled, however it ended. It must run from
//! one of the two places only.
//!
//! ## Read a checkpoint
//!
//! ```text
//! $ revenue checkpoints --checkpoints file:///var/lib/revenue read
//! {"aggregate_type":"(Sum, Count)","boundary_ms":1795341660000,"checkpoint":"3-1795341660000",…}
//! {"aggregate":[2500,2],"arrival_ms":1795341600000,"key":"north","pane_ms":1795341600000,"window_start_ms":1795341600000}
//! {"entries":1,"late_entries":0,"panes":1}
//! ```
//!
//! Output without the last line is not complete. A checkpoint contains the panes that closed before its
//! boundary and can still change a row; records of open panes are read again from the log.
//!
//! ## Change a job that has a checkpoint
//!
//! | change | the next start |
//! |---|---|
//! | workers, processes, disorder, allowed lateness, topics of results | goes on |
//! | another source, behind the others | goes on, and reads it from its oldest record |
//! | a stage that reaches no further back than those before, a summary, a ranking | goes on; it begins with windows that are not committed yet |
//! | a stage that reaches further back | is refused: the panes that it needs are not kept |
//! | another kind of key or aggregate, or another [`signature`](stream::Aggregate::signature) of it | is refused, unless the new kind [reads the old one](stream::Aggregate::earlier_signatures) |
//! | another key, event or state type of a process function, another step, refresh or [`state_version`](stream::Processing::state_version) | is refused |
//! | other windows, another order of sources | is refused |
//! | another decoder | goes on; name the [version](stream::Pipeline::decoded_by) |
//!
//! A refusal names the setting with both values, and the job's checkpoint stays as it is. `start-over`, or
//! another `--job`, reads the topics again.
