//! Tests of the command line, its commands, and runs on sample records and files.

use std::time::Duration;

use clap::Parser;
use record_log::Record;
use stream::{Count, Pipeline, Rejected, Stop, Windows};

use super::*;

/// Counts each text in windows of a minute.
fn words(job: Job) -> Result<Pipeline<u64, Count>, JobError> {
    Ok(job
        .source("words", |record: &Record<'_>| {
            let text = std::str::from_utf8(record.value.unwrap_or_default());
            let word: u64 = text
                .map_err(Rejected::because)?
                .parse()
                .map_err(Rejected::because)?;
            Ok((record.log_time_ms, word))
        })
        .window(Windows::tumbling(Duration::from_secs(60))?)
        .aggregate(|word| [(word, Count(1))])
        .sink("word-counts", |row, output| {
            let line = format!("{} {}", row.key, row.aggregate.0);
            output.value.extend(line.bytes());
        }))
}

fn program() -> Program<NoFlags> {
    Program::of("words", words)
}

fn sample() -> Vec<SampleRecord> {
    let record = |word: &&str| SampleRecord {
        key: Vec::new(),
        value: word.as_bytes().to_vec(),
    };
    ["3", "17", "3", "no number"].iter().map(record).collect()
}

fn run(program: Program<NoFlags>, arguments: &[&str]) -> Result<u8, CommandError> {
    let line = ["words"].iter().chain(arguments).map(OsString::from);
    program.run(line)
}

/// The flags of a run.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    run: RunFlags<NoFlags>,
}

/// Returns the default of a flag of a command, or none if the command has no such flag.
fn default_of(command: &clap::Command, flag: &str) -> Option<String> {
    let argument = command.get_arguments().find(|arg| arg.get_id() == flag)?;
    let default = argument.get_default_values().first()?;
    Some(default.to_string_lossy().into_owned())
}

#[test]
fn the_command_line_is_well_formed_with_commands_of_the_job_too() {
    program().command_line().debug_assert();
    program()
        .sample(sample)
        .command::<RunFlags<NoFlags>>("look", "Looks around", |_| Ok(0))
        .command_line()
        .debug_assert();
}

#[test]
fn every_command_takes_the_job_s_name_from_the_program() {
    let command = program()
        .command::<RunFlags<NoFlags>>("look", "Looks around", |_| Ok(0))
        .command_line();
    assert_eq!(default_of(&command, "job").as_deref(), Some("words"));

    for name in ["supervise", "checkpoints", "start-over", "doctor", "look"] {
        let command = command.find_subcommand(name).unwrap();
        let job = default_of(command, "job");
        assert_eq!(job.as_deref(), Some("words"), "{name}");
    }
}

#[test]
fn a_command_of_the_job_s_own_gets_its_flags_and_gives_the_exit_code() {
    #[derive(clap::Args)]
    struct Flags {
        #[arg(long)]
        code: u8,
    }

    let own = || program().command("give", "Gives a code", |flags: Flags| Ok(flags.code));
    assert_eq!(run(own(), &["give", "--code", "7"]).unwrap(), 7);

    let failing = program().command("fail", "Fails", |_: Flags| {
        Err(CommandError::Other("it failed".into()))
    });

    let error = run(failing, &["fail", "--code", "7"]).unwrap_err();
    assert_eq!(
        (error.on_one_line().as_str(), error.exit_code()),
        ("it failed", 1)
    );
}

#[test]
fn sample_records_are_read_only_if_no_kafka_is_named() {
    let is_sampled = |program: &Program<NoFlags>, arguments: &[&str]| {
        let line = ["words"].iter().chain(arguments);
        program.is_sampled(&program.command_line().get_matches_from(line))
    };

    let with = program().sample(sample);
    assert!(is_sampled(&with, &[]) && is_sampled(&with, &["--workers", "1"]));
    for kafka in [
        ["--brokers", "localhost:9092"],
        ["--client", "native"],
        ["--property", "client.id=me"],
    ] {
        assert!(!is_sampled(&with, &kafka), "{kafka:?}");
    }

    assert!(!is_sampled(&program(), &[]), "without sample records");
}

#[test]
fn the_results_of_sample_records_are_those_of_the_job() {
    let pipeline = words(Job::new("words")).unwrap().into();
    let samples = [Sample {
        topic: None,
        records: sample(),
    }];
    let published = sample::run(pipeline, Default::default(), &samples, &Stop::default());
    assert_eq!(published.unwrap(), expected());
}

/// The job's output for the sample records.
fn expected() -> Published {
    let warning = "1 rejected record was not counted; \
                   the first: invalid digit found in string: no number";
    Published {
        results: vec!["17 1".to_owned(), "3 2".to_owned()],
        warnings: vec![warning.to_owned()],
    }
}

/// Writes the sample records to two files of a folder, below a header each.
fn sample_files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, lines) in [("a", "word\n3\n17"), ("b", "word\n\n3\nno number\n")] {
        std::fs::write(folder.path().join(name), lines).unwrap();
    }
    folder
}

