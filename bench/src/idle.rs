//! `bench idle`: the memory of each service when it runs alone, as in the cluster, on real stores.
//!
//! Resident memory is printed with its parts. Private memory is the service's own. The rest is
//! pages of the program, which all services on a machine share and the kernel reclaims when it
//! needs them.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::apart::Apart;
use crate::counterparts::{Cache, Counterpart, CounterpartError, Counterparts, Server};
use crate::end_to_end::Customers;
use crate::machine::{self, mib};
use crate::peers::Peer;
use crate::platform::PlatformError;
use crate::process::Lifetime;
use crate::results::{Measure, Measurement, Table, number};
use crate::shop::ShopError;

/// The number of orders that the first of three customers places. Each of the others places one more than the one before.
const ORDERS: usize = 30;

/// Starts every service in a process of its own, and prints the memory of each.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Time without requests before each measurement.
    #[arg(long = "for", default_value = "1m", value_parser = humantime::parse_duration, value_name = "DURATION")]
    duration: Duration,
}

/// The reason why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum IdleError {
    /// A service did not start.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// A store did not start.
    #[error(transparent)]
    Counterpart(#[from] CounterpartError),
    /// A request failed.
    #[error(transparent)]
    Shop(#[from] ShopError),
    /// The system does not report the memory.
    #[error("the memory of {0} cannot be read: {1}")]
    Memory(&'static str, #[source] io::Error),
}

/// The memory of one process.
struct Memory {
    resident: u64,
    /// The part that no other process shares.
    anonymous: u64,
    /// The memory, in which a shared page counts for the fraction that falls to this process.
    proportional: u64,
    threads: u64,
}

impl Measurement for Args {
    const NAME: &'static str = "idle";
    type Error = IdleError;

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Kafka, Peer::MariaDb, Peer::DynamoDb]
    }

    fn measure(self) -> Result<Vec<Table>, IdleError> {
        let cache = Cache::open()?;
        let folder = cache.scratch("idle")?;
        let servers = Counterparts::start(
            &Counterpart::ALL,
            &cache,
            folder.path(),
            Lifetime::OfItsThread,
        )?;
        let stores: Vec<_> = servers.arguments().map(str::to_owned).collect();
        println!("{}", machine::describe());

        let apart = Apart::start(folder.path(), &stores, 1)?;
        // The services get no requests meanwhile, because the memory of idle services is measured.
        thread::sleep(self.duration);
        let idle = figures("idle", &apart)?;

        let shop = &apart.shops()[0];
        let mut customers = Customers::sign_up(shop)?;
        customers.order_each(shop, ORDERS)?;

        let _ = shop.orders()?;
        let _ = shop.recent()?;
        thread::sleep(self.duration);

        let orders = customers.acknowledged.len();
        let again = figures(&format!("idle again after {orders} orders"), &apart)?;
        Ok(vec![idle, again])
    }
}

/// Prints the memory of each service, and returns it.
fn figures(when: &str, apart: &Apart) -> Result<Table, IdleError> {
    let measures = [
        Measure::new("resident", "MiB"),
        Measure::new("private", "MiB"),
        Measure::new("proportional", "MiB"),
        Measure::new("threads", ""),
    ];
    let mut table = Table::new(&format!("Memory of each service, {when}"), &measures);
    println!(
        "{when}, in MiB:\n{:<18} {:>9} {:>9} {:>13} {:>9}",
        "", "resident", "private", "proportional", "threads"
    );

    for server in apart.servers() {
        let memory = Memory::of(server)?;
        let samples = [
            mib(memory.resident),
            mib(memory.anonymous),
            mib(memory.proportional),
            number(memory.threads),
        ];
        table.add(server.name(), &[], &samples);
        println!(
            "{:<18} {:>9.1} {:>9.1} {:>13.1} {:>9}",
            server.name(),
            mib(memory.resident),
            mib(memory.anonymous),
            mib(memory.proportional),
            memory.threads
        );
    }

    Ok(table)
}

impl Memory {
    fn of(server: &Server) -> Result<Self, IdleError> {
        let folder = Path::new("/proc").join(server.pid().to_string());
        let number = |file, name| {
            let text = std::fs::read_to_string(folder.join(file));
            text.and_then(|text| number_after(&text, name))
                .map_err(|error| IdleError::Memory(server.name(), error))
        };
        let bytes = |name| number("smaps_rollup", name).map(|kib| kib * 1024);

        Ok(Self {
            resident: bytes("Rss:")?,
            anonymous: bytes("Anonymous:")?,
            proportional: bytes("Pss:")?,
            threads: number("status", "Threads:")?,
        })
    }
}

/// Returns the number in the line that begins with `name`, of a file in the kernel's format.
fn number_after(text: &str, name: &str) -> io::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("there is no number after {name}"),
        )
    })
}
