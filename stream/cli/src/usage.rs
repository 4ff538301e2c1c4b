//! The errors of a command line. They are clap's, with these differences: a missing command or flag is reported in one
//! sentence and not by a page of help; and a value that an environment variable holds is reported by the variable's
//! name, and not shown if it is a secret. A reason has an example of a valid value.

use std::error::Error as _;
use std::ffi::OsString;
use std::num::ParseIntError;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error};

use crate::logs;

/// The exit code for a wrong command line, which is clap's, too.
const EXIT_USAGE: i32 = 2;

/// Prints the error of a command line, or the help that was requested, and ends the process. A wrong value that an
/// environment variable holds is reported by the variable's name. `command` is the whole command line, and the first of
/// the `arguments` is the program.
pub fn exit(error: &Error, command: &Command, arguments: &[OsString]) -> ! {
    if !error.use_stderr() {
        error.exit();
    }

    let is_set = |variable: &str| std::env::var_os(variable).is_some();
    logs::note(&text(error, command, arguments, is_set));
    std::process::exit(EXIT_USAGE)
}

/// Returns the text of an error. `is_set` returns whether an environment variable is set.
pub fn text(
    error: &Error,
    command: &Command,
    arguments: &[OsString],
    is_set: impl Fn(&str) -> bool,
) -> String {
    // Only a built command can show its flags.
    let mut command = command.clone();
    command.build();
    let path = path(&command, arguments);
    match error.kind() {
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            needs_a_command(&path)
        }
        ErrorKind::MissingRequiredArgument => needs_flags(&path, error),
        _ => by_variables(error, &path, arguments, is_set),
    }
}

/// Returns the commands that the arguments name, from the program itself to the innermost one.
fn path<'a>(command: &'a Command, arguments: &[OsString]) -> Vec<&'a Command> {
    let mut path = vec![command];
    for argument in arguments.iter().skip(1) {
        let innermost = path[path.len() - 1];
        path.extend(innermost.find_subcommand(argument));
    }
    path
}

fn name(path: &[&Command]) -> String {
    let names: Vec<_> = path.iter().map(|command| command.get_name()).collect();
    names.join(" ")
}

fn needs_a_command(path: &[&Command]) -> String {
    let innermost = path[path.len() - 1];
    let commands: Vec<_> = innermost
        .get_subcommands()
        .map(Command::get_name)
        .filter(|name| *name != "help")
        .collect();
    let choice = match commands.as_slice() {
        [only] => format!("the word `{only}`"),
        several => format!("one of the words {}", several.join(", ")),
    };

    let name = name(path);
    format!("error: `{name}` needs {choice} after it; `{name} --help` explains them")
}

fn needs_flags(path: &[&Command], error: &Error) -> String {
    let flags = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(flags)) => flags.join(", "),
        Some(ContextValue::String(flag)) => flag.clone(),
        _ => "further arguments".to_owned(),
    };

    let name = name(path);
    format!("error: `{name}` needs {flags}; `{name} --help` explains them")
}

/// Returns clap's text, with a better reason for a value that cannot be parsed.
fn with_example(error: &Error) -> String {
    let text = error.render().to_string();
    let Some(reason) = error.source() else {
        return text;
    };

    let said = reason.to_string();
    if reason.is::<humantime::DurationError>() {
        return text.replacen(&said, &format!("{said}; valid are 500ms, 90s, 5m or 1h"), 1);
    }

    if reason.is::<ParseIntError>() {
        return text.replacen(&said, "a whole number is expected, as in 4", 1);
    }

    text
}

/// Returns clap's text, and names the variables of those flags in it that come from the environment.
fn by_variables(
    error: &Error,
    path: &[&Command],
    arguments: &[OsString],
    is_set: impl Fn(&str) -> bool,
) -> String {
    let mut text = with_example(error);
    let flags = path.iter().flat_map(|command| command.get_arguments());
    for flag in flags {
        let Some(variable) = flag.get_env().and_then(|variable| variable.to_str()) else {
            continue;
        };
        let quoted = format!("'{flag}'");
        if !text.contains(&quoted) || is_given(flag, arguments) || !is_set(variable) {
            continue;
        }

        let long = flag.get_long().unwrap_or_default();
        if flag.is_hide_env_values_set() {
            let reason = reason_without_value(error);
            return format!(
                "error: the value of the variable {variable} is not valid for --{long}{reason}"
            );
        }
        text = text.replacen(&quoted, &format!("the variable {variable} (--{long})"), 1);
    }

    text
}

