//! Orders made from a seed: the same settings give the same records, byte for byte, on every
//! machine.
//!
//! Event time advances evenly over the span; each order is then up to `disorder` behind it, as on a
//! topic that many clients write to. So no order is late, except the share that the settings make
//! late.

use std::time::Duration;

use clap::ValueEnum;
use events::{ORDER_CREATED, OrderCreated, OrderItem, Timestamp};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};
use uuid::Uuid;

/// The settings of the orders.
#[derive(Clone, Debug, clap::Args)]
pub struct OrderSettings {
    /// Number of records, good and bad together.
    #[arg(long, default_value_t = 1_000_000)]
    pub orders: u64,
    /// Number of users that order.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub users: u64,
    /// Distribution of orders over users.
    #[arg(long, value_enum, default_value_t = Spread::Uniform)]
    pub spread: Spread,
    /// The event time of the first order. It must be in the past, because the job rejects records
    /// from the future.
    #[arg(long, default_value = "2025-01-01T00:00:00Z")]
    pub start: Timestamp,
    /// Event time that the orders cover.
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    pub span: Duration,
    /// The greatest time by which an order may be behind the newest one.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub disorder: Duration,
    /// The share of orders that come three to ten minutes late, between 0 and 1.
    #[arg(long, default_value_t = 0.0)]
    pub late: f64,
    /// The share of records that are not orders, between 0 and 1.
    #[arg(long, default_value_t = 0.0)]
    pub malformed: f64,
    /// Seed of every random choice.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Distribution of orders over users.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Spread {
    /// Every user orders equally often.
    Uniform,
    /// A few users order most: Zipf's law with exponent 1.1.
    Zipf,
}

/// One record of the topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The key: the user's id in decimal.
    pub user_id: u64,
    /// The partition; if absent, the key decides.
    pub partition: Option<u32>,
    /// The value.
    pub value: Value,
}

/// The value of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An order.
    Order(OrderCreated),
    /// Bytes that are not an order; none is a tombstone.
    Malformed(Option<Vec<u8>>),
}

impl OrderSettings {
    /// Returns the records, in the order of their publishing.
    pub fn records(&self) -> impl Iterator<Item = Made> + use<> {
        let mut maker = Maker::new(self.clone());
        (0..self.orders).map(move |number| maker.make(number))
    }

    /// Returns the same records with the time of the first call of `next` as the first event time.
    pub fn records_from_now(&self) -> impl Iterator<Item = Made> + use<> {
        let settings = self.clone();
        std::iter::once(()).flat_map(move |()| {
            Self {
                start: Timestamp::now(),
                ..settings.clone()
            }
            .records()
        })
    }

    /// Returns the orders among the records.
    pub fn good(&self) -> impl Iterator<Item = OrderCreated> + use<> {
        self.records().filter_map(|made| match made.value {
            Value::Order(order) => Some(order),
            Value::Malformed(_) => None,
        })
    }
}

struct Product {
    id: Uuid,
    price_cents: u64,
}

struct Maker {
    settings: OrderSettings,
    random: Xoshiro256PlusPlus,
    zipf: Zipf<f64>,
    catalogue: Vec<Product>,
}

impl Maker {
    fn new(settings: OrderSettings) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(settings.seed);
        let catalogue = (0..200).map(|_| Product {
            id: random_id(&mut random),
            price_cents: random.random_range(99..20_000),
        });
        let catalogue = catalogue.collect();
        #[allow(clippy::cast_precision_loss, reason = "users are far fewer than 2^53")]
        let zipf = Zipf::new(settings.users as f64, 1.1)
            .expect("there is a user, and the exponent is positive");

        Self {
            settings,
            random,
            zipf,
            catalogue,
        }
    }

    fn make(&mut self, number: u64) -> Made {
        let user_id = self.user();
        let order = self.order(number, user_id);
        let malformed = self.random.random_bool(self.settings.malformed);

        let value = if malformed {
            Value::Malformed(self.spoil(&order))
        } else {
            Value::Order(order)
        };

        Made {
            user_id,
            partition: None,
            value,
        }
    }

    fn user(&mut self) -> u64 {
        match self.settings.spread {
            Spread::Uniform => self.random.random_range(1..=self.settings.users),
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and users"
            )]
            Spread::Zipf => self.zipf.sample(&mut self.random) as u64,
        }
    }

    fn order(&mut self, number: u64, user_id: u64) -> OrderCreated {
        let lines = if self.random.random_bool(0.2) { 2 } else { 1 };
        let items: Vec<_> = (0..lines).map(|_| self.item()).collect();
        OrderCreated {
            event_id: random_id(&mut self.random),
            event_type: ORDER_CREATED.to_owned(),
            order_id: number + 1,
            user_id,
            total_cents: items
                .iter()
                .map(|item| u64::from(item.quantity) * item.unit_price_cents)
                .sum(),
            currency: "USD".to_owned(),
            items,
            created_at: self.event_time(number),
        }
    }

    fn item(&mut self) -> OrderItem {
        let product = &self.catalogue[self.random.random_range(0..self.catalogue.len())];
        let quantity = self.random.random_range(1..=5);
        OrderItem {
            product_id: product.id,
            quantity,
            unit_price_cents: product.price_cents,
            name: None,
        }
    }

    fn event_time(&mut self, number: u64) -> Timestamp {
        let start = self.settings.start.as_ms();
        let span = whole_ms(self.settings.span);
        let newest = start + scale(span, number, self.settings.orders);

        let behind = if self.random.random_bool(self.settings.late) {
            self.random.random_range(180_000..600_000)
        } else {
            // There is no earlier time for the first orders to lie behind.
            self.random
                .random_range(0..=whole_ms(self.settings.disorder))
                .min(newest - start)
        };

        Timestamp::from_ms(newest.saturating_sub(behind))
            .expect("start and span are within what RFC 3339 can write")
    }

    /// Returns a record as a broken producer would send it. The job must read the defective part.
    fn spoil(&mut self, order: &OrderCreated) -> Option<Vec<u8>> {
        let text = serde_json::to_string(order).expect("an order is plain data");
        let user = format!("\"user_id\":{}", order.user_id);
        match self.random.random_range(0..6) {
            0 => None,
            1 => Some(Vec::new()),
            2 => Some(text.as_bytes()[..text.len() / 2].to_vec()),
            3 => Some(vec![0xff; 16]),
            4 => Some(text.replace(&user, "\"user_id\":\"somebody\"").into_bytes()),
            _ => Some(
                text.replace(&order.created_at.to_string(), "2025-13-32T25:61:61Z")
                    .into_bytes(),
            ),
        }
    }
}

fn random_id(random: &mut Xoshiro256PlusPlus) -> Uuid {
    uuid::Builder::from_random_bytes(random.random()).into_uuid()
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns `whole * part / of` without overflow.
fn scale(whole: u64, part: u64, of: u64) -> u64 {
    let scaled = u128::from(whole) * u128::from(part) / u128::from(of);
    u64::try_from(scaled).expect("part is less than of")
}
