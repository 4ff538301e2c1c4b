//! Restarts the job's process whenever it dies: a restart policy for places that have none.
//!
//! YARN does not restart a container that was killed, and other platforms may restart slowly or
//! give up. So the program can supervise itself: `JOB supervise …` runs `JOB …` until that ends for
//! good.
//!
//! | the process ends | then |
//! |---|---|
//! | with 0: everything read, or a stop was requested | the supervisor ends with 0 |
//! | with 75 ([`EXIT_START_AGAIN`]), a signal or a panic | it is restarted, the delay doubles |
//! | with anything else: it cannot work as it is set up | the supervisor ends with the same code |
//! | does not end but hangs: no sign of life for the silence limit | it is killed, and started again |
//!
//! The process writes its signs of life to its standard output, which has no other use. A separate
//! thread writes them. If that thread hangs, the whole process does: it is stopped, or its machine
//! is gone. The supervisor does not count time during which it was suspended itself.
//!
//! The first request to stop is passed on as SIGTERM, the second one as SIGUSR1. So the process may receive SIGTERM from others,
//! too, such as systemd or YARN, which signal all processes of a unit or a group, and still drains.
//!
//! If the supervisor is gone, a sign of life cannot be written any more. The process then drains and
//! ends: no command finds a job whose supervisor does not run.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use stream::{EXIT_START_AGAIN, Stop};

/// The first delay before a restart; the delay doubles up to a limit.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(10);
/// A process that has lived this many times the last delay resets the delay.
const HEALTHY: u32 = 10;
/// The time that the process has to end after its stop timeout.
const STOP_MARGIN: Duration = Duration::from_secs(10);
/// The interval at which the supervisor checks whether the process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The number of signs of life that the process sends within the silence limit.
const BEATS: u32 = 4;
/// The longest time between two of them. It is the time in which the process notices that its
/// supervisor is gone.
const BEAT_WITHIN: Duration = Duration::from_secs(1);
/// The environment variable that makes a process send signs of life.
const SUPERVISED: &str = "TIDEMARK_SUPERVISED";
/// The exit code of a Rust program that panicked.
const EXIT_PANIC: i32 = 101;

/// The supervisor's next step after the process has ended.
#[derive(Debug, Eq, PartialEq)]
enum Verdict {
    StartAgain,
    End(u8),
}

/// The signs of life of a process.
struct Life {
    shown: Arc<AtomicU64>,
    last_seen: u64,
    silent_for: Duration,
}

/// Runs this program with the given arguments again and again, until it ends for good or a stop is
/// requested. Returns the exit code for the supervisor. A process that shows no sign of life for
/// `silence_limit` is killed. On a stop, the process has its `stop_timeout` to end.
///
/// # Errors
/// If the program cannot be started at all.
pub fn supervise(
    arguments: &[OsString],
    silence_limit: Duration,
    stop_timeout: Duration,
    stop: &Stop,
) -> io::Result<u8> {
    let stop_within = stop_timeout.saturating_add(STOP_MARGIN);
    let program = std::env::current_exe()?;
    let mut delay = FIRST_DELAY;
    loop {
        let begun = Instant::now();
        let mut process = Command::new(&program);
        process
            .args(arguments)
            .env(SUPERVISED, "true")
            .stdout(Stdio::piped());

        let status = watch(process.spawn()?, silence_limit, stop_within, stop)?;
        match verdict(status) {
            Verdict::End(code) => return Ok(code),
            Verdict::StartAgain if stop.is_requested() => return Ok(0),
            Verdict::StartAgain => {}
        }

        delay = if begun.elapsed() > delay * HEALTHY {
            FIRST_DELAY
        } else {
            delay
        };

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

/// Returns whether this process has a supervisor.
pub fn is_supervised() -> bool {
    std::env::var_os(SUPERVISED).is_some()
}

/// Sends signs of life to the supervisor of this process, if there is one. Requests the stop when
/// the supervisor is gone.
///
/// # Errors
/// If the system cannot start a thread.
pub fn show_life(silence_limit: Duration, stop: &Stop) -> io::Result<()> {
    if !is_supervised() {
        return Ok(());
    }

    let pause = BEAT_WITHIN.min(silence_limit / BEATS);
    let stop = stop.clone();
    let show = move || {
        // The loop ends when the supervisor is gone and the write fails.
        while io::stdout()
            .write_all(b"\n")
            .and_then(|()| io::stdout().flush())
            .is_ok()
        {
            thread::sleep(pause);
        }

        tracing::warn!("the supervisor is gone: the job drains and ends");
        stop.request();
    };

    thread::Builder::new()
        .name("signs of life".to_owned())
        .spawn(show)
        .map(drop)
}

/// Waits for the end of the process. Terminates it if a stop is requested, and kills it if it does
/// not end in time or hangs.
fn watch(
    mut child: Child,
    silence_limit: Duration,
    stop_within: Duration,
    stop: &Stop,
) -> io::Result<ExitStatus> {
    let mut asked: Option<Instant> = None;
    let mut is_passed_on_again = false;
    let mut life = child.stdout.take().map(Life::of).transpose()?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }

        if life
            .as_mut()
            .is_some_and(|life| life.look() > silence_limit)
        {
            tracing::error!(
                limit_ms = silence_limit.as_millis(),
                "the job's process hangs and is killed"
            );
            child.kill()?;
            return child.wait();
        }

        match asked {
            None if stop.is_requested() => {
                signal(&child, Signal::TERM)?;
                asked = Some(Instant::now());
            }
            Some(_) if stop.is_immediate() && !is_passed_on_again => {
                signal(&child, Signal::USR1)?;
                is_passed_on_again = true;
            }
            Some(since) if since.elapsed() > stop_within => {
                tracing::error!("the job's process does not stop and is killed");
                child.kill()?;
                return child.wait();
            }
            _ => thread::sleep(LOOK_EVERY),
        }
    }
}

