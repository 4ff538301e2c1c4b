//! The files below a folder that a program on this machine has open for writing.
//!
//! Linux lists the open files of each process in `/proc`. Processes of other users are not shown
//! to a process without privileges, and other systems have no such list; their files are
//! not found here.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// The bits of a file's flags that are set if it is open for writing (`O_WRONLY`, `O_RDWR`).
const WRITING: u32 = 0o3;

/// Returns the paths below `folder`, relative to it, of the files that a process has open for writing.
pub fn open_below(folder: &Path) -> HashSet<String> {
    let Ok(folder) = folder.canonicalize() else {
        return HashSet::new();
    };

    entries("/proc".as_ref())
        .filter(|process| is_number(process))
        .flat_map(|process| written_by(&process, &folder))
        .collect()
}

fn written_by(process: &Path, folder: &Path) -> Vec<String> {
    let written = |descriptor: std::path::PathBuf| {
        let path = fs::read_link(&descriptor).ok()?;
        let relative = path.strip_prefix(folder).ok()?;
        let number = descriptor.file_name()?;
        let info = fs::read_to_string(process.join("fdinfo").join(number)).ok()?;
        is_writing(&info).then(|| relative.to_string_lossy().into_owned())
    };
    entries(&process.join("fd")).filter_map(written).collect()
}

/// Returns the entries of a folder; none if it cannot be read, because the process has ended or is another
/// user's.
fn entries(folder: &Path) -> impl Iterator<Item = std::path::PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

fn is_number(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns `true` if the flags in a description of an open file, which are octal, include writing.
fn is_writing(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & WRITING != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_is_found_while_it_is_open_for_writing_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Käse 1.csv");
        let writer = fs::File::create(&path).unwrap();
        let reader = fs::File::open(&path).unwrap();
        assert_eq!(
            open_below(folder.path()),
            HashSet::from(["Käse 1.csv".to_owned()])
        );

        drop(writer);
        assert_eq!(open_below(folder.path()), HashSet::new());
        drop(reader);
    }

    #[test]
    fn flags_are_read_as_linux_writes_them() {
        assert!(is_writing("pos:\t0\nflags:\t0100001\nmnt_id:\t29\n"));
        assert!(is_writing("flags:\t02100002\n"));
        assert!(!is_writing("flags:\t0100000\n"));
        assert!(!is_writing("pos:\t1\n"));
    }
}
