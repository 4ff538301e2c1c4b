//! The notifications service: notifies a user of each order and of each state that it enters,
//! exactly once as far as the channel permits.
//!
//! It consumes the topic `orders` (`consume`) and owns the DynamoDB table `notifications`
//! (`store`), which is the mailbox behind `GET /notifications`. Records that cannot be decoded or
//! delivered go to `orders-dead-letter` (`dead_letter`), and consumption continues.
//!
//! ```text
//! orders ─▶ follower ─▶ keep a notification ─▶ DynamoDB ─▶ sender ─▶ couriers: e-mail, SMS
//!                       (first write wins)      ▲   │      (leases)  (address: users service)
//!                                               │   └─▶ GET /notifications
//!                                               └─ POST /notifications/retry
//! ```
//!
//! Without a mail server or an SMS gateway, nothing is sent: the simulated channel only stores the
//! notification in the mailbox. With both, messages go by e-mail: a message needs a confirmed e-mail
//! address in any case.
//!
//! It also sends the mail about accounts that the users service has stored (`account_mail`): a
//! confirmation of an address, a link to set another password, warnings.
//!
//! The replicas share the partitions of the topic, so each order is consumed by one of them. Errands
//! are shared by leases.
//!
//! Invariants:
//!
//! - A user without a confirmed e-mail address gets only mail about the account.
//! - An event has at most one notification, because the event's id is its key.
//! - No event is missed, because a position on the topic is stored only after the notification.
//! - Delivery on the simulated channel is exactly once. Mail servers and gateways cannot commit together with a table.
//!   If a sender dies between handing over a message and storing the outcome, the message is handed over again, under
//!   the same id.

mod clock;
mod config;
mod consume;
mod event;
mod notification;
mod template;

mod store;

mod account_mail;
mod courier;
mod dead_letter;
mod recipient;
mod sender;

mod http;

use std::sync::Arc;
use std::time::Duration;

pub use account_mail::AccountMailError;
use account_mail::{AccountMail, Undelivered};
use aws_sdk_dynamodb::Client;
use axum::Router;
use chassis::auth::Auth;
use chassis::{Health, Listeners, Metrics, Peer, ServeError, Shutdown, dynamodb, retry};
pub use clock::Clock;
pub use config::{Config, SettingsError};
use consume::Orders;
use courier::Courier;
use courier::email::Email;
use courier::sms::Sms;
use dead_letter::DeadLetters;
use events::ORDERS;
use follower::{Follower, Lag, REFUSED_WAIT, Refused, Scope};
use http::Mailbox;
use notification::Channel;
use prometheus::{IntCounter, PullingGauge};
use recipient::Users;
use record_log::RecordLog;
use sender::{BATCH as ERRANDS, Counters, Sender};
use store::Store;
pub use store::{NOTIFICATIONS, StoreError};
use tokio::sync::Notify;
use uuid::Uuid;

/// The consumer group under which the positions on the topic are committed.
const GROUP: &str = "notifications";
/// Largest number of orders in a batch.
const BATCH: usize = 200;
/// Time limit of a call to the users service for mail about accounts.
const USERS_LIMIT: Duration = Duration::from_secs(5);
/// Interval at which the sender looks for due errands, unless it is woken earlier.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The stores and the authentication of the service.
#[derive(Clone)]
pub struct Parts {
    /// The client for the table.
    pub dynamodb: Client,
    /// The log that orders are read from and dead letters are written to.
    pub log: Arc<dyn RecordLog>,
    /// Authenticates callers, and this service to the users service.
    pub auth: Auth,
}

/// The reason why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its HTTP server failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Its settings cannot work.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// The service, assembled but not started.
pub struct Service {
    store: Store,
    log: Arc<dyn RecordLog>,
    auth: Auth,
    lag: Lag,
    refused: Refused,
    delivery: Option<Delivery>,
    account_mail: AccountMail,
    kept: Arc<Notify>,
    clock: Clock,
    counters: Counters,
    shutdown: Shutdown,
}