impl Life {
    fn of(mut shown_on: ChildStdout) -> io::Result<Self> {
        let shown = Arc::new(AtomicU64::new(0));
        let listening = Arc::clone(&shown);
        let listen = move || {
            let mut buffer = [0; 64];
            while let Ok(1..) = shown_on.read(&mut buffer) {
                listening.fetch_add(1, Ordering::Relaxed);
            }
        };

        thread::Builder::new()
            .name("signs of life".to_owned())
            .spawn(listen)?;

        Ok(Self {
            shown,
            last_seen: 0,
            silent_for: Duration::ZERO,
        })
    }

    /// Returns how long there was no sign of life, counted in checks: a clock would include time
    /// during which this process was suspended.
    fn look(&mut self) -> Duration {
        let shown = self.shown.load(Ordering::Relaxed);
        self.silent_for = if shown == self.last_seen {
            self.silent_for + LOOK_EVERY
        } else {
            Duration::ZERO
        };

        self.last_seen = shown;
        self.silent_for
    }
}

fn signal(child: &Child, signal: Signal) -> io::Result<()> {
    match Pid::from_raw(child.id().cast_signed()) {
        Some(pid) => Ok(kill_process(pid, signal)?),
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
        let status = watch(child, Duration::MAX, Duration::MAX, &stop).unwrap();
        assert_eq!(status.code(), None, "SIGTERM ended it: {status}");
    }

    #[test]
    fn a_second_stop_is_passed_on_too() {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("marker");
        let script =
            "trap ': > marker' TERM; trap 'exit 42' USR1; : > ready; while :; do sleep 0.01; done";
        let child = Command::new("sh")
            .args(["-c", script])
            .current_dir(folder.path())
            .spawn()
            .unwrap();
        let stop = Stop::default();
        let asking = stop.clone();
        let watching =
            thread::spawn(move || watch(child, Duration::MAX, Duration::MAX, &stop).unwrap());

        for sign in [folder.path().join("ready"), marker] {
            while !sign.exists() {
                thread::sleep(LOOK_EVERY);
            }
            asking.request();
        }

        assert_eq!(watching.join().unwrap().code(), Some(42));
    }

    #[test]
    fn a_process_that_does_not_stop_in_time_is_killed() {
        let stop = Stop::default();
        stop.request();
        let child = Command::new("sh")
            .args(["-c", "trap '' TERM; while :; do sleep 0.1; done"])
            .spawn()
            .unwrap();
        let status = watch(child, Duration::MAX, Duration::from_millis(300), &stop).unwrap();
        assert_eq!(status.code(), None, "a signal ended it: {status}");
    }

    #[test]
    fn a_process_that_shows_no_life_is_killed() {
        let hanging = Command::new("sleep")
            .arg("600")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let status = watch(
            hanging,
            Duration::from_millis(200),
            Duration::MAX,
            &Stop::default(),
        )
        .unwrap();

        assert_eq!(
            verdict(status),
            Verdict::StartAgain,
            "SIGKILL ended it: {status}"
        );

        let living = Command::new("sh")
            .args(["-c", "echo"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();

        assert!(
            watch(
                living,
                Duration::from_secs(60),
                Duration::MAX,
                &Stop::default()
            )
            .unwrap()
            .success()
        );
    }
}
