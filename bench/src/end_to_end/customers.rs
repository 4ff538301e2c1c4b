//! The customers of a run, and the orders that were confirmed to them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{EndToEndError, Result};
use crate::shop::{Order, Shop, ShopError};

/// The price of the product.
const PRICE_CENTS: u64 = 1_250;
/// The time limit of counting. A window closes within a minute, the disorder and the time to
/// commit. An emulated store may be slow.
const COUNTED_LIMIT: Duration = Duration::from_secs(120);

/// Users of this run, the product they buy, and all their acknowledged orders.
pub struct Customers {
    pub(crate) users: Vec<u64>,
    pub(crate) product: String,
    pub(crate) acknowledged: Vec<Order>,
    /// The time limit for counts and messages.
    pub(crate) patience: Duration,
}

/// Number of orders and their total, by user.
type Books = BTreeMap<u64, (u64, u64)>;

impl Customers {
    /// Signs a few users up.
    ///
    /// # Errors
    /// [`ShopError`].
    pub fn sign_up(shop: &Shop) -> std::result::Result<Self, ShopError> {
        let now = events::Timestamp::now().as_ms();
        let sign_up = |number| {
            shop.sign_up(
                &format!("Customer {number}"),
                &format!("customer-{number}-{now}@test.com"),
            )
        };

        let users = (1..=3)
            .map(sign_up)
            .collect::<std::result::Result<_, _>>()?;
        let product = shop.sell("Tide table", PRICE_CENTS)?;

        Ok(Self {
            users,
            product,
            acknowledged: Vec::new(),
            patience: COUNTED_LIMIT,
        })
    }

    /// Lets each user order one time more than the one before, and all of them at least `least`
    /// times.
    ///
    /// # Errors
    /// [`ShopError`].
    pub fn order_each(&mut self, shop: &Shop, least: usize) -> std::result::Result<(), ShopError> {
        for (more, user) in self.users.iter().enumerate() {
            for quantity in (1..).take(least + more) {
                self.acknowledged
                    .push(shop.order(*user, &self.product, quantity)?);
            }
        }
        Ok(())
    }

    /// Returns the quantity that they bought.
    pub(crate) fn sold(&self) -> u64 {
        self.acknowledged
            .iter()
            .map(|order| order.total_cents)
            .sum::<u64>()
            / PRICE_CENTS
    }

    /// Checks that every acknowledged order is stored once, adds the orders whose reply was lost,
    /// and returns those.
    pub(super) fn take_in_stored(&mut self, shop: &Shop) -> Result<Vec<Order>> {
        let mut stored: Vec<_> = shop.orders()?;
        stored.retain(|order| self.users.contains(&order.user_id));
        stored.sort_unstable_by_key(|order| order.id);

        if let Some(twice) = stored.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(EndToEndError::Books(format!(
                "{:?} is listed twice",
                twice[0]
            )));
        }

        let is_stored = |order: &Order| {
            let found = stored.binary_search_by_key(&order.id, |stored| stored.id);
            found.is_ok_and(|at| stored[at] == *order)
        };

        self.acknowledged.sort_unstable_by_key(|order| order.id);
        if let Some(lost) = self.acknowledged.iter().find(|order| !is_stored(order)) {
            return Err(EndToEndError::Books(format!(
                "{lost:?} was acknowledged and is gone"
            )));
        }

        let mut acknowledged = self.acknowledged.iter().peekable();
        let is_unasked =
            |order: &&Order| acknowledged.next_if(|known| known.id == order.id).is_none();
        let unasked = stored.iter().filter(is_unasked).cloned().collect();
        self.acknowledged = stored;

        Ok(unasked)
    }

    /// Waits until the windows count exactly the acknowledged orders.
    ///
    /// # Errors
    /// [`EndToEndError::Books`] if more is counted than was ordered, or not enough in time.
    pub fn wait_until_counted(&self, shop: &Shop) -> Result<()> {
        let ordered = sum(self
            .acknowledged
            .iter()
            .map(|order| (order.user_id, 1, order.total_cents)));

        let started = Instant::now();
        println!(
            "waiting until {} orders are counted",
            self.acknowledged.len()
        );

        loop {
            let windows = shop
                .recent()?
                .into_iter()
                .filter(|window| self.users.contains(&window.user_id));
            let counted = sum(windows.map(|window| {
                // The product has one currency: a count of several is as wrong as another total.
                let total_cents = window.amounts.total_cents().unwrap_or(u64::MAX);
                (window.user_id, window.order_count, total_cents)
            }));

            if counted == ordered {
                println!("counted after {} s", started.elapsed().as_secs());
                return Ok(());
            }

            let too_many = counted
                .iter()
                .any(|(user, counted)| ordered.get(user).is_none_or(|own| counted.0 > own.0));

            if too_many || started.elapsed() > self.patience {
                return Err(EndToEndError::Books(format!(
                    "ordered {ordered:?}, counted {counted:?}"
                )));
            }

            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

fn sum(rows: impl Iterator<Item = (u64, u64, u64)>) -> Books {
    let mut books = Books::new();
    for (user, count, cents) in rows {
        let book = books.entry(user).or_default();
        *book = (book.0 + count, book.1.saturating_add(cents));
    }
    books
}
