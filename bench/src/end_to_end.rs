//! `bench end-to-end`: the whole platform as a customer meets it, also when it or its broker is killed, or when it is
//! wrongly started.
//!
//! The books must balance: whatever the platform acknowledged is among its orders, and the counts of the windows add
//! up to exactly those orders, each once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::counterparts::{Cache, Counterpart, CounterpartError, Counterparts, Server};
use crate::platform::{self, Platform, PlatformError, Settings};
use crate::process::{Lifetime, Process};
use crate::shop::{Order, Shop, ShopError};

/// A window closes within a minute, the disorder and the time to commit; an emulated store may be slow on top.
const COUNTED_LIMIT: Duration = Duration::from_secs(120);
/// The demo waits for a window as well.
const DEMO_LIMIT: Duration = Duration::from_secs(150);

/// Starts the real platform, shops, counts, kills it, starts it again, and sees that nothing acknowledged was lost.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Real servers in place of the embedded stores: all of them are started for the run.
    #[arg(long)]
    counterparts: bool,
    /// Kafka's brokers in place of the embedded log.
    #[arg(long, conflicts_with = "counterparts")]
    brokers: Option<String>,
    /// A MySQL URL in place of the embedded database.
    #[arg(long, conflicts_with = "counterparts")]
    mysql: Option<String>,
    /// A DynamoDB endpoint in place of the embedded one.
    #[arg(long, conflicts_with = "counterparts")]
    dynamodb: Option<String>,
}

/// Why the run ended early.
#[derive(Debug, thiserror::Error)]
pub enum EndToEndError {
    /// The platform did not do what it must.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// A request failed that must not.
    #[error(transparent)]
    Shop(#[from] ShopError),
    /// Orders and counts differ.
    #[error("the books do not balance: {0}")]
    Books(String),
    /// The demo failed.
    #[error("bench/test-api.sh {0}; it said:\n{1}")]
    Demo(String, String),
    /// A counterpart could not be had.
    #[error(transparent)]
    Counterpart(#[from] CounterpartError),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

type Result<T> = std::result::Result<T, EndToEndError>;

impl Args {
    /// Runs all of it.
    ///
    /// # Errors
    /// [`EndToEndError`]: the first thing that was not as it must be.
    pub fn run(self) -> Result<()> {
        let cache = Cache::open()?;
        let folder = cache.scratch("end-to-end")?;
        let wanted: &[Counterpart] = if self.counterparts { &Counterpart::ALL } else { &[] };
        let mut servers = Counterparts::start(wanted, &cache, folder.path(), Lifetime::OfItsThread)?;
        let given = [("--brokers", &self.brokers), ("--mysql", &self.mysql), ("--dynamodb", &self.dynamodb)];
        let given = given.into_iter().filter_map(|(flag, value)| value.as_deref().map(|value| [flag, value])).flatten();
        let arguments = servers.arguments().chain(given).map(str::to_owned).collect();
        whole(folder.path(), arguments, servers.server(Counterpart::Kafka))
    }
}

/// The whole run, with everything it writes below `folder`; a broker of our own goes away for a while.
fn whole(folder: &Path, arguments: Vec<String>, kafka: Option<&mut Server>) -> Result<()> {
    let log = folder.join("platform.log");
    let port_base = platform::free_port_base()?;
    let settings = Settings { data: Some(folder.join("data")), port_base, arguments, log };
    let platform = Platform::start(settings)?;
    refusals(platform.settings(), folder)?;
    let demo = start_demo(&platform.base(), &folder.join("demo.log"))?;
    let mut customers = Customers::sign_up(platform.shop())?;
    customers.order_each(platform.shop(), 3)?;
    customers.wait_until_counted(platform.shop())?;
    finish_demo(demo, &folder.join("demo.log"))?;

    if let Some(kafka) = kafka {
        println!("killing the broker; customers go on ordering");
        kafka.kill()?;
        customers.order_each(platform.shop(), 1)?;
        kafka.restart()?;
    }
    println!("killing the platform while customers order");
    let platform = Platform::start(customers.order_until_killed(platform)?)?;
    let unasked = customers.take_in_stored(platform.shop())?;
    println!("nothing acknowledged was lost; {unasked} orders were stored without their reply getting through");
    customers.wait_until_counted(platform.shop())?;
    wait_until_balanced(platform.shop())?;
    println!("stopping");
    platform.stop()?;
    println!("end to end: everything was as it must be");
    Ok(())
}

/// Starts that must fail beside the platform that runs with `settings`, each with one line that says why.
fn refusals(settings: &Settings, folder: &Path) -> Result<()> {
    let other_ports = platform::free_port_base()?;
    let log = folder.join("refused.log");
    let ephemeral = Settings { data: None, port_base: other_ports, arguments: Vec::new(), log: log.clone() };
    let unreachable = ["--brokers", "127.0.0.1:1"].map(str::to_owned).to_vec();
    let wrong = [
        ("the same folder", Settings { port_base: other_ports, log, ..settings.clone() }),
        ("the same ports", Settings { port_base: settings.port_base, ..ephemeral.clone() }),
        ("a bad flag", Settings { arguments: vec!["--no-such-flag".to_owned()], ..ephemeral.clone() }),
        ("an unreachable broker", Settings { arguments: unreachable, ..ephemeral }),
    ];
    for (what, settings) in wrong {
        println!("refused, {what}: {}", platform::refusal(&settings)?);
    }
    Ok(())
}

fn start_demo(base: &str, log: &Path) -> Result<Process> {
    let log = std::fs::File::create(log)?;
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/test-api.sh"));
    script.arg(base).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(Process::start(script, Lifetime::OfItsThread)?)
}

fn finish_demo(mut demo: Process, log: &PathBuf) -> Result<()> {
    let ended = demo.wait_for(DEMO_LIMIT)?;
    let said = std::fs::read_to_string(log)?;
    match ended {
        Some(ended) if ended.status.success() => {
            println!("{said}");
            Ok(())
        }
        Some(ended) => Err(EndToEndError::Demo(format!("ended with {}", ended.status), said)),
        None => Err(EndToEndError::Demo(format!("did not end within {} s", DEMO_LIMIT.as_secs()), said)),
    }
}

/// Users of our own, the product they buy, and every order of theirs that was acknowledged.
pub struct Customers {
    users: Vec<u64>,
    product: String,
    acknowledged: Vec<Order>,
}

/// Orders and their total, by user.
type Books = BTreeMap<u64, (u64, u64)>;

impl Customers {
    /// Signs a few users up.
    ///
    /// # Errors
    /// [`ShopError`].
    pub fn sign_up(shop: &Shop) -> Result<Self> {
        let now = events::Timestamp::now().as_ms();
        let sign_up =
            |number| shop.sign_up(&format!("Customer {number}"), &format!("customer-{number}-{now}@test.com"));
        let users = (1..=3).map(sign_up).collect::<std::result::Result<_, _>>()?;
        Ok(Self { users, product: shop.sell("Tide table", 1_250)?, acknowledged: Vec::new() })
    }

    /// Each user orders one time more than the one before, and all of them `least` times at least.
    ///
    /// # Errors
    /// [`ShopError`].
    pub fn order_each(&mut self, shop: &Shop, least: usize) -> Result<()> {
        for (more, user) in self.users.iter().enumerate() {
            for quantity in (1..).take(least + more) {
                self.acknowledged.push(shop.order(*user, &self.product, quantity)?);
            }
        }
        Ok(())
    }

    /// Orders without a pause, and kills the platform meanwhile.
    fn order_until_killed(&mut self, platform: Platform) -> Result<Settings> {
        let (shop, product, users) = (platform.shop().clone(), self.product.clone(), self.users.clone());
        let killed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let customer = scope.spawn(|| {
                let order = |user: &u64| shop.order(*user, &product, 1).ok();
                let go_on = |order: &Option<Order>| order.is_some() || !killed.load(Ordering::Relaxed);
                users.iter().cycle().map(order).take_while(go_on).flatten().collect::<Vec<_>>()
            });
            std::thread::sleep(Duration::from_secs(2)); // the load, not a wait for something
            let settings = platform.kill();
            killed.store(true, Ordering::Relaxed);
            self.acknowledged.extend(customer.join().expect("the customer does not panic"));
            Ok(settings?)
        })
    }

    /// Sees that every acknowledged order is stored once, and takes over those whose reply was lost on the way.
    fn take_in_stored(&mut self, shop: &Shop) -> Result<usize> {
        let mut stored: Vec<_> = shop.orders()?;
        stored.retain(|order| self.users.contains(&order.user_id));
        stored.sort_unstable_by_key(|order| order.id);
        if let Some(twice) = stored.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(EndToEndError::Books(format!("{:?} is listed twice", twice[0])));
        }
        if let Some(lost) = self.acknowledged.iter().find(|order| !stored.contains(order)) {
            return Err(EndToEndError::Books(format!("{lost:?} was acknowledged and is gone")));
        }
        let unasked = stored.len() - self.acknowledged.len();
        self.acknowledged = stored;
        Ok(unasked)
    }

