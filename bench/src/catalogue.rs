//! `bench catalogue`: searches of a large catalogue, on embedded tables and on DynamoDB Local.
//!
//! The products service runs alone, in a process of its own. It is filled through its API, started again, and searched
//! by several visitors at once. Each answer is compared with the number of products that match. The index is in the
//! memory of the service, so its size is measured before and after. A second replica shows how long the products of
//! another process take until they are found; embedded tables belong to one process, so they have none.

mod goods;
mod visitors;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::json;
use uuid::Uuid;

use crate::binaries::{self, NotBuilt};
use crate::counterparts::{Cache, Counterpart, CounterpartError, Launch, Server, dynamodb};
use crate::machine::{self, mib};
use crate::peers::Peer;
use crate::platform;
use crate::process;
use crate::results::{Measure, Measurement, Table, milliseconds, number};
use goods::Kind;
use visitors::{Products, Times};

/// The port of the products service above the base, and that of its health.
const PORT: u16 = 2;
const OPERATOR: u16 = 10;
/// The number of products whose way into the index is timed.
const NEW: usize = 10;
/// The number of products of another replica whose way into the index is timed.
const NEW_OF_OTHERS: usize = 3;
/// The time after which a product counts as never found.
const FOUND_WITHIN: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Fills the catalogue, and measures searches, memory, and the time until a new product is found.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Products of the catalogue
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    products: u64,
    /// Visitors who search at the same time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    clients: u64,
    /// Duration of the searches
    #[arg(long = "for", default_value = "30s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    duration: Duration,
    /// Only these stores, comma separated
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Tables::Embedded, Tables::Dynamodb])]
    stores: Vec<Tables>,
}

/// The store of the tables.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Tables {
    /// The tables that the platform embeds.
    Embedded,
    /// DynamoDB Local.
    Dynamodb,
}

/// The reason why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A server did not start.
    #[error(transparent)]
    Counterpart(#[from] CounterpartError),
    /// The platform is not built.
    #[error(transparent)]
    NotBuilt(#[from] NotBuilt),
    /// A request failed.
    #[error(transparent)]
    Request(#[from] reqwest::Error),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An answer is wrong.
    #[error("{0}")]
    Wrong(String),
    /// A new product was not found.
    #[error("a new product was not found within {limit} s", limit = FOUND_WITHIN.as_secs())]
    NotFound,
}

impl Tables {
    fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded tables",
            Self::Dynamodb => "DynamoDB Local",
        }
    }
}

impl Measurement for Args {
    const NAME: &'static str = "catalogue";
    type Error = CatalogueError;

    fn peers(&self) -> Vec<Peer> {
        let uses_dynamodb = self.stores.contains(&Tables::Dynamodb);
        uses_dynamodb
            .then_some(Peer::DynamoDb)
            .into_iter()
            .collect()
    }

    fn measure(self) -> Result<Vec<Table>, CatalogueError> {
        let cache = Cache::open()?;
        println!("{}", machine::describe());
        let measures = [
            Measure::new("added a second", ""),
            Measure::new("memory when empty", "MiB"),
            Measure::new("memory when filled", "MiB"),
            Measure::new("memory after a start and the searches", "MiB"),
            Measure::new("first search after a start", "ms"),
            Measure::new("new product found after", "ms"),
            Measure::new("product of another replica found after", "s"),
        ];
        let mut whole = Table::new("Catalogue", &measures);
        let mut tables = Vec::new();
        for store in &self.stores {
            let folder = cache.scratch("catalogue")?;
            tables.push(self.fill_and_search(*store, &cache, folder.path(), &mut whole)?);
        }
        tables.insert(0, whole);
        Ok(tables)
    }
}

impl Args {
    fn fill_and_search(
        &self,
        store: Tables,
        cache: &Cache,
        folder: &Path,
        whole: &mut Table,
    ) -> Result<Table, CatalogueError> {
        let dynamodb = match store {
            Tables::Embedded => None,
            Tables::Dynamodb => Some(Server::start(dynamodb::launch(cache, folder)?)?),
        };
        let address = dynamodb.as_ref().map(Server::address);
        let mut service = Server::start(launch(folder, address)?)?;
        let products = Products::at(service.address())?;
        let empty = process::resident_bytes(service.pid())?;

        let began = Instant::now();
        visitors::fill(&products, self.products, self.clients)?;
        let per_second = number(self.products) / began.elapsed().as_secs_f64();
        let filled = process::resident_bytes(service.pid())?;
        println!(
            "{}: {} products added, {per_second:.0} a second",
            store.name(),
            self.products
        );

        service.restart()?;
        let first = self.first_search(&products)?;
        let times = visitors::visit(
            service.address(),
            self.products,
            self.clients,
            self.duration,
        )?;
        let searches = self.searches(store, times);
        let resident = process::resident_bytes(service.pid())?;
        let own = until_found(&products, &products, NEW)?;
        let of_others = match address {
            None => Duration::MAX,
            Some(_) => self.of_another_replica(folder, address, &products)?,
        };

        let samples = [
            per_second,
            mib(empty),
            mib(filled),
            mib(resident),
            milliseconds(first),
            milliseconds(own),
            if address.is_some() {
                of_others.as_secs_f64()
            } else {
                f64::NAN
            },
        ];
        whole.add(
            store.name(),
            &[("products", number(self.products))],
            &samples,
        );
        for (measure, sample) in whole.measures.iter().zip(samples) {
            println!("  {:<42} {sample:>10.1} {}", measure.name, measure.unit);
        }
        Ok(searches)
    }

