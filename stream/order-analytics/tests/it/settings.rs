//! The settings of the program: each keeps its flag, variable, default and help.

use std::fmt::Write;

use clap::{Arg, Command};
use order_analytics::OrderFlags;
use stream_cli::Program;

/// The settings, one a line, in the order of the help.
const KEPT: &str = include_str!("settings.txt");

/// The commands that take the flags of a run.
const LIKE_A_RUN: [&str; 2] = ["supervise", "start-over"];

/// Adds a line for each flag of a command and of the commands below it.
fn list(command: &Command, path: &str, lines: &mut String) {
    for argument in command.get_arguments() {
        let _ = writeln!(lines, "{path}{}", line(argument));
    }

    let with_own = |below: &&Command| !LIKE_A_RUN.contains(&below.get_name());
    for below in command.get_subcommands().filter(with_own) {
        list(below, &format!("{path}{} ", below.get_name()), lines);
    }
}

fn line(argument: &Arg) -> String {
    let flag = argument
        .get_long()
        .map_or_else(|| argument.get_id().to_string(), |long| format!("--{long}"));
    let values: Vec<_> = argument.get_value_names().unwrap_or_default().to_vec();
    let takes_value = argument.get_action().takes_values();
    let value = if takes_value {
        values.join(" ")
    } else {
        String::new()
    };
    let env = argument.get_env().unwrap_or_default().to_string_lossy();
    let default: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    let help = argument.get_help().unwrap_or_default();

    format!("{flag} {value} | {env} | {} | {help}", default.join(","))
}

#[test]
fn no_setting_loses_its_flag_variable_default_or_help() {
    let mut lines = String::new();
    list(
        &Program::<OrderFlags>::default().command_line(),
        "",
        &mut lines,
    );

    for (number, (kept, found)) in KEPT.lines().zip(lines.lines()).enumerate() {
        assert_eq!(
            kept,
            found,
            "line {} of tests/it/settings.txt; if the change is meant, change the file",
            number + 1
        );
    }
    assert_eq!(KEPT.lines().count(), lines.lines().count(), "{lines}");
    assert!(KEPT.lines().count() > 45, "the list is not empty");
}

#[test]
fn supervise_and_start_over_take_every_flag_of_a_run() {
    let program = Program::<OrderFlags>::default().command_line();
    let flags = |command: &Command| command.get_arguments().map(line).collect::<Vec<_>>();

    for name in LIKE_A_RUN {
        let command = program.find_subcommand(name).unwrap();
        assert_eq!(flags(command), flags(&program), "{name}");
    }
}
