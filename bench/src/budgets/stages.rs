//! The stages of the hot path. The work of each can be done alone, and repeatedly.
//!
//! A stage first makes its whole input, which is always the same. Then it passes over the input
//! once or twice. The difference of two such programs is one pass, without the start of the program
//! and the making of the input.

use std::error::Error;

use super::{client, jobs, records};

/// A stage of the hot path.
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// The unit of the stage's work.
    pub unit: &'static str,
    /// A sentence about the work that is counted.
    pub about: &'static str,
    /// The number of units in a pass.
    pub units: u64,
    /// Makes the input of a stage with this number of units, passes over it this number of times,
    /// and returns the number of handled units.
    pub run: fn(u64, u64) -> Result<u64, Box<dyn Error>>,
}

/// All stages, in the order in which data passes through them.
pub const STAGES: &[Stage] = &[
    Stage {
        name: "fetch",
        unit: "order",
        about: "the records of fetched batches: checksum, lz4, walk",
        units: 4_000,
        run: client::fetch,
    },
    Stage {
        name: "walk",
        unit: "record",
        about: "records of 300 random bytes, of which lz4 packs next to nothing: checksum, copy, walk",
        units: 4_000,
        run: client::walk,
    },
    Stage {
        name: "decode",
        unit: "order",
        about: "an order in the layout of our own producer",
        units: 2_000,
        run: records::decode_published,
    },
    Stage {
        name: "decode-any",
        unit: "order",
        about: "the same order with spaces and its fields in another sequence, by the general scanner",
        units: 2_000,
        run: records::decode_rewritten,
    },
    Stage {
        name: "admit",
        unit: "event",
        about: "an on-time event with an id: hand-over, admission and fold, in a job with a decoder that costs next to nothing",
        units: 100_000,
        run: jobs::admit,
    },
    Stage {
        name: "admit-any",
        unit: "event",
        about: "the same event in a job that counts each record, without ids",
        units: 100_000,
        run: jobs::admit_without_ids,
    },
    Stage {
        name: "close",
        unit: "result",
        about: "another key in a pane: its place in the table, closing, checkpoint and row, in a job with such a decoder and such an encoder",
        units: 40_000,
        run: jobs::close,
    },
    Stage {
        name: "encode",
        unit: "result",
        about: "the key and the JSON of a user's count",
        units: 4_000,
        run: records::encode,
    },
    Stage {
        name: "batch",
        unit: "record",
        about: "a record of 200 random bytes into a batch: its partition, encoding, a look for what lz4 can pack, checksum",
        units: 4_000,
        run: client::batch,
    },
    Stage {
        name: "publish",
        unit: "result",
        about: "a count into a batch: its partition, encoding, lz4, checksum",
        units: 4_000,
        run: client::publish,
    },
    Stage {
        name: "job",
        unit: "order",
        about: "the whole job without Kafka's client: decode, admission, fold, closing, checkpoints, rows",
        units: 20_000,
        run: jobs::whole,
    },
];
