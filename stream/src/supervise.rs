//! Starts the job's process again whenever it dies: what a restart policy does, where there is none.
//!
//! YARN does not start a container again that was killed, and what starts it elsewhere may be slow or give up. So the
//! program can watch over itself: `order-analytics supervise …` runs `order-analytics …` until that ends for good.
//!
//! | the process ends | then |
//! |---|---|
//! | with 0: everything read, or asked to stop | the supervisor ends with 0 |
//! | with 75 ([`EXIT_START_AGAIN`]), by a signal, by a panic | it is started again, after a delay that doubles |
//! | with anything else: it cannot work as it is set up | the supervisor ends with the same code |

use std::ffi::OsString;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::attempt::Stop;
use crate::cluster::EXIT_START_AGAIN;

/// Delays before a start: doubled from the first to the last.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(10);
/// A process that lived so many times the last delay begins the delays anew.
const HEALTHY: u32 = 10;
/// How long the process may take to stop when it is asked to.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether the process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What a Rust program exits with that panicked.
const EXIT_PANIC: i32 = 101;

/// What the end of the process means.
#[derive(Debug, Eq, PartialEq)]
enum Verdict {
    StartAgain,
    End(u8),
}

/// Runs this program with other arguments again and again, until it ends for good or somebody asks to stop; says with
/// which code to exit.
///
/// # Errors
/// When the program cannot be started at all.
pub fn supervise(arguments: &[OsString], stop: &Stop) -> io::Result<u8> {
    let program = std::env::current_exe()?;
    let mut delay = FIRST_DELAY;
    loop {
        let begun = Instant::now();
        let status = watch(Command::new(&program).args(arguments).spawn()?, stop)?;
        match verdict(status) {
            Verdict::End(code) => return Ok(code),
            Verdict::StartAgain if stop.is_requested() => return Ok(0),
            Verdict::StartAgain => {}
        }
        delay = if begun.elapsed() > delay * HEALTHY { FIRST_DELAY } else { delay };
        tracing::warn!(%status, delay_ms = delay.as_millis(), "the job's process ended, starting it again");
        stop.wait(delay);
        delay = (delay * 2).min(LAST_DELAY);
    }
}

fn verdict(status: ExitStatus) -> Verdict {
    match status.code() {
        None | Some(EXIT_PANIC) => Verdict::StartAgain,
        Some(code) if code == i32::from(EXIT_START_AGAIN) => Verdict::StartAgain,
        Some(code) => Verdict::End(u8::try_from(code).unwrap_or(1)),
    }
}

/// Waits for the end of the process. It is asked to end when somebody asks to stop, and killed when it does not.
fn watch(mut child: Child, stop: &Stop) -> io::Result<ExitStatus> {
    let mut asked: Option<Instant> = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        match asked {
            None if stop.is_requested() => {
                terminate(&child)?;
                asked = Some(Instant::now());
            }
            Some(since) if since.elapsed() > STOP_WITHIN => {
                tracing::error!("the job's process does not stop and is killed");
                child.kill()?;
                return child.wait();
            }
            _ => thread::sleep(LOOK_EVERY),
        }
    }
}

fn terminate(child: &Child) -> io::Result<()> {
    match Pid::from_raw(child.id().cast_signed()) {
        Some(pid) => Ok(kill_process(pid, Signal::TERM)?),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(script: &str) -> ExitStatus {
        Command::new("sh").args(["-c", script]).status().unwrap()
    }

    #[test]
    fn only_an_end_that_a_new_start_can_mend_starts_the_process_again() {
        assert_eq!(verdict(status("exit 0")), Verdict::End(0));
        assert_eq!(verdict(status("exit 1")), Verdict::End(1));
        assert_eq!(verdict(status("exit 2")), Verdict::End(2));
        assert_eq!(verdict(status("exit 75")), Verdict::StartAgain);
        assert_eq!(verdict(status("exit 101")), Verdict::StartAgain);
        assert_eq!(verdict(status("kill -9 $$")), Verdict::StartAgain);
    }

    #[test]
    fn a_stop_is_passed_on_to_the_process() {
        let stop = Stop::default();
        stop.request();
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let status = watch(child, &stop).unwrap();
        assert_eq!(status.code(), None, "SIGTERM ended it: {status}");
    }
}
