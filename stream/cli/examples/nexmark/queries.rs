//! The queries of Nexmark that a job can express, each a function from a job to a pipeline.
//!
//! | query | | here |
//! |---|---|---|
//! | q0–q2 | all bids; with the price in euros; those for some auctions | `q0`, `q1`, `q2`: without a window |
//! | q5 | hot items: the auctions with the most bids of the last 10 seconds, every 2 seconds | `q5`: the rows of a window joined with their maximum |
//! | q7 | the highest bid of each 10 seconds | `q7`; of equal bids the first auction's |
//! | q8 | persons who opened auctions in the 10 seconds in which they registered | `q8`: a join of two topics by key and window |
//! | q11 | number of a person's bids in a session | `q11` |
//! | q12 | number of a person's bids in each 10 seconds | `q12`; by event time, where the original uses processing time |
//! | q14, q21, q22 | bids with values computed from their time and text | `q14`, `q21`, `q22`: without a window |
//! | q15, q16 | statistics of all bids of a day, and of each channel | `q15`, `q16` |
//! | q17 | statistics of each auction's bids of a day | `q17` |
//! | q18 | a person's last bid for each auction | `q18`; of each day |
//! | q19 | the ten highest bids of each auction | `q19`; of each day |
//! | q10 | all bids, in files by minute | cannot be expressed: with `--output`, only rows of windows have a folder for each window |
//! | q3, q20, q23 | joins of all auctions with all persons or bids | cannot be expressed: two topics are joined by key and window, and these joins have no window, so their state has no end |
//! | q4, q6, q9 | the winning bid of each auction, which lasts until its own expiry | cannot be expressed: windows do not depend on the event |
//! | q13 | a join with a table in a file | cannot be expressed as a table; a function of `aggregate` may look up data that it was given at the start |

use std::cmp::Reverse;
use std::fmt::Display;
use std::time::Duration;

use clap::ValueEnum;
use stream::{
    AnyPipeline, Count, DistinctExact, Emitted, Job, JobError, Joined, Max, Min, Output, Pipeline,
    Rows, Session, SessionWindows, SourcePartition, Sourced, Sum, Top, WindowRow, Windows,
};

use crate::events::{self, Bid, Event};

/// A query of Nexmark.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Query {
    Q0,
    Q1,
    Q2,
    Q5,
    Q7,
    Q8,
    Q11,
    Q12,
    Q14,
    Q15,
    Q16,
    Q17,
    Q18,
    Q19,
    Q21,
    Q22,
}

impl Query {
    /// Defines the job of the query.
    pub fn define(self, job: Job) -> Result<AnyPipeline, JobError> {
        Ok(match self {
            Self::Q0 => each_bid(job, "nexmark-q0", q0)?.into(),
            Self::Q1 => each_bid(job, "nexmark-q1", q1)?.into(),
            Self::Q2 => each_bid(job, "nexmark-q2", q2)?.into(),
            Self::Q5 => q5(job)?.into(),
            Self::Q7 => q7(job)?.into(),
            Self::Q8 => q8(job)?.into(),
            Self::Q11 => q11(job)?.into(),
            Self::Q12 => q12(job)?.into(),
            Self::Q14 => each_bid(job, "nexmark-q14", q14)?.into(),
            Self::Q15 => q15(job)?.into(),
            Self::Q16 => q16(job)?.into(),
            Self::Q17 => q17(job)?.into(),
            Self::Q18 => q18(job)?.into(),
            Self::Q19 => q19(job)?.into(),
            Self::Q21 => each_bid(job, "nexmark-q21", q21)?.into(),
            Self::Q22 => each_bid(job, "nexmark-q22", q22)?.into(),
        })
    }
}

/// A job with keys `K` and aggregates `A`.
type Defined<K, A> = Result<Pipeline<K, A>, JobError>;

fn events(job: Job) -> Sourced<Event> {
    job.source(events::TOPIC, events::decode)
}

fn ten_seconds() -> Result<Windows, JobError> {
    Ok(Windows::tumbling(Duration::from_secs(10))?)
}

/// Returns days in UTC, in panes of a minute.
fn days() -> Result<Windows, JobError> {
    let days = Windows::tumbling(Duration::from_secs(86_400))?;
    Ok(days.in_panes_of(Duration::from_secs(60))?)
}

/// Fills a record: its key is the window and the name of the row, its value is the key and the result.
fn write(output: &mut Output, window_start: u64, name: &dyn Display, result: &dyn Display) {
    let key = format!("{window_start} {name}");
    output.value.extend(format!("{key}: {result}").bytes());
    output.key.extend(key.bytes());
}

/// Publishes the lines that `line` returns for the bids.
fn each_bid(
    job: Job,
    topic: &str,
    line: fn(&Bid) -> Option<String>,
) -> Defined<SourcePartition, Emitted> {
    Ok(events(job)
        .without_window(Duration::from_millis(100))?
        .flat_map(Event::bid)
        .flat_map(move |bid| line(&bid))
        .sink(topic, |line, output| output.value.extend(line.bytes())))
}

