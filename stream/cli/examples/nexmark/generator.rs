//! Compares the results of each query on generated events with those on the same events in a log.

use std::sync::Arc;

use clap::ValueEnum;
use record_log::RecordLog;
use record_log::generated::{GeneratorLog, GeneratorSettings};
use record_log::simulated::SimulatedLog;

use crate::events;
use crate::oracle::{
    EVENTS, FIRST_RUN, PARTITIONS, Results, expected, found, memory, publish, run,
};
use crate::queries::Query;

const SEED: u64 = 7;

/// Returns a log whose topics of events have the first `count` generated events. Its other topics
/// are those of `rest`.
fn generated(count: u64, rest: &SimulatedLog) -> Arc<dyn RecordLog> {
    let settings = GeneratorSettings {
        partitions: u32::try_from(PARTITIONS).unwrap(),
        records: Some(count),
        per_second: None,
        seed: SEED,
    };

    let mut log: Arc<dyn RecordLog> = Arc::new(rest.clone());
    for topic in [events::TOPIC, events::PERSONS, events::AUCTIONS] {
        let generate = Arc::new(move |seed, number| crate::generated(topic, seed, number));
        log = Arc::new(GeneratorLog::open(settings, topic, generate, log).unwrap());
    }
    log
}

/// Runs a query on the first events and then, from its checkpoint, on all of them.
fn results(
    query: Query,
    mut log_with: impl FnMut(u64, &SimulatedLog) -> Arc<dyn RecordLog>,
) -> Results {
    let memory = memory();
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = format!("file://{}", folder.path().display());
    let mut topic = String::new();
    for (count, workers) in [(FIRST_RUN, 1), (EVENTS, 3)] {
        let log = log_with(count, &memory);
        topic = run(log, &memory, query, workers, &checkpoints);
    }
    found(&memory, query, &topic).0
}

#[test]
fn generated_events_have_the_same_results_as_published_ones() {
    for query in Query::value_variants() {
        let mut published = 0;
        let of_published = results(*query, |count, memory| {
            publish(memory, SEED, published..count);
            published = count;
            Arc::new(memory.clone())
        });
        let of_generated = results(*query, generated);

        assert_eq!(of_generated, of_published, "{query:?}");
        assert_eq!(of_generated, expected(*query, SEED), "{query:?}");
    }
}
