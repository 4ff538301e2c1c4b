//! The `platform` binary: reads the command line, runs what it asks for, and says in one line why it could not.

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
