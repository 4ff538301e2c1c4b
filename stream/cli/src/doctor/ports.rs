//! The check of the addresses of the job's processes: this process listens at its own, and connects to the others'.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::finding::{Checked, Fault, Owner};

/// The longest time that the machine of another process may take to answer.
const LIMIT: Duration = Duration::from_secs(3);

/// The processes of a job.
pub struct Processes<'a> {
    pub count: u16,
    /// The number of this process.
    pub own: u16,
    /// The address of each; none if all are on this machine.
    pub hosts: &'a [String],
}

/// The answer of an address.
#[derive(Debug)]
enum Answer {
    /// A process listens there.
    Taken,
    /// The machine answers, and nothing listens yet.
    Free,
    Unknown(io::Error),
    Silent(io::Error),
}

pub fn check(processes: &Processes<'_>) -> Checked {
    if processes.count == 1 {
        return Checked::passed("one process needs none");
    }

    if processes.hosts.is_empty() {
        return Checked::passed(format!("{} processes on this machine", processes.count));
    }

    if processes.hosts.len() != usize::from(processes.count) {
        return Checked::of(Err(Fault::failure(
            Owner::Job,
            "--hosts and --processes",
            format!(
                "--hosts has {} addresses for {} processes",
                processes.hosts.len(),
                processes.count
            ),
            "--hosts HOST:PORT,HOST:PORT,… with one address for each process",
        )));
    }

    let mut details = Vec::new();
    let mut faults = Vec::new();
    for (number, host) in (0_u16..).zip(processes.hosts) {
        let answer = match number == processes.own {
            true => listen(host),
            false => call(host),
        };
        match decide(number, host, answer, number == processes.own) {
            Ok(detail) => details.push(detail),
            Err(fault) => faults.push(fault),
        }
    }

    Checked {
        detail: details.join(", "),
        faults,
    }
}

fn resolve(host: &str) -> io::Result<SocketAddr> {
    let mut found = host.to_socket_addrs()?;
    let none = || io::Error::other("the name has no address");
    found.next().ok_or_else(none)
}

/// Listens at this process's own address for a moment.
fn listen(host: &str) -> Answer {
    let address = match resolve(host) {
        Ok(address) => address,
        Err(error) => return Answer::Unknown(error),
    };

    match TcpListener::bind(address) {
        Ok(_) => Answer::Free,
        Err(error) if error.kind() == ErrorKind::AddrInUse => Answer::Taken,
        Err(error) => Answer::Silent(error),
    }
}

fn call(host: &str) -> Answer {
    let address = match resolve(host) {
        Ok(address) => address,
        Err(error) => return Answer::Unknown(error),
    };

    match TcpStream::connect_timeout(&address, LIMIT) {
        Ok(_) => Answer::Taken,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Answer::Free,
        Err(error) => Answer::Silent(error),
    }
}

fn decide(number: u16, host: &str, answer: Answer, is_own: bool) -> Result<String, Fault> {
    match (answer, is_own) {
        (Answer::Free, true) => Ok(format!("process {number} can listen at {host}")),
        (Answer::Taken, true) => Ok(format!("process {number} listens at {host} already")),
        (Answer::Free, false) => Ok(format!(
            "{host} is reached, process {number} does not run yet"
        )),
        (Answer::Taken, false) => Ok(format!("process {number} listens at {host}")),
        (Answer::Unknown(error), _) => Err(Fault::failure(
            Owner::Job,
            "--hosts, or the DNS that this machine uses",
            format!("{host:?} of process {number} cannot be resolved: {error}"),
            "correct --hosts",
        )),
        (Answer::Silent(error), true) => Err(Fault::failure(
            Owner::Job,
            "--hosts and --process",
            format!("process {number} cannot listen at {host}: {error}"),
            "give this machine's own address at the place of --process in --hosts",
        )),
        (Answer::Silent(error), false) => Err(Fault::failure(
            Owner::Network,
            "the firewall between the job's machines",
            format!("{host} of process {number} does not answer: {error}"),
            format!("allow TCP to {host} from this machine"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(count: u16, own: u16, hosts: &[&str]) -> Vec<Fault> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let processes = Processes {
            count,
            own,
            hosts: &hosts,
        };
        check(&processes).faults
    }

    #[test]
    fn one_process_needs_no_address() {
        assert_eq!(faults(1, 0, &["nowhere.invalid:1"]), []);
    }

    #[test]
    fn each_process_has_an_address() {
        let found = faults(3, 0, &["127.0.0.1:0", "127.0.0.1:0"]);
        assert!(
            found[0].what.contains("2 addresses for 3 processes"),
            "{found:?}"
        );
    }

    #[test]
    fn a_process_that_listens_and_one_that_does_not_yet_are_both_reached() {
        let there = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = there.local_addr().unwrap().to_string();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        assert_eq!(faults(3, 0, &["127.0.0.1:0", &there, &address]), []);
    }

    #[test]
    fn a_name_without_an_address_and_a_foreign_own_address_are_named() {
        let unknown = faults(2, 0, &["127.0.0.1:0", "nowhere.invalid:5110"]);
        assert!(
            unknown[0].what.contains("process 1 cannot be resolved"),
            "{unknown:?}"
        );

        // No machine has an address for documentation (RFC 5737).
        let foreign = faults(2, 0, &["192.0.2.1:5110", "127.0.0.1:1"]);
        assert!(
            foreign[0].what.contains("process 0 cannot listen"),
            "{foreign:?}"
        );
    }
}
