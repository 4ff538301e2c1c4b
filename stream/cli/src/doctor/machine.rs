//! The machine's resources for the process: memory and open files.

use std::fs;

use rustix::process::{Resource, getrlimit};
use stream::{ByteSize, Settings};

use super::finding::{Checked, Fault, Owner};

/// The memory that a process needs with any settings: code, buffers of the client, of the store, and of timely.
const BASE_BYTES: u64 = 192 << 20;
/// The memory that a worker needs in addition to its settings' share: panes, batches, and a publisher.
const WORKER_BYTES: u64 = 64 << 20;
/// Files that a process has open with any settings.
const BASE_FILES: u64 = 64;
/// Connections of a worker to each broker, and its share of the store's.
const WORKER_FILES: u64 = 8;

/// The resources of this machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Given {
    /// None if it cannot be read.
    memory_bytes: Option<u64>,
    /// None if it is not limited.
    files: Option<u64>,
}

/// Compares the needs of a process with these settings with the machine's resources.
pub fn check(settings: &Settings, processes: u16) -> Checked {
    let given = Given {
        memory_bytes: available_memory(),
        files: getrlimit(Resource::Nofile).current,
    };
    decide(settings, processes, given)
}

fn decide(settings: &Settings, processes: u16, given: Given) -> Checked {
    let workers = u64::from(settings.workers);
    let each = settings.event_id_memory.as_bytes() + settings.side_output_memory.as_bytes();
    let needed_bytes = BASE_BYTES + workers * (WORKER_BYTES + each);
    let needed_files = BASE_FILES + workers * WORKER_FILES + 2 * u64::from(processes);

    let needed = ByteSize::bytes(needed_bytes);
    let mut checked = Checked::passed(format!(
        "{workers} workers need about {needed} and {needed_files} open files"
    ));

    if let Some(memory) = given.memory_bytes.filter(|memory| *memory < needed_bytes) {
        let has = ByteSize::bytes(memory);
        checked.faults.push(Fault::failure(
            Owner::Machine,
            "memory, or --workers and --event-id-memory",
            format!("{has} of memory are free, and {workers} workers need about {needed}"),
            "a machine or a container with more memory, fewer --workers, or a smaller --event-id-memory",
        ));
    }

    if let Some(files) = given.files.filter(|files| *files < needed_files) {
        checked.faults.push(Fault::failure(
            Owner::Machine,
            "the limit of open files",
            format!("a process may open {files} files, and the job needs {needed_files}"),
            "ulimit -n 65536, or LimitNOFILE=65536 in systemd's unit",
        ));
    }

    checked
}

/// Returns the memory that this process may still take; none if neither the system nor a control group has a figure.
fn available_memory() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok();
    let system = system.and_then(|text| available_of(&text));
    let read = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok();
    let group = read("memory.max").zip(read("memory.current"));
    let group = group.and_then(|(most, used)| left_of(&most, &used));

    [system, group].into_iter().flatten().min()
}

/// Reads `MemAvailable` of /proc/meminfo.
fn available_of(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Returns the rest of a control group's limit; none without a limit, which reads as `max`.
fn left_of(most: &str, used: &str) -> Option<u64> {
    let most: u64 = most.trim().parse().ok()?;
    let used: u64 = used.trim().parse().ok()?;
    Some(most.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: Given = Given {
        memory_bytes: Some(8 << 30),
        files: Some(1024),
    };

    #[test]
    fn the_default_settings_fit_a_small_machine() {
        assert_eq!(decide(&Settings::default(), 1, PLENTY).faults, []);
    }

    #[test]
    fn too_little_memory_and_too_few_files_are_named() {
        let settings = Settings {
            workers: 16,
            event_id_memory: ByteSize::mebibytes(1024),
            ..Settings::default()
        };

        let faults = decide(&settings, 1, PLENTY).faults;
        assert!(
            faults.len() == 1 && faults[0].setting.contains("memory"),
            "{faults:?}"
        );

        let few = Given {
            files: Some(64),
            ..PLENTY
        };

        let faults = decide(&Settings::default(), 3, few).faults;
        assert!(
            faults.len() == 1 && faults[0].fix.contains("ulimit"),
            "{faults:?}"
        );
    }

    #[test]
    fn limits_are_read_as_the_system_writes_them() {
        let meminfo = "MemTotal:  24589312 kB\nMemAvailable:   1024 kB\n";
        assert_eq!(available_of(meminfo), Some(1 << 20));
        assert_eq!(available_of("MemTotal: 1 kB\n"), None);
        assert_eq!(left_of("4096\n", "1024\n"), Some(3072));
        assert_eq!(left_of("max\n", "1024\n"), None);
    }
}