/// Delivery by e-mail or SMS.
#[derive(Clone)]
struct Delivery {
    users: Users,
    /// The couriers in order of preference; never empty.
    couriers: Vec<Arc<dyn Courier>>,
    most_attempts: u32,
}

impl Service {
    /// Creates the service. Its metrics are registered in `metrics`, and it ends with `shutdown`.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(
        config: &Config,
        parts: Parts,
        metrics: &Metrics,
        shutdown: Shutdown,
    ) -> Result<Self, SettingsError> {
        let lag = Lag::default();
        let behind = lag.clone();
        let gauge = PullingGauge::new(
            "notifications_lag_records",
            "Order events that no replica has consumed yet.",
            Box::new(move || behind.records().map_or(f64::NAN, |records| records as f64)),
        );
        metrics.register(gauge.expect("a constant name"));

        let delivery = Delivery::new(config, &parts.auth)?;
        let account_mail = AccountMail {
            users: Peer::new(&config.users_url, parts.auth.clone(), USERS_LIMIT)?,
            courier: delivery.as_ref().and_then(Delivery::by_email),
            undelivered: Undelivered::default(),
            clock: Clock::default(),
            sent: counter(
                metrics,
                "notifications_account_mail_sent_total",
                "Mails about accounts that were sent.",
            ),
            failed: counter(
                metrics,
                "notifications_account_mail_failed_total",
                "Deliveries of mails about accounts that failed.",
            ),
        };

        Ok(Self {
            store: Store::new(parts.dynamodb, config.notifications_retention),
            log: parts.log,
            lag,
            refused: Refused::default(),
            delivery,
            account_mail,
            auth: parts.auth,
            kept: Arc::default(),
            clock: Clock::default(),
            counters: counters(metrics),
            shutdown,
        })
    }

    /// Returns the same service with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        let account_mail = AccountMail {
            clock: clock.clone(),
            ..self.account_mail
        };
        Self {
            clock,
            account_mail,
            ..self
        }
    }

    /// Returns its routes, which expect the table to exist.
    pub fn router(&self) -> Router {
        let store = self.store.clone();
        let clock = self.clock.clone();
        let kept = Arc::clone(&self.kept);
        let undelivered = self.account_mail.undelivered.clone();
        self.auth.protect(http::router(Mailbox {
            store,
            clock,
            kept,
            undelivered,
        }))
    }

    /// Creates the table if it is missing. Retries until it succeeds or a shutdown is requested.
    pub async fn prepare(&self) {
        retry(&self.shutdown, "notifications: table", || {
            self.store.ensure_tables()
        })
        .await;
    }

    /// Consumes the orders until a shutdown is requested.
    ///
    /// # Panics
    /// If the consumer panics.
    pub async fn consume(&self) {
        let log = Arc::clone(&self.log);
        let lag = self.lag.clone();
        let orders = Orders {
            store: self.store.clone(),
            dead_letters: DeadLetters::new(Arc::clone(&log)),
            channel: self
                .delivery
                .as_ref()
                .map_or(Channel::Simulated, Delivery::channel),
            kept: Arc::clone(&self.kept),
            clock: self.clock.clone(),
            counters: self.counters.clone(),
        };

        let follower = Follower {
            log,
            topic: ORDERS,
            group: GROUP,
            scope: Scope::Share,
            batch: BATCH,
            lag,
            refused: self.refused.clone(),
            refused_wait: REFUSED_WAIT,
        };

        follower
            .start(orders, self.shutdown.clone())
            .await
            .expect("following does not panic");
    }

    /// Sends due messages until a shutdown is requested. Without a courier it only waits for the
    /// shutdown.
    pub async fn send(&self) {
        let Some(sender) = self.sender() else {
            return self.shutdown.requested().await;
        };

        while !self.shutdown.is_requested() {
            let done = sender
                .send_due(&self.shutdown)
                .await
                .unwrap_or_else(|error| {
                    tracing::warn!(%error, "cannot read the due notifications");
                    0
                });

            if done == ERRANDS {
                continue;
            }

            tokio::select! {
                () = self.kept.notified() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = self.shutdown.requested() => {}
            }
        }
    }

    /// Sends mail about accounts until a shutdown is requested.
    pub async fn send_account_mail(&self) {
        self.account_mail.run(&self.shutdown).await;
    }

    /// Fetches and sends the mail about accounts that is due.
    ///
    /// # Errors
    /// [`AccountMailError`].
    pub async fn send_due_account_mail(&self) -> Result<(), AccountMailError> {
        self.account_mail.send_due().await
    }

    /// Sends the messages that are due by the service's clock, under a lease name of its own. Returns
    /// the number of completed errands.
    ///
    /// # Errors
    /// [`StoreError`] when the due errands cannot be read.
    pub async fn send_due(&self) -> Result<usize, StoreError> {
        match self.sender() {
            Some(sender) => sender.send_due(&self.shutdown).await,
            None => Ok(0),
        }
    }

    fn sender(&self) -> Option<Sender> {
        let Delivery {
            users,
            couriers,
            most_attempts,
        } = self.delivery.clone()?;

        Some(Sender {
            name: Uuid::new_v4(),
            store: self.store.clone(),
            users,
            couriers,
            dead_letters: DeadLetters::new(Arc::clone(&self.log)),
            most_attempts,
            clock: self.clock.clone(),
            counters: self.counters.clone(),
        })
    }
}

