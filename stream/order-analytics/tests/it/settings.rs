//! The settings of the program: each keeps its flag, variable, default and help.

use std::fmt::Write;

use clap::{Arg, Command};
use order_analytics::OrderFlags;
use stream_cli::Program;

/// The settings, one a line, in the order of the help.
const KEPT: &str = include_str!("settings.txt");

/// The commands that take the flags of a run.
const LIKE_A_RUN: [&str; 3] = ["supervise", "doctor", "start-over"];

/// Adds a line for each flag of a command and of the commands below it. Those of a run are listed once.
fn list(command: &Command, run: &Command, path: &str, lines: &mut String) {
    let is_the_run = path.is_empty();
    let has_a_run = command
        .get_arguments()
        .any(|argument| argument.get_id() == "brokers");
    let own: Vec<&Arg> = match has_a_run && !is_the_run {
        true => own(command, run).collect(),
        false => command.get_arguments().collect(),
    };
    for argument in own {
        let _ = writeln!(lines, "{path}{}", line(argument));
    }

    for below in command.get_subcommands() {
        list(below, run, &format!("{path}{} ", below.get_name()), lines);
    }
}

/// Returns the flags of a command that a run does not have.
fn own<'a>(command: &'a Command, run: &'a Command) -> impl Iterator<Item = &'a Arg> {
    let is_shared = |argument: &Arg| {
        let mut shared = run.get_arguments();
        shared.any(|other| other.get_id() == argument.get_id())
    };
    command
        .get_arguments()
        .filter(move |argument| !is_shared(argument))
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
    let program = Program::<OrderFlags>::default().command_line();
    list(&program, &program, "", &mut lines);

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
fn commands_like_a_run_take_every_flag_of_a_run() {
    let program = Program::<OrderFlags>::default().command_line();
    let flags = program.get_arguments().map(line).collect::<Vec<_>>();

    for name in LIKE_A_RUN {
        let command = program.find_subcommand(name).unwrap();
        let own: Vec<_> = own(command, &program).map(line).collect();
        let shared = command.get_arguments().map(line);
        let shared: Vec<_> = shared.filter(|line| !own.contains(line)).collect();
        assert_eq!(shared, flags, "{name}");
    }
}
