//! The platform as it is deployed: each service is a process of its own, and shares only stores
//! with the others.
//!
//! There may be several replicas of the orders service. In the cluster a load balancer stands
//! before them; here each has a gateway of its own, so that a test chooses which one it calls.

use std::ffi::OsString;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::blocking::Client;

use crate::binaries;
use crate::counterparts::{Launch, Server};
use crate::platform::{self, PlatformError};
use crate::process::Lifetime;
use crate::shop::Shop;

/// When a service fails, its gateway stops calling it for half a second, and for longer after each
/// further failure.
const BACK_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The way to start a service alone: its command, its port above the base, and the services whose
/// addresses it needs.
struct Service {
    name: &'static str,
    port: u16,
    calls: &'static [(&'static str, u16)],
}

const GATEWAY: Service = Service {
    name: "gateway",
    port: 0,
    calls: &[
        ("--gateway-users-url", 1),
        ("--gateway-products-url", 2),
        ("--gateway-orders-url", ORDERS.port),
        ("--gateway-notifications-url", 4),
        ("--gateway-analytics-url", 5),
        ("--gateway-files-url", 7),
    ],
};
const ORDERS: Service = Service {
    name: "orders",
    port: 3,
    calls: &[("--orders-products-url", 2)],
};
/// The services that run once.
const OTHERS: [Service; 6] = [
    Service {
        name: "users",
        port: 1,
        calls: &[],
    },
    Service {
        name: "products",
        port: 2,
        calls: &[],
    },
    Service {
        name: "notifications",
        port: 4,
        calls: &[("--notifications-users-url", 1)],
    },
    Service {
        name: "analytics",
        port: 5,
        calls: &[("--analytics-orders-url", ORDERS.port)],
    },
    Service {
        name: "order-analytics",
        port: 6,
        calls: &[],
    },
    Service {
        name: "files",
        port: 7,
        calls: &[("--files-products-url", 2)],
    },
];

/// All services; they end when this value is dropped.
pub struct Apart {
    others: Vec<Server>,
    replicas: Vec<Replica>,
}

/// An orders service, and the gateway before it.
struct Replica {
    orders: Server,
    gateway: Server,
    shop: Shop,
}

/// The addresses of the stores and of the services.
struct Place<'a> {
    folder: &'a Path,
    stores: &'a [String],
    /// The base of the ports of the services that run once.
    base: u16,
}

impl Apart {
    /// Starts every service on these stores, which must be servers, and waits until each is ready.
    ///
    /// # Errors
    /// [`PlatformError`] for the first service that does not become ready.
    pub fn start(folder: &Path, stores: &[String], replicas: u16) -> Result<Self, PlatformError> {
        let place = Place {
            folder,
            stores,
            base: platform::free_port_base()?,
        };

        let mut others: Vec<_> = OTHERS
            .iter()
            .map(|service| place.spawn(service, place.base))
            .collect::<Result<_, _>>()?;

        let mut apart = Self {
            others: Vec::new(),
            replicas: vec![Replica::start(&place, place.base)?],
        };

        others.iter_mut().try_for_each(Server::wait_until_ready)?;
        apart.others = others;
        for _ in 1..replicas {
            apart
                .replicas
                .push(Replica::start(&place, platform::free_port_base()?)?);
        }

        Ok(apart)
    }

    /// Returns a client of each gateway.
    pub fn shops(&self) -> Vec<Shop> {
        self.replicas
            .iter()
            .map(|replica| replica.shop.clone())
            .collect()
    }

    /// Kills the orders services in turn, one at each call. Restarts it at once, and waits until
    /// its gateway calls it again.
    ///
    /// # Errors
    /// [`PlatformError`] if it does not come back.
    pub fn kill_orders(&mut self, turn: u32) -> Result<(), PlatformError> {
        let victim = usize::try_from(turn).expect("turns are few") % self.replicas.len();
        self.replicas[victim].kill_orders()
    }

    /// Returns the processes, in the order of their ports.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        let replicas = self
            .replicas
            .iter()
            .flat_map(|replica| [&replica.gateway, &replica.orders]);
        replicas.chain(&self.others)
    }
}

impl Replica {
    fn start(place: &Place<'_>, base: u16) -> Result<Self, PlatformError> {
        let mut orders = place.spawn(&ORDERS, base)?;
        let mut gateway = place.spawn(&GATEWAY, base)?;
        orders.wait_until_ready()?;
        gateway.wait_until_ready()?;

        let shop = Shop::at(gateway.address())?;
        Ok(Self {
            orders,
            gateway,
            shop,
        })
    }

    fn kill_orders(&mut self) -> Result<(), PlatformError> {
        self.orders.restart()?;
        let restarted = Instant::now();
        while !self.shop.shows_orders() {
            if restarted.elapsed() > BACK_WITHIN {
                let reason = "it does not let requests through to the orders service".to_owned();
                return Err(self.gateway.not_ready(reason).into());
            }
            thread::sleep(LOOK_AGAIN);
        }

        Ok(())
    }
}

impl Place<'_> {
    fn spawn(&self, service: &Service, base: u16) -> Result<Server, PlatformError> {
        Ok(Server::spawn(
            self.launch(service, base)?,
            Lifetime::OfItsThread,
        )?)
    }

    fn launch(&self, service: &Service, base: u16) -> Result<Launch, PlatformError> {
        let port = base + service.port;
        let mut arguments = vec![
            service.name.to_owned(),
            "--port-base".to_owned(),
            base.to_string(),
        ];
        arguments.extend_from_slice(self.stores);
        arguments.extend(["--objects".to_owned(), self.kept_in("objects")]);

        if service.name == "order-analytics" {
            arguments.extend(["--checkpoints".to_owned(), self.kept_in("checkpoints")]);
        }

        for (flag, called) in service.calls {
            let base = if *called == ORDERS.port {
                base
            } else {
                self.base
            };
            arguments.extend([(*flag).to_owned(), url(base + called)]);
        }

        Ok(Launch {
            name: service.name,
            address: url(port),
            port,
            program: binaries::find("platform")?,
            arguments: arguments.into_iter().map(OsString::from).collect(),
            log: self.folder.join(format!("{}-{port}.log", service.name)),
            is_ready,
        })
    }

    fn kept_in(&self, folder: &str) -> String {
        format!("file://{}", self.folder.join(folder).display())
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Returns whether the service reports itself ready.
fn is_ready(port: u16) -> bool {
    let client = Client::builder()
        .timeout(Duration::from_secs(2))
        .no_proxy()
        .build();
    let answer = client.and_then(|client| client.get(format!("{}/health/ready", url(port))).send());
    answer.is_ok_and(|answer| answer.status().is_success())
}