/// Returns the reason why a value is wrong, behind a colon; nothing if there is none, or if it repeats the value.
fn reason_without_value(error: &Error) -> String {
    let reason = error.source().map(ToString::to_string);
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => value.as_str(),
        _ => "",
    };

    let escaped = value.escape_debug().to_string();
    let repeats = |reason: &str| reason.contains(value) || reason.contains(&escaped);
    match reason {
        Some(reason) if value.is_empty() || !repeats(&reason) => format!(": {reason}"),
        _ => String::new(),
    }
}

/// Returns whether the arguments name this flag.
fn is_given(flag: &Arg, arguments: &[OsString]) -> bool {
    let Some(long) = flag.get_long() else {
        return false;
    };

    let long = format!("--{long}");
    arguments.iter().any(|argument| {
        let argument = argument.to_string_lossy();
        argument
            .strip_prefix(&long)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NoFlags, Program};

    /// Returns the text for a command line of the program `job`, where these variables are set.
    fn refused(line: &str, variables: &[&str]) -> String {
        let command = Program::<NoFlags>::default().command_line();
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = command.clone().try_get_matches_from(&arguments);
        let is_set = |variable: &str| variables.contains(&variable);
        text(&error.unwrap_err(), &command, &arguments, is_set)
    }

    #[test]
    fn what_a_command_needs_is_one_sentence() {
        for (line, needed) in [
            ("job submit", "local, gce, dataproc"),
            ("job status", "local, gce, dataproc"),
            ("job rescale", "local, gce, dataproc, yarn, kubernetes"),
            ("job checkpoints", "list, show, verify, prune, copy, read"),
            ("job submit gce", "--releases <URL>"),
            ("job checkpoints copy", "--to <JOB|URL>"),
        ] {
            let said = refused(line, &[]);
            assert!(
                said.starts_with(&format!("error: `{line}` needs ")),
                "{said}"
            );
            assert!(said.contains(needed) && said.lines().count() == 1, "{said}");
        }
    }

    #[test]
    fn a_wrong_value_is_explained_with_an_example() {
        for (line, example) in [
            ("job --disorder 5", "90s"),
            ("job --disorder 5q", "90s"),
            ("job --event-id-memory 64", "64MiB"),
            ("job --workers many", "as in 4"),
            ("job --status-address here", "127.0.0.1:5006"),
        ] {
            let said = refused(line, &[]);
            assert!(said.contains(example), "{line}: {said}");
        }

        assert!(refused("job --worker 3", &[]).contains("'--workers'"));
    }

    #[test]
    fn a_value_of_a_variable_is_reported_by_its_name() {
        // The error is that of the flag; whether it is given decides.
        let error = |line: &str| {
            let command = Program::<NoFlags>::default().command_line();
            let arguments = line.split(' ').map(OsString::from);
            command.try_get_matches_from(arguments).unwrap_err()
        };

        let said = |line: &str, given: &[&str], variable: &str| {
            let command = Program::<NoFlags>::default().command_line();
            let given: Vec<OsString> = given.iter().map(OsString::from).collect();
            text(&error(line), &command, &given, |name| name == variable)
        };

        let wrong = "job --workers many";
        let named = said(wrong, &["job"], "TIDEMARK_WORKERS");
        assert!(
            named.contains("the variable TIDEMARK_WORKERS (--workers)"),
            "{named}"
        );

        for given in [["job", "--workers"], ["job", "--workers=many"]] {
            let flag = said(wrong, &given, "TIDEMARK_WORKERS");
            assert!(!flag.contains("TIDEMARK_WORKERS"), "{flag}");
        }

        let flag = said(wrong, &["job"], "TIDEMARK_BROKERS");
        assert!(!flag.contains("TIDEMARK_"), "{flag}");

        let secret = said("job --property sesame", &["job"], "TIDEMARK_PROPERTIES");
        assert!(
            secret.contains("TIDEMARK_PROPERTIES") && !secret.contains("sesame"),
            "{secret}"
        );
    }

    #[test]
    fn the_reason_for_a_secret_does_not_repeat_it() {
        let reason = |reason: &'static str| {
            let refuse = move |_: &str| Err::<String, _>(reason);
            let password = Arg::new("password").long("password").value_parser(refuse);
            let command = Command::new("job").arg(password);
            let line = ["job", "--password", "open \"sesame\""];
            reason_without_value(&command.try_get_matches_from(line).unwrap_err())
        };

        assert_eq!(reason("24 letters at least"), ": 24 letters at least");
        assert_eq!(reason("open \"sesame\" is short"), "");
        assert_eq!(reason(r#""open \"sesame\"" is short"#), "");
    }
}
