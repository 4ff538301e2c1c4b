//! Visitors who search at the same time, each with a connection of its own. Every answer is compared with the expected
//! number of matches.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::Url;
use reqwest::blocking::Client;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::CatalogueError;
use super::goods::{self, Kind, Search};

/// The time limit of a request.
const CALL_LIMIT: Duration = Duration::from_secs(120);
/// The number of different searches of each kind.
const TURNS: u64 = 16;

/// The times of the answers, by kind.
pub(super) type Times = BTreeMap<Kind, Vec<Duration>>;

/// A page of the catalogue.
#[derive(Deserialize)]
struct Page {
    items: Vec<Value>,
    next: Option<String>,
    total: u64,
}

/// The catalogue behind one address.
#[derive(Clone)]
pub(super) struct Products {
    url: String,
    client: Client,
}

impl Products {
    pub(super) fn at(address: &str) -> Result<Self, CatalogueError> {
        let client = Client::builder().timeout(CALL_LIMIT).no_proxy().build()?;
        Ok(Self {
            url: format!("{address}/products"),
            client,
        })
    }

    /// Adds a product, and returns its id.
    pub(super) fn add(&self, product: &Value) -> Result<Uuid, CatalogueError> {
        #[derive(Deserialize)]
        struct Created {
            id: Uuid,
        }
        let answer = self.client.post(&self.url).json(product).send()?;
        let created: Created = answer.error_for_status()?.json()?;
        Ok(created.id)
    }

    /// Returns the number of products that a search finds.
    pub(super) fn matches(&self, query: &[(&str, String)]) -> Result<u64, CatalogueError> {
        Ok(self.page(query)?.total)
    }

    fn page(&self, query: &[(&str, String)]) -> Result<Page, CatalogueError> {
        let url =
            Url::parse_with_params(&self.url, query).expect("the address of a server is valid");
        let answer = self.client.get(url).send()?;
        Ok(answer.error_for_status()?.json()?)
    }

    /// Searches, checks the answer, and returns its time: of the second page if that is searched for.
    fn time(&self, search: &Search) -> Result<Duration, CatalogueError> {
        let began = Instant::now();
        let page = self.page(&search.query)?;
        let took = began.elapsed();
        search.check(&page)?;

        let Some(cursor) = page.next.filter(|_| search.kind == Kind::NextPage) else {
            return Ok(took);
        };
        let query = [&search.query[..], &[("cursor", cursor)]].concat();
        let began = Instant::now();
        let second = self.page(&query)?;
        let took = began.elapsed();

        let ids: Vec<&Value> = page.items.iter().map(|item| &item["id"]).collect();
        if second.items.is_empty() || second.items.iter().any(|item| ids.contains(&&item["id"])) {
            return Err(CatalogueError::Wrong(
                "the second page repeats the first".to_owned(),
            ));
        }
        Ok(took)
    }
}

impl Search {
    fn check(&self, page: &Page) -> Result<(), CatalogueError> {
        if page.total == self.matches {
            return Ok(());
        }
        Err(CatalogueError::Wrong(format!(
            "{}, {:?}: {} matches instead of {}",
            self.kind.name(),
            self.query,
            page.total,
            self.matches
        )))
    }
}

/// Adds the products, by several clients at once.
pub(super) fn fill(products: &Products, number: u64, clients: u64) -> Result<(), CatalogueError> {
    let some = |first: u64| {
        let step = usize::try_from(clients).expect("clients are few");
        let numbers = (first..number).step_by(step);
        numbers
            .into_iter()
            .try_for_each(|number| products.add(&goods::product(number)).map(drop))
    };
    thread::scope(|scope| {
        let filling: Vec<_> = (0..clients)
            .map(|first| scope.spawn(move || some(first)))
            .collect();
        let mut filled = filling
            .into_iter()
            .map(|thread| thread.join().expect("a client does not panic"));
        filled.try_for_each(|outcome| outcome)
    })
}

/// Lets visitors search for the time, and returns the times of the answers.
pub(super) fn visit(
    address: &str,
    number: u64,
    clients: u64,
    duration: Duration,
) -> Result<Times, CatalogueError> {
    let kinds = Kind::ALL.iter();
    let searches: Vec<Search> = kinds
        .flat_map(|kind| (0..TURNS).map(|turn| goods::search(*kind, turn, number)))
        .collect();

    let one = |client: u64| -> Result<Times, CatalogueError> {
        let products = Products::at(address)?;
        let mut times = Times::new();
        let began = Instant::now();
        // Visitors begin at different places, and take kind after kind.
        let first = usize::try_from(client * 37).expect("clients are few");
        let mut turn = (0..searches.len())
            .cycle()
            .skip(first % searches.len())
            .step_by(usize::try_from(TURNS).expect("few") + 1);
        while began.elapsed() < duration {
            let search = &searches[turn.next().expect("the cycle does not end")];
            times
                .entry(search.kind)
                .or_default()
                .push(products.time(search)?);
        }
        Ok(times)
    };

    let one = &one;
    let all = thread::scope(|scope| {
        let visitors: Vec<_> = (0..clients)
            .map(|client| scope.spawn(move || one(client)))
            .collect();
        let joined = visitors
            .into_iter()
            .map(|thread| thread.join().expect("a visitor does not panic"));
        joined.collect::<Result<Vec<_>, _>>()
    })?;

    let mut times = Times::new();
    for (kind, of_kind) in all.into_iter().flatten() {
        times.entry(kind).or_default().extend(of_kind);
    }
    Ok(times)
}
