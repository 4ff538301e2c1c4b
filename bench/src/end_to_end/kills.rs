//! Kills under load: customers order while the platform, or its orders service, gets SIGKILL again
//! and again, and is restarted each time.
//!
//! One customer gives up an order whose reply was lost; that order may be stored or not. The others
//! repeat a request under the same key until it is answered, and must get one order for each key.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::customers::Customers;
use super::{EndToEndError, Result};
use crate::shop::{Order, Shop};

/// The pause between two orders of a customer. A hundred kills must not use up the stock.
const PAUSE: Duration = Duration::from_millis(10);

/// The purchases of one customer.
#[derive(Default)]
struct Purchases {
    acknowledged: Vec<Order>,
    /// Requests without a good answer.
    unanswered: usize,
}

/// Calls `kill_and_start` `kills` times while the customers order, each at one of the shops. Then
/// compares the stored orders with the acknowledged ones.
pub(super) fn under_load<V>(
    victim: V,
    shops: &[Shop],
    customers: &mut Customers,
    kills: u32,
    mut kill_and_start: impl FnMut(V, u32) -> Result<V>,
) -> Result<V> {
    println!("killing {kills} times while customers order");
    let began = Instant::now();
    let product = &*customers.product;
    let over = AtomicBool::new(false);
    let (quitter, others) = customers.users.split_first().expect("there are customers");

    let (victim, given_up, insisted) = thread::scope(|scope| {
        let given_up = scope.spawn(|| order_or_give_up(&shops[0], *quitter, product, &over));
        let insist = |(shop, user)| {
            let over = &over;
            scope.spawn(move || insist(shop, user, product, over))
        };

        let insisted: Vec<_> = shops
            .iter()
            .rev()
            .cycle()
            .zip(others.iter().copied())
            .map(insist)
            .collect();

        let victim = (1..=kills).try_fold(victim, |victim, kill| {
            thread::sleep(until(kill)); // the load, not a wait for something
            kill_and_start(victim, kill)
        });

        over.store(true, Ordering::Relaxed);
        let join = |thread: ScopedJoinHandle<'_, Purchases>| {
            thread.join().expect("customers do not panic")
        };

        (
            victim,
            join(given_up),
            insisted.into_iter().map(join).collect::<Vec<_>>(),
        )
    });
    let victim = victim?;

    // At the end of a partition event time follows the clock, beginning in each life of the
    // platform at the last event. So in a partition without orders, windows are late by the sum of
    // the short lives.
    customers.patience += began.elapsed();
    report(&shops[0], customers, given_up, insisted)?;
    Ok(victim)
}

/// Returns the time for which customers order before the kill of this number: half a second to two,
/// at a varying phase of the platform's periodic work.
fn until(kill: u32) -> Duration {
    Duration::from_millis(500 + u64::from(kill) * 379 % 1_500)
}

fn order_or_give_up(shop: &Shop, user: u64, product: &str, over: &AtomicBool) -> Purchases {
    let mut purchases = Purchases::default();
    while !over.load(Ordering::Relaxed) {
        match shop.order(user, product, 1) {
            Ok(order) => purchases.acknowledged.push(order),
            Err(_) => purchases.unanswered += 1,
        }
        thread::sleep(PAUSE);
    }

    purchases
}

fn insist(shop: &Shop, user: u64, product: &str, over: &AtomicBool) -> Purchases {
    let mut purchases = Purchases::default();
    let mut key = Uuid::new_v4();
    loop {
        let is_last = over.load(Ordering::Relaxed);
        match shop.order_once(key, user, product, 1) {
            Ok(order) => {
                purchases.acknowledged.push(order);
                key = Uuid::new_v4();
                if is_last {
                    return purchases;
                }
            }
            // After the last kill there may be no platform that could answer.
            Err(_) if is_last => return purchases,
            Err(_) => purchases.unanswered += 1,
        }
        thread::sleep(PAUSE);
    }
}

/// Checks that every acknowledged order is stored. Unknown orders belong to the customer who gives
/// up, at most one for each lost reply.
fn report(
    shop: &Shop,
    customers: &mut Customers,
    given_up: Purchases,
    insisted: Vec<Purchases>,
) -> Result<()> {
    let quitter = customers.users[0];
    let lost = given_up.unanswered;
    let again: usize = insisted.iter().map(|purchases| purchases.unanswered).sum();
    let purchases = insisted.into_iter().chain([given_up]);
    customers
        .acknowledged
        .extend(purchases.flat_map(|purchases| purchases.acknowledged));

    let acknowledged = customers.acknowledged.len();
    let unasked = customers.take_in_stored(shop)?;
    if let Some(twice) = unasked.iter().find(|order| order.user_id != quitter) {
        return Err(EndToEndError::Books(format!(
            "{twice:?} is stored beside the one that was acknowledged for its key"
        )));
    }

    if unasked.len() > lost {
        return Err(EndToEndError::Books(format!(
            "{lost} replies were lost, but {} orders are unknown to the customers",
            unasked.len()
        )));
    }

    println!(
        "nothing of {acknowledged} acknowledged orders was lost; {again} requests were repeated under their keys, and made \
         one order each; of {lost} that were given up {} were stored whole",
        unasked.len()
    );

    Ok(())
}
