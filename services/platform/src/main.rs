//! The `platform` binary: reads the command line, runs the command, and prints an error in one
//! line.

use std::process::ExitCode;

use platform::config::Cli;

fn main() -> ExitCode {
    match platform::run(Cli::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("platform: {error}");
            ExitCode::FAILURE
        }
    }
}
