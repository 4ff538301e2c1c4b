//! `order-analytics`: counts the orders of each user in one-minute windows, from Kafka to Kafka.

mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser;
use stream::JobError;
use stream::cluster::EXIT_START_AGAIN;

fn main() -> ExitCode {
    commands::run(cli::Cli::parse())
        .map(ExitCode::from)
        .unwrap_or_else(|error| {
            eprintln!("order-analytics: {}", told(&error));
            let is_again = error
                .downcast_ref::<JobError>()
                .is_some_and(JobError::is_for_a_new_start);
            ExitCode::from(if is_again { EXIT_START_AGAIN } else { 1 })
        })
}

/// Returns the error and its causes on one line. Many messages contain their cause already, so each
/// text appears once.
fn told(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .fold(String::new(), |told, cause| match &*told {
            "" => cause,
            text if text.contains(&cause) => told,
            text => format!("{text}: {cause}"),
        })
}
