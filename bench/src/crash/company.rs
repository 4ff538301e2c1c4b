//! The processes of the job, each under its supervisor.

use std::time::{Duration, Instant};

use super::{CrashError, DISORDER, WINDOW};
use crate::counterparts::free_ports;
use crate::job::Job;
use crate::process::Process;

/// The time limit of a supervisor's orderly stop.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// The supervisors of all processes; they and their children end when this value is dropped.
pub struct Company {
    supervisors: Vec<Process>,
}

impl Company {
    /// Starts all of them. Each writes its output to a file in the job's folder.
    ///
    /// # Errors
    /// [`CrashError`] if the program is missing or cannot be started.
    pub fn start(job: &Job<'_>, processes: u16) -> Result<Self, CrashError> {
        let ports: [u16; 16] = free_ports()?;
        let hosts: Vec<String> = ports
            .iter()
            .take(processes.into())
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();

        let all = processes.to_string();
        let hosts = hosts.join(",");
        let window = format!("{}ms", WINDOW.as_millis());
        let disorder = format!("{}ms", DISORDER.as_millis());
        let mut supervisors = Vec::new();

        for process in 0..processes {
            let own = process.to_string();
            let place = ["--processes", &all, "--process", &own, "--hosts", &hosts];
            let settings = [
                "--window",
                &window,
                "--disorder",
                &disorder,
                "--log",
                "info",
            ];

            let log = format!("process-{process}.log");
            supervisors.push(job.start(
                Some("supervise"),
                &[&place[..], &settings].concat(),
                &log,
            )?);
        }

        Ok(Self { supervisors })
    }

    /// Returns the job's process that a supervisor runs now, if any.
    pub fn child(&self, process: usize) -> Option<i32> {
        let supervisor = self.supervisors[process].pid();
        let children =
            std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"))
                .ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// Stops all of them.
    ///
    /// # Errors
    /// [`CrashError::Ended`] if one does not stop, or ends with an error.
    pub fn stop(mut self) -> Result<(), CrashError> {
        // Only the supervisors get the signal. Each forwards it to its child, as under systemd or
        // Kubernetes.
        self.supervisors
            .iter()
            .for_each(|supervisor| signal(supervisor.pid(), libc::SIGTERM));

        let begun = Instant::now();
        for (process, supervisor) in (0..).zip(&mut self.supervisors) {
            let left = STOPS_WITHIN.saturating_sub(begun.elapsed());
            match supervisor.wait_for(left)? {
                Some(ended) if ended.status.success() => {}
                Some(ended) => {
                    return Err(CrashError::Ended(
                        process,
                        format!("ended with {}", ended.status),
                    ));
                }
                None => return Err(CrashError::Ended(process, "does not stop".to_owned())),
            }
        }

        Ok(())
    }
}

/// Sends a signal to one process. A process that has already ended is no error.
pub fn signal(pid: i32, signal: i32) {
    // SAFETY: a plain system call on integers.
    unsafe { libc::kill(pid, signal) };
}