/// Returns a price in thousandths of euros as text.
fn euros(price: u64) -> String {
    let thousandths = price * 908;
    format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
}

fn q0(bid: &Bid) -> Option<String> {
    let Bid {
        auction,
        bidder,
        price,
        channel,
        url,
        date_time_ms,
        extra,
    } = bid;
    Some(format!(
        "{auction} {bidder} {price} {channel} {url} {date_time_ms} {extra}"
    ))
}

fn q1(bid: &Bid) -> Option<String> {
    let price = euros(bid.price);
    Some(format!(
        "{} {} {price} {} {}",
        bid.auction, bid.bidder, bid.date_time_ms, bid.extra
    ))
}

fn q2(bid: &Bid) -> Option<String> {
    bid.auction
        .is_multiple_of(123)
        .then(|| format!("{} {}", bid.auction, bid.price))
}

fn q14(bid: &Bid) -> Option<String> {
    let thousandths = bid.price * 908;
    if !(1_000_000_001..50_000_000_000).contains(&thousandths) {
        return None;
    }

    let time = match bid.date_time_ms / 3_600_000 % 24 {
        8..=18 => "dayTime",
        7 | 19 => "otherTime",
        _ => "nightTime",
    };
    let count = bid.extra.matches('c').count();
    let price = euros(bid.price);
    Some(format!(
        "{} {} {price} {time} {} {} {count}",
        bid.auction, bid.bidder, bid.date_time_ms, bid.extra
    ))
}

fn q21(bid: &Bid) -> Option<String> {
    let id = match bid.channel.to_lowercase().as_str() {
        "apple" => "0",
        "google" => "1",
        "facebook" => "2",
        "baidu" => "3",
        _ => bid
            .url
            .split('&')
            .find_map(|part| part.strip_prefix("channel_id="))?,
    };
    Some(format!(
        "{} {} {} {} {id}",
        bid.auction, bid.bidder, bid.price, bid.channel
    ))
}

fn q22(bid: &Bid) -> Option<String> {
    let folders: Vec<&str> = bid.url.split('/').skip(3).take(3).collect();
    let folders = folders.join(" ");
    Some(format!(
        "{} {} {} {} {folders}",
        bid.auction, bid.bidder, bid.price, bid.channel
    ))
}

fn q5(job: Job) -> Defined<u64, Count> {
    let windows = Windows::sliding(Duration::from_secs(10), Duration::from_secs(2))?;
    Ok(events(job)
        .window(windows)
        .aggregate(|event| event.bid().map(|bid| (bid.auction, Count(1))))
        .sink("nexmark-q5-auctions", |row, output| {
            write(output, row.window_start, &row.key, &row.aggregate.0);
            output.skip();
        })
        .stage("nexmark-q5", hottest, |hot, output| {
            write(output, hot.window_start, &hot.key, &hot.aggregate.0);
        }))
}

/// The bids of an auction in a window.
type Bidden = WindowRow<u64, Count>;

/// Keeps the auctions with as many bids as any other of their window.
fn hottest(auctions: Rows<Bidden, Bidden>) -> Rows<Bidden, Bidden> {
    let most = auctions.clone().aggregate(|row| [((), Max(row.aggregate))]);
    auctions
        .join(most, |_| (), |_| ())
        .filter(|(row, most)| row.aggregate == most.aggregate.0)
        .map(|(row, _)| row)
}

fn q7(job: Job) -> Defined<(), Top<(u64, Reverse<u64>), 1>> {
    let highest = |bid: Bid| ((), Top::of((bid.price, Reverse(bid.auction))));
    Ok(events(job)
        .window(ten_seconds()?)
        .aggregate(move |event| event.bid().map(highest))
        .sink("nexmark-q7", |row, output| {
            for (price, Reverse(auction)) in row.aggregate.values() {
                let result = format!("auction {auction}, price {price}");
                write(output, row.window_start, &"highest", &result);
            }
        }))
}

fn q8(job: Job) -> Defined<u64, Joined<Min<String>, Count>> {
    Ok(job
        .source_of_some(events::PERSONS, events::person)
        .with(Sourced::of_some(events::AUCTIONS, events::auction))
        .window(ten_seconds()?)
        .join(
            |person| [(person.id, Min(person.name))],
            |auction| [(auction.seller, Count(1))],
        )
        .sink("nexmark-q8", |row, output| {
            if let Some((Min(name), Count(opened))) = row.aggregate.both() {
                let result = format!("{name}, {opened} auctions");
                write(output, row.window_start, &row.key, &result);
            }
        }))
}