impl Delivery {
    /// Creates the couriers that the settings name. Returns `None` if they name none.
    fn new(config: &Config, auth: &Auth) -> Result<Option<Self>, SettingsError> {
        let mut couriers: Vec<Arc<dyn Courier>> = Vec::new();
        if let Some(url) = &config.notifications_email {
            couriers.push(Arc::new(Email::new(url.expose(), config)?));
        }
        if let Some(url) = &config.notifications_sms {
            couriers.push(Arc::new(Sms::new(url.expose(), config)?));
        }
        if couriers.is_empty() {
            return Ok(None);
        }

        let users = Users::new(&config.users_url, auth.clone())?;
        let most_attempts = config.notifications_attempts;
        Ok(Some(Self {
            users,
            couriers,
            most_attempts,
        }))
    }

    /// Returns the courier of e-mail, the only one for mail about accounts.
    fn by_email(&self) -> Option<Arc<dyn Courier>> {
        let mut couriers = self.couriers.iter();
        couriers
            .find(|courier| courier.channel() == Channel::Email)
            .cloned()
    }

    fn channel(&self) -> Channel {
        self.couriers
            .first()
            .map_or(Channel::Simulated, |courier| courier.channel())
    }
}

fn counter(metrics: &Metrics, name: &str, help: &str) -> IntCounter {
    metrics.register(IntCounter::new(name, help).expect("a constant name"))
}

fn counters(metrics: &Metrics) -> Counters {
    let counter = |name, help| counter(metrics, name, help);
    Counters {
        sent: counter("notifications_sent_total", "Notifications sent."),
        failed: counter(
            "notifications_failed_attempts_total",
            "Failed attempts that are retried.",
        ),
        skipped: counter(
            "notifications_skipped_total",
            "Notifications without a recipient.",
        ),
        dead: counter(
            "notifications_dead_letters_total",
            "Order events that became dead letters.",
        ),
    }
}

/// Serves, consumes and sends until a shutdown is requested. Listens at once; is ready when the table
/// exists.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    config: Config,
    parts: Parts,
    listeners: impl Into<Listeners>,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let health = Health::new();
    let metrics = Metrics::new("notifications");
    let client = parts.dynamodb.clone();

    health.register("dynamodb", move || {
        let client = client.clone();
        async move { dynamodb::ping(&client, NOTIFICATIONS).await }
    });

    let hold = health.hold("table");
    let service = Service::new(&config, parts, &metrics, shutdown.clone())?;
    let refused = service.refused.clone();
    health.register("topic orders", move || std::future::ready(refused.check()));

    let work = async {
        service.prepare().await;
        drop(hold);
        tokio::join!(
            service.consume(),
            service.send(),
            service.send_account_mail()
        );
    };

    let serving = chassis::serve(
        "notifications",
        listeners,
        service.router(),
        health,
        metrics,
        shutdown,
    );

    Ok(tokio::join!(work, serving).1?)
}
