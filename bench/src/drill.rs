//! `bench drill`: everything but the backups and the record log is lost, and is restored.
//!
//! ```text
//! shop ─▶ back up ─▶ shop on ─▶ gone: platform, MariaDB, DynamoDB, objects, checkpoints ─▶ empty stores
//!      ─▶ restore SQL, tables, uploads ─▶ the orders since then, from the topic ─▶ job starts over ─▶ platform starts
//! ```
//!
//! It is the runbook of infra-aws/README.md on a small scale; a cloud has point-in-time recovery
//! instead of the dump and the exported tables. At the end every order of the topic must be in SQL,
//! counted and notified, each once. Data that cannot be restored is printed.

mod backup;
mod database;
mod tables;
mod world;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use record_log::RecordLog;

use crate::counterparts::{Cache, kafka};
use crate::end_to_end::{Customers, EndToEndError, books};
use crate::generate;
use crate::machine;
use crate::platform::Platform;
use crate::shop::{Order, STOCK, Shop};
use backup::Backup;
use world::World;

/// The time for which customers go on ordering after the backup.
const SINCE_THE_BACKUP: Duration = Duration::from_secs(5);

/// Takes backups, destroys everything but them and the log under load, rebuilds it, and checks that
/// the books balance.
#[derive(Debug, clap::Parser)]
pub struct Args {}