    /// Returns the time of the first search after a start, which waits until the index is read.
    fn first_search(&self, products: &Products) -> Result<Duration, CatalogueError> {
        let began = Instant::now();
        let found = products.matches(&[("sort", "name".to_owned())])?;
        let took = began.elapsed();

        if found == self.products {
            return Ok(took);
        }
        Err(CatalogueError::Wrong(format!(
            "{found} products after a start, not {}",
            self.products
        )))
    }

    /// Prints the times of the searches, and returns them.
    fn searches(&self, store: Tables, times: Times) -> Table {
        let measures = [
            Measure::new("p50", "ms"),
            Measure::new("p99", "ms"),
            Measure::new("most", "ms"),
            Measure::new("searches", ""),
        ];
        let title = format!("Searches, {}", store.name());
        let mut table = Table::new(&title, &measures);
        let settings = [
            ("products", number(self.products)),
            ("visitors", number(self.clients)),
        ];
        println!(
            "{:<42} {:>9} {:>9} {:>9} {:>9}",
            "search", "p50 ms", "p99 ms", "most ms", "searches"
        );

        let all: Vec<Duration> = times.values().flatten().copied().collect();
        let kinds = times
            .into_iter()
            .map(|(kind, times): (Kind, _)| (kind.name(), times));
        for (name, mut times) in kinds.chain([("all", all)]) {
            times.sort_unstable();
            let samples = [
                milliseconds(percentile(&times, 50)),
                milliseconds(percentile(&times, 99)),
                milliseconds(percentile(&times, 100)),
                number(times.len()),
            ];
            table.add(name, &settings, &samples);
            println!(
                "{name:<42} {:>9.1} {:>9.1} {:>9.1} {:>9}",
                samples[0],
                samples[1],
                samples[2],
                times.len()
            );
        }
        table
    }

    /// Returns the time until products that another replica adds are found by this one.
    fn of_another_replica(
        &self,
        folder: &Path,
        dynamodb: Option<&str>,
        products: &Products,
    ) -> Result<Duration, CatalogueError> {
        let other = Server::start(launch(folder, dynamodb)?)?;
        until_found(&Products::at(other.address())?, products, NEW_OF_OTHERS)
    }
}

/// Returns the longest time from the answer that a product was added until a search finds it.
fn until_found(
    adding: &Products,
    searching: &Products,
    times: usize,
) -> Result<Duration, CatalogueError> {
    let mut longest = Duration::ZERO;
    for _ in 0..times {
        let word = format!("new{}", Uuid::new_v4().simple());
        // Words of the index have 32 characters.
        let word = &word[..30];
        adding.add(&json!({ "name": word, "price_cents": 100 }))?;
        let added = Instant::now();
        while searching.matches(&[("q", word.to_owned())])? == 0 {
            if added.elapsed() > FOUND_WITHIN {
                return Err(CatalogueError::NotFound);
            }
            thread::sleep(LOOK_AGAIN);
        }
        longest = longest.max(added.elapsed());
    }
    Ok(longest)
}

/// Returns the way to start the products service on DynamoDB at this address, or on embedded tables.
fn launch(folder: &Path, dynamodb: Option<&str>) -> Result<Launch, CatalogueError> {
    let base = platform::free_port_base()?;
    let port = base + PORT;
    let mut arguments: Vec<OsString> = ["products", "--demo", "false", "--port-base"]
        .map(OsString::from)
        .into();
    arguments.push(base.to_string().into());
    match dynamodb {
        Some(address) => {
            arguments.extend([Counterpart::Dynamodb.flag(), address].map(OsString::from));
        }
        None => arguments.extend(["--data".into(), folder.join("data").into_os_string()]),
    }

    Ok(Launch {
        name: "products",
        address: format!("http://127.0.0.1:{port}"),
        port,
        program: binaries::find("platform")?,
        arguments,
        log: folder.join(format!("products-{port}.log")),
        is_ready,
    })
}

fn is_ready(port: u16) -> bool {
    let url = format!("http://127.0.0.1:{}/health/ready", port + OPERATOR);
    let client = reqwest::blocking::Client::builder()
        .timeout(Duration::from_secs(2))
        .no_proxy()
        .build();
    let answer = client.and_then(|client| client.get(url).send());
    answer.is_ok_and(|answer| answer.status().is_success())
}

/// Returns a percentile of sorted times; zero of none.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied().unwrap_or_default()
}
