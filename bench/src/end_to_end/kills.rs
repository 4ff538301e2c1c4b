//! Kills under load: customers order while the platform, or its orders service, gets SIGKILL again and again, and is started
//! again each time.
//!
//! One customer gives up an order whose reply was lost; it is stored or it is not. The others insist: they ask again under
//! the same key until they are answered, and must get one order for each key.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::customers::Customers;
use super::{EndToEndError, Result};
use crate::shop::{Order, Shop};

/// Between two orders of a customer, so that a hundred kills fit into one catalogue's stock.
const PAUSE: Duration = Duration::from_millis(10);

/// What one customer did.
#[derive(Default)]
struct Purchases {
    acknowledged: Vec<Order>,
    /// Requests that were not answered, or not well.
    unanswered: usize,
}

/// Has `kill_and_start` kill so often while the customers order, each at one of the shops, and holds what is stored then
/// against what they know.
pub(super) fn under_load<V>(
    victim: V,
    shops: &[Shop],
    customers: &mut Customers,
    kills: u32,
    mut kill_and_start: impl FnMut(V, u32) -> Result<V>,
) -> Result<V> {
    println!("killing while customers order; so often: {kills}");
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

    // At the end of a partition event time goes on at the pace of the clock, in each life anew from the last event: where
    // nobody orders in a partition, its windows are as late as there were short lives.
    customers.patience += began.elapsed();
    report(&shops[0], customers, given_up, insisted)?;
    Ok(victim)
}

/// For how long customers order before they see the kill of this number: half a second to two, never the same phase of
/// whatever the platform does each second.
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
            // Without a platform there is nobody to insist with.
            Err(_) if is_last => return purchases,
            Err(_) => purchases.unanswered += 1,
        }
        thread::sleep(PAUSE);
    }
}

/// Every order that was acknowledged is stored; those that nobody knows of are the quitter's, one for each lost reply at
/// most.
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
            "{lost} replies were lost, but {} orders nobody knows of",
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
