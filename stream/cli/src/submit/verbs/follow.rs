//! Carries out a plan with a line for each step, or prints it; and the folder of a job on this machine.

use std::env;
use std::path::{Path, PathBuf};

use crate::commands::{print, stop_on_signals};
use crate::error::CommandError;
use crate::logs;
use crate::submit::carry_out;
use crate::submit::local::{Folder, usual_folder};
use crate::submit::plan::Plan;
use crate::submit::release::Release;
use crate::submit::targets::{LocalFlags, PlaceFlags, ProgramFlags};

const UNREADABLE: &str = "cannot read the program";

/// Prints the plan, or carries it out.
pub fn follow(plan: &Plan, place: &PlaceFlags) -> Result<u8, CommandError> {
    if place.dry_run {
        match place.json {
            true => print(&format!("{}\n", plan.to_json()))?,
            false => print(&plan.to_string())?,
        }
        return Ok(0);
    }

    let stop = stop_on_signals()?;
    let count = plan.steps.len();
    let mut number = 0;
    carry_out::carry_out(plan, &stop, &mut |about| {
        number += 1;
        // The steps of a rollback are not counted.
        logs::note(&format!("[{}/{count}] {about}", number.min(count)));
    })
    .map_err(|error| CommandError::Other(Box::new(error)))?;

    print(&format!("{}\n", plan.end))?;
    for (name, at) in &plan.look {
        print(&format!("  {name}: {at}\n"))?;
    }

    Ok(0)
}

/// Carries out the plan of a change, unless the job has that form already.
pub fn follow_change(plan: Option<Plan>, place: &PlaceFlags) -> Result<u8, CommandError> {
    match plan {
        Some(plan) => follow(&plan, place),
        None => {
            print("the job runs this program already\n")?;
            Ok(0)
        }
    }
}

pub fn folder_of(flags: &LocalFlags) -> Folder {
    folder(flags.place.folder.as_deref(), &flags.job)
}

pub fn folder(named: Option<&Path>, job: &str) -> Folder {
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = env::var_os("HOME").map(PathBuf::from);
    let usual = || usual_folder(state.as_deref(), home.as_deref(), job);
    Folder(named.map_or_else(usual, Path::to_path_buf))
}

pub fn this_program() -> Result<Release, CommandError> {
    Release::running().map_err(CommandError::system(UNREADABLE))
}

pub fn new_program(flags: &ProgramFlags) -> Result<Release, CommandError> {
    match &flags.program {
        Some(program) => Release::of(program.clone()).map_err(CommandError::system(UNREADABLE)),
        None => this_program(),
    }
}

pub fn refused(reason: String) -> CommandError {
    CommandError::Other(reason.into())
}
