//! Child processes: each in a group of its own, measured when it ends, killed with all its
//! children.
//!
//! Dropping a [`Process`] kills it, unless it was [released](Process::release). The kernel kills it
//! when the thread that started it ends, so an interrupted harness leaves no server behind. A
//! [detached](Lifetime::Detached) process continues.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// The interval of the checks while waiting.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A running child and the process group it leads.
#[derive(Debug)]
pub struct Process {
    pid: libc::pid_t,
    started: Instant,
    ended: Option<Ended>,
    released: bool,
}

/// The end of a process, and its use of resources.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its exit code or the signal that ended it.
    pub status: ExitStatus,
    /// From its start to the moment its end was noticed.
    pub wall: Duration,
    /// User and system time of the process and of the children it waited for.
    pub cpu: Duration,
    /// The largest resident memory of the process. The kernel's count begins before `exec`, when
    /// the child is a copy of the harness. So the figure is never below the size of the harness at
    /// that moment: start the process from a small harness.
    pub peak_rss_bytes: u64,
}

/// The resources that the living processes of a group have used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time, to a hundredth of a second each.
    pub cpu: Duration,
    /// The sum of the largest resident memory of each process. A page that several processes share
    /// is counted several times.
    pub peak_rss_bytes: u64,
}

/// The fate of a process when the thread that started it ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lifetime {
    /// It is killed.
    OfItsThread,
    /// It continues.
    Detached,
}

impl Process {
    /// Starts the command as the leader of a new process group.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(mut command: Command, lifetime: Lifetime) -> io::Result<Self> {
        command.process_group(0);
        if lifetime == Lifetime::OfItsThread {
            // SAFETY: prctl is async-signal-safe and touches no memory of the parent.
            unsafe { command.pre_exec(die_with_parent) };
        }

        let pid = libc::pid_t::try_from(command.spawn()?.id()).expect("a pid fits pid_t");
        Ok(Self {
            pid,
            started: Instant::now(),
            ended: None,
            released: false,
        })
    }

    /// Returns the process id, which is also the id of its group.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Returns the end of the process, if it has ended.
    ///
    /// # Errors
    /// If there is no such child.
    pub fn try_wait(&mut self) -> io::Result<Option<Ended>> {
        if self.ended.is_none() {
            self.ended = reap(self.pid, self.started)?;
        }
        Ok(self.ended)
    }

    /// Waits for the end of the process, at most until `limit` has passed.
    ///
    /// # Errors
    /// If there is no such child.
    pub fn wait_for(&mut self, limit: Duration) -> io::Result<Option<Ended>> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.try_wait()?;
            if ended.is_some() || Instant::now() >= deadline {
                return Ok(ended);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Interrupts the process, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(libc::SIGINT);
    }

    /// Ends the process and its group at once, and waits until it is gone.
    ///
    /// # Errors
    /// If there is no such child.
    pub fn kill(&mut self) -> io::Result<Ended> {
        self.signal(libc::SIGKILL);
        loop {
            if let Some(ended) = self.wait_for(Duration::from_secs(1))? {
                return Ok(ended);
            }
        }
    }

    /// Lets the process outlive this value.
    pub fn release(mut self) -> i32 {
        self.released = true;
        self.pid
    }

    fn signal(&self, signal: libc::c_int) {
        if self.ended.is_none() {
            signal_group(self.pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.released && self.ended.is_none() {
            // An error means that there is no such child any more.
            let _ = self.kill();
        }
    }
}

/// Sends a signal to every process of the group that `pid` leads.
pub fn signal_group(pid: i32, signal: i32) {
    // SAFETY: the call takes integers only. It fails if the group has no process left, and then
    // there is nothing to do.
    unsafe { libc::kill(-pid, signal) };
}

/// Returns the resources used by the living processes of the group that `pid` leads.
///
/// # Errors
/// If the system does not list its processes.
pub fn usage_of_group(pid: i32) -> io::Result<Usage> {
    let mut usage = Usage::default();
    for entry in std::fs::read_dir("/proc")? {
        let folder = entry?.path();

        // The process may have ended since the folder was listed.
        let Ok(stat) = std::fs::read_to_string(folder.join("stat")) else {
            continue;
        };

        if let Some((group, ticks)) = group_and_ticks(&stat)
            && group == pid
        {
            usage.cpu += Duration::from_secs_f64(ticks / ticks_per_second());
            usage.peak_rss_bytes += peak_rss_bytes(&folder);
        }
    }

    Ok(usage)
}

/// Returns the resident memory of a process.
///
/// # Errors
/// If there is no such process.
pub fn resident_bytes(pid: i32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let kib = kib.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "there is no VmRSS"))?;
    Ok(kib * 1024)
}

/// Returns the process group, and the sum of user and system time in ticks, from a line of
/// `proc_pid_stat(5)`. The second field is a name in parentheses. It may contain any character, so
/// the fields are counted from its end.
fn group_and_ticks(stat: &str) -> Option<(i32, f64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();

    Some((fields.get(2)?.parse().ok()?, ticks(11)? + ticks(12)?))
}

fn ticks_per_second() -> f64 {
    // SAFETY: the call takes an integer and returns one.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    f64::from(i32::try_from(ticks).unwrap_or(100).max(1))
}

fn peak_rss_bytes(folder: &Path) -> u64 {
    let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

fn die_with_parent() -> io::Result<()> {
    // SAFETY: the call takes integers only.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Collects the child if it has ended.
fn reap(pid: libc::pid_t, started: Instant) -> io::Result<Option<Ended>> {
    let mut status = 0;
    // SAFETY: rusage is plain integers, for which zero is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };

    // SAFETY: both pointers are to live locals of the right type.
    match unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage) } {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(Some(Ended {
            status: ExitStatus::from_raw(status),
            wall: started.elapsed(),
            cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
            peak_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        })),
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}