#[test]
fn the_results_of_files_are_those_of_the_same_records() {
    let folder = sample_files();
    let path = folder.path().display().to_string();
    let flags = ["words", "--input", &path, "--input-header"];
    let records = Line::parse_from(flags).run.records;
    let settings = |workers, checkpoints: &str| stream::Settings {
        workers,
        checkpoints: checkpoints.to_owned(),
        ..Default::default()
    };

    let run = |settings| {
        let pipeline = words(Job::new("words")).unwrap().into();
        sample::run_own_records(pipeline, settings, &records, None, &Stop::default())
    };

    for workers in 1..=3 {
        assert_eq!(run(settings(workers, "memory:///")).unwrap(), expected());
    }

    let error = run(settings(1, "file:///checkpoints")).unwrap_err();
    assert!(error.on_one_line().contains("--checkpoints"), "{error}");
}

#[test]
fn files_are_read_without_a_kafka_and_without_sample_records() {
    let folder = sample_files();
    let url = format!("file://{}", folder.path().display());
    let missing = format!("{url}/missing");

    // The sample records would be read without an error.
    let program = program().sample(sample);
    let error = run(program, &["--input", &missing]).unwrap_err();
    assert!(error.on_one_line().contains("missing: "), "{error}");
}

/// Returns the paths of the files below a folder, in order, each with its content.
fn files_below(folder: &std::path::Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            let content = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            found.push((path.display().to_string(), content));
        }
    }

    found.sort();
    found
}

#[test]
fn files_become_files_without_a_kafka_and_once() {
    let input = sample_files();
    let folder = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("file://{}/{name}", folder.path().display());
    let input = format!("file://{}", input.path().display());
    let output = url("output");
    let flags = ["--input", &input, "--input-header", "--output", &output];
    let run = || {
        let records = Line::parse_from(["words"].iter().chain(&flags)).run.records;
        let pipeline = AnyPipeline::from(words(Job::new("words")).unwrap());
        let log = records.open(&pipeline.source_topics()).unwrap();
        let settings = stream::Settings {
            checkpoints: url("checkpoints"),
            until_end: true,
            ..stream::Settings::default()
        };
        pipeline
            .on(settings, log)
            .unwrap()
            .run(&Stop::default())
            .unwrap();
    };

    run();

    let counts = folder.path().join("output/word-counts");
    let files = files_below(&counts);
    let mut lines: Vec<&str> = files
        .iter()
        .flat_map(|(_, content)| content.lines())
        .collect();
    lines.sort_unstable();
    let row = |value: &str| format!("{{\"key\":\"\",\"value\":\"{value}\"}}");
    assert_eq!(lines, [row("17 1"), row("3 2")]);

    let dead = files_below(&folder.path().join("output/words-dead-letter"));
    assert_eq!(dead.len(), 1);
    assert!(
        dead[0]
            .1
            .starts_with("{\"key\":null,\"value\":\"no number\",\"headers\":[["),
        "{}",
        dead[0].1
    );

    run();
    let again = files_below(&counts);
    assert_eq!(again, files, "the second run repeats nothing");
}

#[test]
fn the_results_of_files_are_printed_only_if_no_kafka_is_named() {
    let are_printed = |arguments: &[&str]| {
        let command = program().command_line();
        let matches = command.get_matches_from(["words"].iter().chain(arguments));
        let line = CommandLine::<NoFlags>::from_arg_matches(&matches).unwrap();
        is_printed(&matches, &line.run.records)
    };

    let files = ["--input", "/data"];
    let kafka = ["--brokers", "localhost:9092"];
    assert!(are_printed(&files) && are_printed(&["--generate", "7"]));
    assert!(!are_printed(&[]) && !are_printed(&kafka));
    assert!(!are_printed(&[files, kafka].concat()));
    assert!(!are_printed(
        &[files, ["--output", "file:///results"]].concat()
    ));
}

/// Returns a word by its number, and now and then no number.
fn word(_: &str, seed: u64, number: u64) -> GeneratedRecord {
    let value = match number % 10 {
        9 => "no number".to_owned(),
        _ => ((seed + number) % 3).to_string(),
    };

    GeneratedRecord {
        key: Vec::new(),
        value: value.into_bytes(),
        time_ms: 1_000 * number,
    }
}

