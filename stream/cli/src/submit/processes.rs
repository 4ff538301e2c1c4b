//! Whether a process of a job runs, by the file that has its id.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, test_kill_process};

use super::pid;

/// Reads a process id from a file. Returns none if there is no such file or process.
pub fn pid_of(file: &Path) -> Option<Pid> {
    let pid = pid::read(file)?;
    is_alive(pid).then_some(pid)
}

/// Returns whether any part of the process runs.
pub fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid).is_ok() && !is_defunct(pid)
}

/// Returns whether the process has ended and its parent has not noticed, as in a container whose first process waits for none.
///
/// The state is that of the first thread. As long as another thread has not ended, the files and sockets are still open.
fn is_defunct(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    has_ended(&stat.unwrap_or_default())
}

/// Returns whether a line of `/proc/…/stat` is of a process of which nothing runs any more.
fn has_ended(stat: &str) -> bool {
    // The state follows the name, which is in parentheses and may contain some.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = fields.split_ascii_whitespace();
    let is_zombie = fields.next() == Some("Z");

    // The number of threads is the 18th field after the state's.
    let threads = fields.nth(16);
    is_zombie && threads.is_some_and(|number| number == "0" || number == "1")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use rustix::process::Pid;

    use super::{has_ended, is_alive};

    /// A time limit that is longer than any process takes to end.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A line of `/proc/…/stat` with this name, state and number of threads.
    fn stat(name: &str, state: &str, threads: u32) -> String {
        format!(
            "71 ({name}) {state} 1 71 71 0 -1 4194304 1 1 1 1 1 1 1 1 20 0 {threads} 0 8504612 0 0"
        )
    }

    #[test]
    fn a_process_has_ended_when_its_last_thread_has() {
        assert!(has_ended(&stat("job", "Z", 1)));
        assert!(has_ended(&stat("job) S (1", "Z", 0)));

        // A thread that ends later still holds the sockets.
        assert!(!has_ended(&stat("job", "Z", 2)));
        assert!(!has_ended(&stat("job) Z (1", "S", 1)));
        assert!(!has_ended(""));
    }

    #[test]
    fn a_process_for_which_no_parent_waits_is_not_alive() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert!(is_alive(pid));

        // It ends at the end of its input, and stays a zombie until it is waited for.
        drop(child.stdin.take());
        let begun = Instant::now();
        while is_alive(pid) {
            assert!(begun.elapsed() < PATIENCE, "it counts as alive");
            std::thread::yield_now();
        }
        assert!(
            child
                .try_wait()
                .unwrap()
                .is_some_and(|status| status.success())
        );
    }
}
