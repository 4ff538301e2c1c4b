//! Files that name a process: its id, and below it the time at which it started, in ticks since the system did.
//!
//! The system gives the id of a process that has ended to another one. That one started at another time, so it is not taken for
//! the job's, and never ended in its place. A file of an earlier version has no time, and its id is trusted.

use std::fs;
use std::io;
use std::path::Path;

use rustix::process::Pid;

use super::files::write_own;

/// The field of /proc/PID/stat with the start of the process, counted from the state, which follows the name.
const START: usize = 19;

/// Writes the file of a process.
///
/// # Errors
/// If the file cannot be written.
pub fn write(file: &Path, id: u32) -> io::Result<()> {
    let start = start(id).map_or_else(String::new, |start| format!("{start}\n"));
    write_own(file, &format!("{id}\n{start}"))
}

/// Reads the id of a process; none if the id has gone to another process since.
pub fn read(file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.lines();
    let id: i32 = lines.next()?.trim().parse().ok()?;
    if let Some(written) = lines.next() {
        let found = start(u32::try_from(id).ok()?)?;
        (written.trim() == found).then_some(())?;
    }
    Pid::from_raw(id)
}

/// Returns the time at which a process started.
fn start(id: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name is in parentheses and may contain some, and spaces.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(START).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_has_gone_to_another_process_names_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("process-0.pid");
        let id = std::process::id();
        write(&file, id).unwrap();
        let found = read(&file).map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        assert_eq!(found, Some(id));

        // The same id, of a process that started at another time.
        fs::write(&file, format!("{id}\n1\n")).unwrap();
        assert_eq!(read(&file), None);

        // An earlier version wrote no time.
        fs::write(&file, id.to_string()).unwrap();
        assert!(read(&file).is_some());

        fs::write(&file, "nothing").unwrap();
        assert_eq!(read(&file), None);
    }

    #[test]
    fn the_start_is_that_of_the_process() {
        let first = start(std::process::id()).unwrap();
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let second: u64 = start(child.id()).unwrap().parse().unwrap();
        assert!(second >= first.parse().unwrap());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(start(child.id()), None);
    }
}
