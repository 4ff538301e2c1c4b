//! The help of a job's program: the flags of a run in groups, and examples.

/// The groups of the flags that every job has, by their ids. Flags that no group names are the job's own.
const GROUPS: [(&str, &[&str]); 6] = [
    (
        "Records and results",
        &[
            "brokers",
            "client",
            "properties",
            "input",
            "input_header",
            "generate",
            "generate_rate",
            "generate_partitions",
            "generate_seed",
            "output",
            "output_format",
            "until_end",
            "allow_compaction",
            "results_retention",
        ],
    ),
    (
        "Checkpoints and delivery",
        &["job", "checkpoints", "guarantee", "stop_timeout"],
    ),
    (
        "Time",
        &[
            "disorder",
            "allowed_lateness",
            "max_future_skew",
            "max_clock_skew",
            "idle_after",
        ],
    ),
    (
        "Workers and memory",
        &[
            "workers",
            "sink_slots",
            "max_transaction_rows",
            "side_output_memory",
            "unreadable_batches",
            "event_id_memory",
            "max_open_panes",
        ],
    ),
    (
        "Logs, status and limits",
        &[
            "status_address",
            "log",
            "log_format",
            "answer_limit",
            "step_limit",
        ],
    ),
    (
        "Several processes",
        &[
            "processes",
            "process",
            "hosts",
            "silence_limit",
            "join_limit",
            "cluster_secret",
            "cluster_secret_file",
            "allow_open_links",
        ],
    ),
];

/// The group of the flags that only this job has.
const OWN: &str = "This job";

/// The flags that stay in clap's own group.
const OF_CLAP: [&str; 2] = ["help", "version"];

/// Puts the flags of a run into groups, in this command and in its subcommands that take them.
pub fn grouped(command: clap::Command) -> clap::Command {
    let is_run = command
        .get_arguments()
        .any(|argument| argument.get_id() == "brokers");
    let command = match is_run {
        true => command.mut_args(with_group),
        false => command,
    };
    command.mut_subcommands(grouped)
}

/// Returns examples of a program's command lines, for the end of its help.
pub fn examples(program: &str) -> String {
    let examples = [
        (
            "checks everything that a run needs",
            "doctor --brokers kafka-1:9092",
        ),
        (
            "runs until Ctrl-C, and goes on after a restart",
            "--brokers kafka-1:9092 --checkpoints file:///var/lib/tidemark",
        ),
        (
            "reads files, writes files, and ends: without Kafka",
            "--input file:///data/in --output file:///data/out",
        ),
        (
            "runs in the background; `status local` and `cancel local` follow",
            "submit local --brokers kafka-1:9092",
        ),
        (
            "lists the checkpoints",
            "checkpoints --checkpoints file:///var/lib/tidemark list",
        ),
    ];

    let lines = examples.map(|(about, line)| format!("  # {about}\n  {program} {line}\n"));
    format!("Examples:\n{}", lines.concat())
}

fn with_group(argument: clap::Arg) -> clap::Arg {
    let id = argument.get_id().as_str();
    if OF_CLAP.contains(&id) || argument.get_help_heading().is_some() {
        return argument;
    }

    let group = GROUPS.iter().find(|(_, ids)| ids.contains(&id));
    let heading = group.map_or(OWN, |(heading, _)| *heading);
    argument.help_heading(heading)
}

#[cfg(test)]
mod tests {
    use crate::{NoFlags, Program};

    use super::*;

    #[test]
    fn every_flag_of_a_run_is_in_a_group_of_the_help() {
        let command = Program::<NoFlags>::default().command_line();
        for name in ["", "supervise", "doctor", "start-over"] {
            let command = command.find_subcommand(name).unwrap_or(&command);
            let ungrouped: Vec<_> = command
                .get_arguments()
                .filter(|argument| argument.get_help_heading().is_none())
                .map(|argument| argument.get_id().as_str())
                .filter(|id| !OF_CLAP.contains(id))
                .collect();
            assert!(ungrouped.is_empty(), "{name}: {ungrouped:?}");
        }
    }

    #[test]
    fn groups_name_flags_that_there_are_and_only_own_flags_are_in_none() {
        let command = Program::<NoFlags>::default().command_line();
        let found: Vec<_> = command
            .get_arguments()
            .map(|argument| argument.get_id().as_str())
            .collect();
        for (heading, ids) in GROUPS {
            let missing = ids.iter().find(|id| !found.contains(id));
            assert_eq!(missing, None, "{heading}");
        }

        let grouped = |id: &str| GROUPS.iter().any(|(_, ids)| ids.contains(&id));
        let own: Vec<_> = found.into_iter().filter(|id| !grouped(id)).collect();
        assert_eq!(own, [""; 0], "this program has no flags of its own");
    }

    #[test]
    fn the_examples_of_the_help_are_valid_command_lines() {
        let program = Program::<NoFlags>::default();
        let command = program.command_line();
        let shown = command.clone().render_help().to_string();
        let lines: Vec<_> = shown
            .lines()
            .filter_map(|line| line.strip_prefix("  job "))
            .collect();
        assert!(lines.len() >= 5, "{shown}");

        for line in lines {
            let words = ["job"].into_iter().chain(line.split(' '));
            let parsed = command.clone().try_get_matches_from(words);
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
    }
}