/// The reason why the drill failed.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The platform failed, or the books do not balance.
    #[error(transparent)]
    EndToEnd(#[from] EndToEndError),
    /// A program ended with an error.
    #[error("{0} failed; the end of its output:\n{1}")]
    Program(&'static str, String),
    /// The address of the database cannot be parsed.
    #[error("{0:?} is not an address: {1}")]
    Address(String, String),
    /// A table could not be exported or restored.
    #[error("table {0}: {1}")]
    Table(String, String),
    /// DynamoDB did not answer.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    /// Its answer, or a backup, cannot be decoded.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A system call failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

type Result<T> = std::result::Result<T, DrillError>;

/// The duration of each step.
#[derive(Default)]
struct Times(Vec<(&'static str, Duration)>);

impl Times {
    fn step<T>(&mut self, what: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        let outcome = work()?;
        println!("{what}: {:.1} s", began.elapsed().as_secs_f64());
        self.0.push((what, began.elapsed()));
        Ok(outcome)
    }

    fn print(&self) {
        self.0
            .iter()
            .for_each(|(what, took)| println!("{what:<58} {:>6.1} s", took.as_secs_f64()));

        println!(
            "{:<58} {:>6.1} s",
            "altogether",
            self.0
                .iter()
                .map(|step| step.1)
                .sum::<Duration>()
                .as_secs_f64()
        );
    }
}

impl Args {
    /// Runs the drill.
    ///
    /// # Errors
    /// [`DrillError`]: the first failure.
    pub fn run(self) -> Result<()> {
        let cache = Cache::open().map_err(EndToEndError::from)?;
        let folder = cache.scratch("drill").map_err(EndToEndError::from)?;
        let kafka =
            kafka::start(&cache, &folder.path().join("kafka")).map_err(EndToEndError::from)?;
        let log = generate::kafka(kafka.address()).map_err(EndToEndError::from)?;
        println!("{}", machine::describe());

        let doomed = World::build(&cache, folder.path().join("doomed"), kafka.address())?;
        drill(&cache, folder.path(), doomed, &*log)
    }
}

fn drill(cache: &Cache, folder: &Path, doomed: World, log: &dyn RecordLog) -> Result<()> {
    let platform = doomed.start()?;
    let mut customers = Customers::sign_up(platform.shop()).map_err(EndToEndError::from)?;
    customers
        .order_each(platform.shop(), 20)
        .map_err(EndToEndError::from)?;

    let upload = platform
        .shop()
        .upload("tides.csv", "port,height\nDover,6.8\n")
        .map_err(EndToEndError::from)?;

    customers.wait_until_counted(platform.shop())?;
    let mut taken = Times::default();
    let backup = Backup::take(&doomed, log, folder.join("backup"), &mut taken)?;
    let newcomers = Customers::sign_up(platform.shop()).map_err(EndToEndError::from)?;
    customers.users.extend(newcomers.users);

    let brokers = doomed.brokers.clone();
    let end = order_until_the_end(doomed, platform, &customers)?;

    println!(
        "platform, SQL, tables, objects and checkpoints are gone; backups and the log are left"
    );

    let mut times = Times::default();
    let rebuilt = times.step("empty stores", || {
        World::build(cache, folder.join("rebuilt"), &brokers)
    })?;
    backup.restore(&rebuilt, log, &mut times)?;

    let platform = times.step("platform started, healthy", || rebuilt.start())?;
    let losses = end.losses(platform.shop(), &mut customers)?;
    customers
        .order_each(platform.shop(), 1)
        .map_err(EndToEndError::from)?;
    platform.shop().file(&upload).map_err(EndToEndError::from)?;
    times.step("all minutes closed, the books balance", || {
        Ok(books::wait_until_balanced(platform.shop(), &customers)?)
    })?;

    let notified = books::wait_until_notified(platform.shop(), &customers)?;
    books::compare_topic(log, &customers, &notified)?;
    taken.print();
    times.print();
    losses.print();
    println!("drill: all checks passed");

    Ok(())
}

/// The state that customers had seen when everything was destroyed.
struct End {
    /// The orders acknowledged since the backup, each with the time of its acknowledgement.
    acknowledged: Vec<(Order, Instant)>,
    at: Instant,
}

/// Lets customers order until everything is gone: the process, its stores and their data.
fn order_until_the_end(doomed: World, platform: Platform, customers: &Customers) -> Result<End> {
    let shop = platform.shop().clone();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let ordering = scope.spawn(|| {
            let mut acknowledged = Vec::new();
            for user in customers.users.iter().cycle() {
                match shop.order(*user, &customers.product, 1) {
                    Ok(order) => acknowledged.push((order, Instant::now())),
                    Err(_) if is_over.load(Ordering::Relaxed) => break,
                    Err(_) => {}
                }
            }

            acknowledged
        });

        thread::sleep(SINCE_THE_BACKUP); // the load, not a wait for something
        let at = Instant::now();
        let destroyed = platform.kill().map_err(EndToEndError::from);
        is_over.store(true, Ordering::Relaxed);

        let acknowledged = ordering.join().expect("the customer does not panic");
        destroyed?;
        doomed.destroy()?;

        Ok(End { acknowledged, at })
    })
}

/// The data that the backups and the log could not restore.
struct Losses {
    acknowledged: usize,
    /// The time from the acknowledgement of each lost order to the end.
    lost: Vec<Duration>,
    /// The surplus of the stock.
    stock: u64,
}

impl End {
    /// Compares the restored data with the customers' records of their orders, which it then
    /// replaces.
    fn losses(&self, shop: &Shop, customers: &mut Customers) -> Result<Losses> {
        let stored = shop.orders().map_err(EndToEndError::from)?;
        if let Some(lost) = customers
            .acknowledged
            .iter()
            .find(|order| !stored.contains(order))
        {
            return Err(
                EndToEndError::Books(format!("{lost:?} was in the backup and is gone")).into(),
            );
        }

        let lost = self
            .acknowledged
            .iter()
            .filter(|(order, _)| !stored.contains(order));

        let lost = lost
            .map(|(_, at)| self.at.saturating_duration_since(*at))
            .collect();
        customers.acknowledged = stored;

        let left = shop
            .stock(&customers.product)
            .map_err(EndToEndError::from)?;
        let stock = left.saturating_sub(STOCK - customers.sold());

        Ok(Losses {
            acknowledged: self.acknowledged.len(),
            lost,
            stock,
        })
    }
}

impl Losses {
    fn print(&self) {
        let oldest = self.lost.iter().max().copied().unwrap_or_default();
        println!(
            "lost: {} of {} orders acknowledged since the backup, the last {} ms of them, which were not on the topic yet",
            self.lost.len(),
            self.acknowledged,
            oldest.as_millis()
        );

        println!(
            "lost: names and addresses of those who signed up since; their orders have accounts under the old ids"
        );

        println!(
            "lost: products put on sale since; the stock is {} too high, which was sold since",
            self.stock
        );
    }
}
