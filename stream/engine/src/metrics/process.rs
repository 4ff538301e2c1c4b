//! The metrics of the process itself, by the names that Prometheus' client libraries give them.
//!
//! They are read from `/proc` when the metrics are read. Where a file cannot be read, its metrics are left out.

use std::fmt::Write;
use std::fs;

/// The unit of times in `/proc`, which Linux has fixed for its interfaces: 100 ticks a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// A metric of the process.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: Option<f64>,
}

/// Formats the metrics in the text format of Prometheus.
pub fn to_text() -> String {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let system = fs::read_to_string("/proc/stat").unwrap_or_default();
    let open = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);

    let gauge = |name, help, value| Metric {
        name,
        kind: "gauge",
        help,
        value,
    };

    let metrics = [
        Metric {
            name: "process_cpu_seconds_total",
            kind: "counter",
            help: "Processor time of the process, user and system.",
            value: cpu_seconds(&stat),
        },
        gauge(
            "process_resident_memory_bytes",
            "Resident memory.",
            kibibytes(&status, "VmRSS:"),
        ),
        gauge(
            "process_virtual_memory_bytes",
            "Virtual memory.",
            kibibytes(&status, "VmSize:"),
        ),
        gauge("process_threads", "Threads.", number(&status, "Threads:")),
        gauge(
            "process_open_fds",
            "Open file descriptors.",
            open.map(|count| count as f64),
        ),
        gauge(
            "process_max_fds",
            "Limit of open file descriptors.",
            number(&limits, "Max open files"),
        ),
        gauge(
            "process_start_time_seconds",
            "Start of the process, since the epoch.",
            started_at(&stat, &system),
        ),
    ];

    metrics.iter().map(line).collect()
}

fn line(metric: &Metric) -> String {
    let Metric {
        name,
        kind,
        help,
        value,
    } = metric;
    let Some(value) = value else {
        return String::new();
    };

    let mut text = String::new();
    let _ = writeln!(text, "# HELP {name} {help}");
    let _ = writeln!(text, "# TYPE {name} {kind}");
    let _ = writeln!(text, "{name} {value}");
    text
}

/// Returns a field of `/proc/self/stat`, counted from 1 as in proc(5). The second field is a name, which may contain spaces.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    behind_name.split(' ').nth(number - 3)?.trim().parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS_PER_SECOND)
}

fn started_at(stat: &str, system: &str) -> Option<f64> {
    Some(number(system, "btime")? + field(stat, 22)? / TICKS_PER_SECOND)
}

/// Returns the first number of the line that begins with `name`.
fn number(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn kibibytes(text: &str, name: &str) -> Option<f64> {
    Some(number(text, name)? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_has_spaces_and_parentheses_is_read() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 0 1 2 3 4 250 150 0 0 20 0 5 0 4200 9 9\n";
        assert_eq!(cpu_seconds(stat), Some(4.0));
        assert_eq!(started_at(stat, "cpu 1\nbtime 1000\n"), Some(1_042.0));
        assert_eq!(kibibytes("VmRSS:\t    12 kB\n", "VmRSS:"), Some(12_288.0));
        let limits = "Max open files            unlimited            524288   files\n";
        assert_eq!(number(limits, "Max open files"), None);
        assert_eq!(cpu_seconds(""), None);
    }

    #[test]
    fn this_process_has_memory_files_and_a_start() {
        let text = to_text();
        for name in ["resident_memory_bytes", "open_fds", "start_time_seconds"] {
            let name = format!("process_{name}");
            let line = text.lines().find_map(|line| line.strip_prefix(&name));
            let value: f64 = line
                .unwrap_or_else(|| panic!("{name}: {text}"))
                .trim()
                .parse()
                .unwrap();
            assert!(value > 0.0, "{name}");
        }
    }
}