fn q11(job: Job) -> Defined<u64, Session<Count>> {
    let sessions = SessionWindows::new(Duration::from_secs(10), Duration::from_secs(3600))?;
    Ok(events(job)
        .sessions(sessions)
        .aggregate(|event| event.bid().map(|bid| (bid.bidder, Count(1))))
        .sink("nexmark-q11", |row, output| {
            let Session {
                last_ms, aggregate, ..
            } = &row.aggregate;
            let result = format!("{} bids until {last_ms}", aggregate.0);
            write(output, row.window_start, &row.key, &result);
            if row.is_gone {
                output.skip();
            }
        }))
}

fn q12(job: Job) -> Defined<u64, Count> {
    Ok(events(job)
        .window(ten_seconds()?)
        .aggregate(|event| event.bid().map(|bid| (bid.bidder, Count(1))))
        .sink("nexmark-q12", |row, output| {
            write(output, row.window_start, &row.key, &row.aggregate.0);
        }))
}

/// The numbers of bids: all of them, those with a price below 10,000, those between, and those from 1,000,000 on.
type Bids = (Count, (Count, Count, Count));

fn bids(bid: &Bid) -> Bids {
    let count = |is_in: bool| Count(u64::from(is_in));
    let cheap = bid.price < 10_000;
    let dear = bid.price >= 1_000_000;
    (
        Count(1),
        (count(cheap), count(!cheap && !dear), count(dear)),
    )
}

fn shown((all, (cheap, middle, dear)): &Bids) -> String {
    format!("{} bids ({} {} {})", all.0, cheap.0, middle.0, dear.0)
}

/// Bids, distinct bidders, and distinct auctions.
type Market = (Bids, DistinctExact<u64>, DistinctExact<u64>);

fn market(bid: &Bid) -> Market {
    let bidder = DistinctExact::of(bid.bidder);
    (bids(bid), bidder, DistinctExact::of(bid.auction))
}

fn write_market(output: &mut Output, day: u64, name: &str, market: &Market) {
    let (all, bidders, auctions) = market;
    let [bidders, auctions] = [bidders, auctions].map(|set| set.0.len());
    let result = format!("{}, {bidders} bidders, {auctions} auctions", shown(all));
    write(output, day, &name, &result);
}

fn q15(job: Job) -> Defined<(), Market> {
    Ok(events(job)
        .window(days()?)
        .aggregate(|event| event.bid().map(|bid| ((), market(&bid))))
        .sink("nexmark-q15", |row, output| {
            write_market(output, row.window_start, "all", &row.aggregate);
        }))
}

fn q16(job: Job) -> Defined<String, Market> {
    Ok(events(job)
        .window(days()?)
        .aggregate(|event| {
            let bid = event.bid()?;
            let market = market(&bid);
            Some((bid.channel, market))
        })
        .sink("nexmark-q16", |row, output| {
            write_market(output, row.window_start, &row.key, &row.aggregate);
        }))
}

/// Bids, the lowest and highest price, and the sum of prices.
type Prices = (Bids, (Min<u64>, Max<u64>), Sum);

fn q17(job: Job) -> Defined<u64, Prices> {
    Ok(events(job)
        .window(days()?)
        .aggregate(|event| {
            let bid = event.bid()?;
            let range = (Min(bid.price), Max(bid.price));
            Some((bid.auction, (bids(&bid), range, Sum(bid.price))))
        })
        .sink("nexmark-q17", |row, output| {
            let (all, (Min(low), Max(high)), Sum(sum)) = &row.aggregate;
            let mean = sum / all.0.0;
            let result = format!("{}, {low} to {high}, mean {mean}, sum {sum}", shown(all));
            write(output, row.window_start, &row.key, &result);
        }))
}

fn q18(job: Job) -> Defined<(u64, u64), Max<(u64, u64)>> {
    Ok(events(job)
        .window(days()?)
        .aggregate(|event| {
            let bid = event.bid()?;
            Some((
                (bid.bidder, bid.auction),
                Max((bid.date_time_ms, bid.price)),
            ))
        })
        .sink("nexmark-q18", |row, output| {
            let (bidder, auction) = row.key;
            let Max((time_ms, price)) = row.aggregate;
            let name = format!("{bidder} {auction}");
            write(
                output,
                row.window_start,
                &name,
                &format!("{price} at {time_ms}"),
            );
        }))
}

/// A bid's price, bidder and time. Values of [`Top`] are distinct, and a bidder may repeat a price.
type Offer = (u64, u64, u64);

fn q19(job: Job) -> Defined<u64, Top<Offer, 10>> {
    Ok(events(job)
        .window(days()?)
        .aggregate(|event| {
            let bid = event.bid()?;
            let offer = (bid.price, bid.bidder, bid.date_time_ms);
            Some((bid.auction, Top::of(offer)))
        })
        .sink("nexmark-q19", |row, output| {
            let bids = row.aggregate.values().iter();
            let bids: Vec<String> = bids
                .map(|(price, by, _)| format!("{price} by {by}"))
                .collect();
            write(output, row.window_start, &row.key, &bids.join(", "));
        }))
}
