//! `bench`: the harness's commands.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match bench::command::Command::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