#[test]
fn results_of_generated_records_are_printed_unless_endless() {
    let run = |generator: Option<&Generator>, flags: &[&str]| {
        let records = Line::parse_from(["words"].iter().chain(flags)).run.records;
        let pipeline = words(Job::new("words")).unwrap().into();
        let settings = stream::Settings::default();
        sample::run_own_records(pipeline, settings, &records, generator, &Stop::default())
    };

    let generator: Generator = Arc::new(word);
    let mut counts = std::collections::BTreeMap::new();
    for record in (0..100).map(|number| word("words", 1, number)) {
        if record.value.len() == 1 {
            *counts
                .entry((record.time_ms / 60_000, record.value))
                .or_insert(0) += 1;
        }
    }

    let lines = counts
        .iter()
        .map(|((_, value), count)| format!("{} {count}", value[0] - b'0'));
    let mut expected: Vec<String> = lines.collect();
    expected.sort();

    for partitions in ["1", "3"] {
        let flags = ["--generate", "100", "--generate-partitions", partitions];
        let published = run(Some(&generator), &flags).unwrap();
        assert_eq!(published.results, expected);
        assert!(
            published.warnings[0].starts_with("10 rejected records"),
            "{published:?}"
        );
    }

    let refused = |generator, flags: &[&str]| run(generator, flags).unwrap_err().on_one_line();
    let endless = ["--generate", "endless", "--generate-rate", "5"];
    assert!(refused(Some(&generator), &endless).contains("--output"));
    assert!(refused(None, &["--generate", "5"]).contains("leave out --generate"));
    let none = ["--generate", "5", "--generate-partitions", "0"];
    assert!(refused(Some(&generator), &none).contains("at least 1 partition"));
}

#[test]
fn flags_of_generated_records_are_shown_where_there_are_any() {
    let help = |program: Program<NoFlags>| program.command_line().render_help().to_string();
    assert!(!help(program()).contains("--generate"));
    assert!(help(program().generator(word)).contains("--generate-rate"));
}

#[test]
fn start_over_needs_checkpoints_that_outlive_a_process() {
    let error = run(program(), &["start-over"]).unwrap_err();
    assert!(error.on_one_line().contains("--checkpoints"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let arguments = ["start-over", "--job", "of-today", "--checkpoints", &url];
    assert_eq!(run(program(), &arguments).unwrap(), 0);

    let show = [
        "checkpoints",
        "--job",
        "of-today",
        "--checkpoints",
        &url,
        "show",
    ];
    assert_eq!(run(program(), &show).unwrap(), 0);

    let show = ["checkpoints", "--checkpoints", &url, "show"];
    assert!(run(program(), &show).is_err(), "the job words has none");
}

#[test]
fn mistyped_jobs_and_paths_are_errors_and_create_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let missing = format!("{url}/missing");
    let copied = format!("{url}/copied");

    let commands = [
        &["list"][..],
        &["list", "--json"],
        &["show"],
        &["show", "7-60000"],
        &["verify"],
        &["prune"],
        &["copy", "--to", "green"],
        &["copy", "--to", &copied],
        &["read"],
    ];

    for place in [&url, &missing] {
        for command in commands {
            let line = [&["checkpoints", "--checkpoints", place][..], command].concat();
            let error = run(program(), &line).unwrap_err();
            assert_eq!(error.exit_code(), 1);
            let said = error.on_one_line();
            assert!(
                said.contains("--checkpoints") || said.contains("checkpoint 7-60000"),
                "{said}"
            );
        }
    }

    let error = run(program(), &["start-over", "--checkpoints", &missing]).unwrap_err();
    assert!(
        error.on_one_line().contains("there is no folder"),
        "{error}"
    );

    assert_eq!(files_below(folder.path()), []);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn commands_on_a_submitted_job_need_no_name() {
    for name in ["status", "logs", "cancel", "rescale", "upgrade"] {
        let parsed = program()
            .command_line()
            .try_get_matches_from(["words", name, "local"]);
        assert!(parsed.is_ok(), "{name}: {parsed:?}");
    }
}

#[test]
fn checkpoints_are_copied_to_a_job_or_a_place_and_read_by_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let start_over = ["start-over", "--checkpoints", &url];
    assert_eq!(run(program(), &start_over).unwrap(), 0);

    let read = ["checkpoints", "--checkpoints", &url, "read"];
    assert_eq!(run(program(), &read).unwrap(), 0);

    let elsewhere = format!("{url}/elsewhere");
    let copied = |to: &str| {
        let copy = ["checkpoints", "--checkpoints", &url, "copy", "--to", to];
        run(program(), &copy).unwrap_err().on_one_line()
    };

    for to in ["green", &elsewhere] {
        let said = copied(to);
        assert!(said.contains("has just begun"), "{said}");
    }

    assert!(copied("words").contains("nothing was copied, for job \"words\" has checkpoint"));
    assert!(copied("").contains("--to is empty"));
    assert!(copied("memory:///").contains("--checkpoints"));
}

#[test]
fn flags_of_a_job_are_those_of_its_program_and_secrets_are_not_shown() {
    let secret = "sasl.password=open sesame";
    let line = Line::parse_from(["words", "--property", secret, "--job", "of-today"]);
    assert_eq!(line.run.job.job, "of-today");

    let shown = format!("{:?}", line.run);
    assert!(shown.contains("sasl.password") && !shown.contains("sesame"));
}
