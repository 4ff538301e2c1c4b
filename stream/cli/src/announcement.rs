//! The lines that a run begins and ends with: the places of its records, results and checkpoints, and how it ended.

use record_log::files::FilesSettings;
use stream::{AnyPipeline, Guarantee, Settings, Stop};

use crate::flags::LogFlags;

/// Logs the source topics, and the places of the records, of the results and of the checkpoints.
pub fn announce(pipeline: &AnyPipeline, records: &LogFlags, settings: &Settings) {
    let sources = pipeline.source_topics().join(", ");
    let mut results = vec![pipeline.results_topic().to_owned()];
    results.extend(pipeline.view_topics());

    tracing::info!(topics = sources, from = origin(records), "reads records");
    tracing::info!(
        topics = results.join(", "),
        to = destination(records),
        "publishes results"
    );

    match loss(settings) {
        Some(loss) => tracing::warn!("{loss}"),
        None => tracing::info!(url = settings.checkpoints, "keeps checkpoints"),
    }
}

/// Logs why the job has ended without an error.
pub fn report_end(stop: &Stop) {
    if stop.is_immediate() {
        tracing::warn!("ended at once: the next start repeats everything that was not committed");
    } else if stop.is_requested() {
        tracing::info!("ended as requested: the next start repeats what was not committed");
    } else {
        tracing::info!("ended: everything was read, and all windows are closed");
    }
}

/// Logs that the process ends while the job waits for a server.
pub fn report_break() {
    tracing::warn!(
        "ended at once while it waited for a server: the next start repeats everything that was not committed"
    );
}

/// Returns a sentence about checkpoints that the end of the process deletes; none if they outlive it.
fn loss(settings: &Settings) -> Option<String> {
    if !settings.checkpoints.starts_with("memory:") {
        return None;
    }

    let until = match settings.guarantee {
        Guarantee::ExactlyOnce => "results are exactly once only while it lives",
        Guarantee::AtLeastOnce => "the next start cannot go on from them",
    };

    Some(format!(
        "checkpoints are in memory and lost with this process, so {until}: set --checkpoints to file:///folder, \
         gs://bucket/prefix or s3://bucket/prefix"
    ))
}

fn origin(records: &LogFlags) -> String {
    match records.files() {
        Some(FilesSettings { path, .. }) => format!("files at {}", path.display()),
        None if records.has_own_records() => "the program's generator".to_owned(),
        None => format!("Kafka at {}", records.brokers),
    }
}

fn destination(records: &LogFlags) -> String {
    let kafka = || format!("Kafka at {}", records.brokers);
    records.output.clone().unwrap_or_else(kafka)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        records: LogFlags,
    }

    fn places(flags: &[&str]) -> (String, String) {
        let records = Line::parse_from(["words"].iter().chain(flags)).records;
        (origin(&records), destination(&records))
    }

    #[test]
    fn the_places_are_those_that_the_flags_name() {
        let both = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let kafka = "Kafka at a:1";
        assert_eq!(places(&["--brokers", "a:1"]), both(kafka, kafka));
        assert_eq!(
            places(&["--brokers", "a:1", "--input", "/data"]),
            both("files at /data", kafka)
        );

        assert_eq!(
            places(&["--generate", "endless", "--output", "file:///out"]),
            both("the program's generator", "file:///out")
        );
    }

    #[test]
    fn checkpoints_in_memory_are_warned_of_by_their_guarantee() {
        let loss_of = |checkpoints: &str, guarantee| {
            loss(&Settings {
                checkpoints: checkpoints.to_owned(),
                guarantee,
                ..Settings::default()
            })
        };

        let said = loss_of("memory:///", Guarantee::ExactlyOnce).unwrap();
        assert!(said.contains("exactly once only while") && said.contains("--checkpoints"));
        let said = loss_of("memory:///", Guarantee::AtLeastOnce).unwrap();
        assert!(!said.contains("exactly once"), "{said}");
        for durable in ["file:///there", "gs://bucket/there", "s3://bucket/there"] {
            assert_eq!(loss_of(durable, Guarantee::ExactlyOnce), None);
        }
    }
}
