//! Kills only the orders service, as the loss of a node would, while all other services continue.
//! Their calls to it fail in the middle of an order, and they must continue with the process that
//! replaces it.

use std::path::Path;

use record_log::LogSettings;
use reqwest::Url;

use super::customers::Customers;
use super::{Result, books, kills};
use crate::apart::Apart;
use crate::counterparts::{Counterpart, Counterparts};
use crate::machine;

pub(super) fn run(
    folder: &Path,
    servers: &mut Counterparts,
    replicas: u16,
    kills: u32,
) -> Result<()> {
    let stores: Vec<_> = servers.arguments().map(str::to_owned).collect();
    let mut address = |which| {
        servers
            .server(which)
            .expect("all are started for the run")
            .address()
            .to_owned()
    };

    let log = LogSettings::Kafka {
        brokers: address(Counterpart::Kafka),
        properties: Vec::new(),
    };

    let mysql =
        Url::parse(&address(Counterpart::Mariadb)).expect("the harness writes valid addresses");
    println!("{}", machine::describe());

    let apart = Apart::start(folder, &stores, replicas)?;
    let shops = apart.shops();
    let shop = &shops[0];
    let mut customers = Customers::sign_up(&shops[0])?;
    customers.order_each(shop, 3)?;

    let _apart = kills::under_load(apart, &shops, &mut customers, kills, |mut apart, kill| {
        apart.kill_orders(kill)?;
        Ok(apart)
    })?;

    customers.wait_until_counted(shop)?;
    books::wait_until_balanced(shop, &customers)?;
    let notified = books::wait_until_notified(shop, &customers)?;
    books::wait_until_stock_is_back(shop, &customers)?;
    books::wait_until_whole(&mysql)?;
    books::compare_topic(&*record_log::open(&log)?, &customers, &notified)?;
    println!("end to end, orders alone: all checks passed");

    Ok(())
}