    /// Waits until the windows count exactly the acknowledged orders.
    ///
    /// # Errors
    /// [`EndToEndError::Books`] when more is counted than was ordered, or not enough in time.
    pub fn wait_until_counted(&self, shop: &Shop) -> Result<()> {
        let ordered = sum(self.acknowledged.iter().map(|order| (order.user_id, 1, order.total_cents)));
        let started = Instant::now();
        println!("waiting until {} orders are counted", self.acknowledged.len());
        loop {
            let windows = shop.recent()?.into_iter().filter(|window| self.users.contains(&window.user_id));
            let counted = sum(windows.map(|window| (window.user_id, window.order_count, window.total_cents)));
            if counted == ordered {
                println!("counted after {} s", started.elapsed().as_secs());
                return Ok(());
            }
            let too_many = counted.iter().any(|(user, counted)| ordered.get(user).is_none_or(|own| counted.0 > own.0));
            if too_many || started.elapsed() > COUNTED_LIMIT {
                return Err(EndToEndError::Books(format!("ordered {ordered:?}, counted {counted:?}")));
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// Waits until the platform itself says that every minute is closed and the books balance.
fn wait_until_balanced(shop: &Shop) -> Result<()> {
    let started = Instant::now();
    loop {
        let audit = shop.audit()?;
        if audit.open_minutes == 0 && audit.balanced && audit.stored == audit.counted {
            println!("the audit finds no difference: {}", audit.stored);
            return Ok(());
        }
        if !audit.balanced || started.elapsed() > COUNTED_LIMIT {
            return Err(EndToEndError::Books(format!("the audit says {audit:?}")));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn sum(rows: impl Iterator<Item = (u64, u64, u64)>) -> Books {
    let mut books = Books::new();
    for (user, count, cents) in rows {
        let book = books.entry(user).or_default();
        *book = (book.0 + count, book.1 + cents);
    }
    books
}
