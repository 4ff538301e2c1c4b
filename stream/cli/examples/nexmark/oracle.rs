//! The results of each query, computed by a plain program, and their comparison with the results of the query's job.
//! The job gets records out of order and late, in two runs, with one to three workers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use record_log::simulated::SimulatedLog;
use record_log::{Cleanup, Delivery, NewRecord, RecordLog, TopicSpec};
use stream::{AnyPipeline, Job, Settings, Stop};

use crate::events::{self, Auction, Bid, Event, Person};
use crate::queries::Query;

/// The results of a query by the key of their records: window and name.
pub type Results = BTreeMap<String, String>;

/// The number of events. They span two minutes, with midnight between them.
pub const EVENTS: u64 = 6_000;
/// The number of events before the first run.
pub const FIRST_RUN: u64 = 5_500;
/// One in this many events of the first run is published after that run.
const LATE: u64 = 17;
pub const PARTITIONS: u64 = 3;

const TEN_SECONDS: u64 = 10_000;
const DAY: u64 = 86_400_000;

/// Returns the bids of each window and group: of all windows of a size at every multiple of a slide.
fn grouped<G: Ord>(
    bids: &[Bid],
    (size, slide): (u64, u64),
    group: impl Fn(&Bid) -> G,
) -> BTreeMap<(u64, G), Vec<&Bid>> {
    let mut groups: BTreeMap<(u64, G), Vec<&Bid>> = BTreeMap::new();
    for bid in bids {
        let time = bid.date_time_ms;
        let last = time / slide * slide;
        let starts = (0..size / slide).map(|step| last - step * slide);
        for start in starts.filter(|start| time < start + size) {
            groups.entry((start, group(bid))).or_default().push(bid);
        }
    }
    groups
}

fn rows<N: std::fmt::Display>(rows: impl IntoIterator<Item = (u64, N, String)>) -> Results {
    let row = |(start, name, result): (u64, N, String)| {
        let key = format!("{start} {name}");
        (key.clone(), format!("{key}: {result}"))
    };
    rows.into_iter().map(row).collect()
}

fn q5(bids: &[Bid]) -> Results {
    let auctions = grouped(bids, (TEN_SECONDS, 2_000), |bid| bid.auction);
    let mut most: BTreeMap<u64, usize> = BTreeMap::new();
    for ((start, _), bids) in &auctions {
        let most = most.entry(*start).or_default();
        *most = bids.len().max(*most);
    }

    let hottest = auctions
        .iter()
        .filter(|((start, _), bids)| bids.len() == most[start]);
    rows(hottest.map(|((start, auction), bids)| (*start, *auction, bids.len().to_string())))
}

fn q7(bids: &[Bid]) -> Results {
    let windows = grouped(bids, (TEN_SECONDS, TEN_SECONDS), |_| ());
    rows(windows.into_iter().map(|((start, ()), bids)| {
        let price = bids.iter().map(|bid| bid.price).max().unwrap();
        let highest = bids.iter().filter(|bid| bid.price == price);
        let auction = highest.map(|bid| bid.auction).min().unwrap();
        (
            start,
            "highest",
            format!("auction {auction}, price {price}"),
        )
    }))
}

fn q8(persons: &[Person], auctions: &[Auction]) -> Results {
    rows(persons.iter().filter_map(|person| {
        let window = person.date_time_ms / TEN_SECONDS;
        let opened = auctions.iter().filter(|auction| {
            auction.seller == person.id && auction.date_time_ms / TEN_SECONDS == window
        });
        let count = opened.count();
        let result = format!("{}, {count} auctions", person.name);
        (count > 0).then(|| (window * TEN_SECONDS, person.id, result))
    }))
}

fn q11(bids: &[Bid]) -> Results {
    let mut times: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for bid in bids {
        times.entry(bid.bidder).or_default().push(bid.date_time_ms);
    }

    let mut all = Vec::new();
    for (bidder, mut times) in times {
        times.sort_unstable();
        let is_same = |one: &u64, next: &u64| {
            next - one <= TEN_SECONDS && one / 3_600_000 == next / 3_600_000
        };
        all.extend(times.chunk_by(is_same).map(|session| {
            let last = session.last().unwrap();
            let result = format!("{} bids until {last}", session.len());
            (session[0], bidder, result)
        }));
    }
    rows(all)
}

fn q12(bids: &[Bid]) -> Results {
    let windows = grouped(bids, (TEN_SECONDS, TEN_SECONDS), |bid| bid.bidder);
    let row =
        |((start, bidder), bids): ((u64, u64), Vec<&Bid>)| (start, bidder, bids.len().to_string());
    rows(windows.into_iter().map(row))
}

fn by_price(bids: &[&Bid]) -> String {
    let within = |range: std::ops::Range<u64>| {
        let is_within = |bid: &&&Bid| range.contains(&bid.price);
        bids.iter().filter(is_within).count()
    };
    format!(
        "{} bids ({} {} {})",
        bids.len(),
        within(0..10_000),
        within(10_000..1_000_000),
        within(1_000_000..u64::MAX)
    )
}

fn market(bids: &[Bid], group: impl Fn(&Bid) -> String) -> Results {
    let days = grouped(bids, (DAY, DAY), group);
    rows(days.into_iter().map(|((start, name), bids)| {
        let bidders: BTreeSet<u64> = bids.iter().map(|bid| bid.bidder).collect();
        let auctions: BTreeSet<u64> = bids.iter().map(|bid| bid.auction).collect();
        let result = format!(
            "{}, {} bidders, {} auctions",
            by_price(&bids),
            bidders.len(),
            auctions.len()
        );
        (start, name, result)
    }))
}

fn q17(bids: &[Bid]) -> Results {
    let days = grouped(bids, (DAY, DAY), |bid| bid.auction);
    rows(days.into_iter().map(|((start, auction), bids)| {
        let prices: Vec<u64> = bids.iter().map(|bid| bid.price).collect();
        let sum: u64 = prices.iter().sum();
        let result = format!(
            "{}, {} to {}, mean {}, sum {sum}",
            by_price(&bids),
            prices.iter().min().unwrap(),
            prices.iter().max().unwrap(),
            sum / prices.len() as u64
        );
        (start, auction, result)
    }))
}

fn q18(bids: &[Bid]) -> Results {
    let days = grouped(bids, (DAY, DAY), |bid| (bid.bidder, bid.auction));
    rows(days.into_iter().map(|((start, (bidder, auction)), bids)| {
        let last = bids.iter().max_by_key(|bid| (bid.date_time_ms, bid.price));
        let last = last.unwrap();
        let result = format!("{} at {}", last.price, last.date_time_ms);
        (start, format!("{bidder} {auction}"), result)
    }))
}

fn q19(bids: &[Bid]) -> Results {
    let days = grouped(bids, (DAY, DAY), |bid| bid.auction);
    rows(days.into_iter().map(|((start, auction), mut bids)| {
        bids.sort_by_key(|bid| std::cmp::Reverse((bid.price, bid.bidder)));
        let first = bids.iter().take(10);
        let first: Vec<String> = first
            .map(|bid| format!("{} by {}", bid.price, bid.bidder))
            .collect();
        (start, auction, first.join(", "))
    }))
}

/// Returns whether a query has a line for each event and no window.
fn is_passing(query: Query) -> bool {
    use Query::{Q0, Q1, Q2, Q14, Q21, Q22};
    matches!(query, Q0 | Q1 | Q2 | Q14 | Q21 | Q22)
}

/// Returns lines as results. Equal lines are numbered.
fn lines(lines: impl IntoIterator<Item = String>) -> Results {
    let mut results = Results::new();
    for line in lines {
        let copies = (0..).map(|copy| format!("{line} {copy}"));
        let key = copies.into_iter().find(|key| !results.contains_key(key));
        results.insert(key.unwrap(), line);
    }
    results
}

/// Converts a price in floating point. The queries use whole numbers.
fn euros(price: u64) -> String {
    let thousandths = (price as f64 * 0.908 * 1000.0).round();
    format!("{:.3}", thousandths / 1000.0)
}

fn q14(bids: &[Bid]) -> Results {
    let in_euros = |bid: &Bid| bid.price as f64 * 0.908;
    let found = bids
        .iter()
        .filter(|bid| in_euros(bid) > 1_000_000.0 && in_euros(bid) < 50_000_000.0);
    lines(found.map(|bid| {
        let hour = jiff::Timestamp::from_millisecond(i64::try_from(bid.date_time_ms).unwrap());
        let hour = hour.unwrap().to_zoned(jiff::tz::TimeZone::UTC).hour();
        let time = match hour {
            0..=6 | 20..=23 => "nightTime",
            8..=18 => "dayTime",
            _ => "otherTime",
        };
        let count = bid.extra.bytes().filter(|byte| *byte == b'c').count();
        let price = euros(bid.price);
        let of = (bid.auction, bid.bidder, bid.date_time_ms, &bid.extra);
        format!("{} {} {price} {time} {} {} {count}", of.0, of.1, of.2, of.3)
    }))
}

fn q21(bids: &[Bid]) -> Results {
    let known = ["Apple", "Google", "Facebook", "Baidu"];
    lines(bids.iter().filter_map(|bid| {
        let known = known.iter().position(|channel| *channel == bid.channel);
        let named = bid
            .url
            .split_once("channel_id=")
            .map(|(_, id)| id.to_owned());
        let id = known.map(|number| number.to_string()).or(named)?;
        Some(format!(
            "{} {} {} {} {id}",
            bid.auction, bid.bidder, bid.price, bid.channel
        ))
    }))
}

fn q22(bids: &[Bid]) -> Results {
    lines(bids.iter().map(|bid| {
        let path = bid.url.strip_prefix("https://www.nexmark.com/").unwrap();
        let path = path
            .strip_suffix(path.split_once("/item").unwrap().1)
            .unwrap();
        let folders = path.strip_suffix("/item").unwrap().replace('/', " ");
        format!(
            "{} {} {} {} {folders}",
            bid.auction, bid.bidder, bid.price, bid.channel
        )
    }))
}

/// Returns the results of a query over all events.
pub fn expected(query: Query, seed: u64) -> Results {
    let all = || (0..EVENTS).map(|number| events::event(seed, number));
    let bids: Vec<Bid> = all().filter_map(Event::bid).collect();
    let mut persons = Vec::new();
    let mut auctions = Vec::new();
    for event in all() {
        match event {
            Event::Person(person) => persons.push(person),
            Event::Auction(auction) => auctions.push(auction),
            Event::Bid(_) => {}
        }
    }

    let in_euros = |bid: &Bid| {
        let of = (bid.auction, bid.bidder, bid.date_time_ms, &bid.extra);
        format!("{} {} {} {} {}", of.0, of.1, euros(bid.price), of.2, of.3)
    };
    let whole = |bid: &Bid| {
        let text = serde_json::to_value(bid).unwrap();
        let fields = [
            "auction",
            "bidder",
            "price",
            "channel",
            "url",
            "date_time_ms",
            "extra",
        ];
        let shown = fields.map(|field| match &text[field] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        shown.join(" ")
    };

    match query {
        Query::Q0 => lines(bids.iter().map(whole)),
        Query::Q1 => lines(bids.iter().map(in_euros)),
        Query::Q2 => {
            let some = bids.iter().filter(|bid| bid.auction % 123 == 0);
            lines(some.map(|bid| format!("{} {}", bid.auction, bid.price)))
        }
        Query::Q14 => q14(&bids),
        Query::Q21 => q21(&bids),
        Query::Q22 => q22(&bids),
        Query::Q5 => q5(&bids),
        Query::Q7 => q7(&bids),
        Query::Q8 => q8(&persons, &auctions),
        Query::Q11 => q11(&bids),
        Query::Q12 => q12(&bids),
        Query::Q15 => market(&bids, |_| "all".to_owned()),
        Query::Q16 => market(&bids, |bid| bid.channel.clone()),
        Query::Q17 => q17(&bids),
        Query::Q18 => q18(&bids),
        Query::Q19 => q19(&bids),
    }
}

/// Publishes these events. Persons and auctions are published to topics of their own as well.
pub fn publish(log: &SimulatedLog, seed: u64, numbers: impl Iterator<Item = u64>) {
    let mut publisher = log.publisher("generator", Delivery::Transactional).unwrap();
    for number in numbers {
        let event = events::event(seed, number);
        let value = crate::json(&event);
        let own_topic = match event {
            Event::Person(_) => Some(events::PERSONS),
            Event::Auction(_) => Some(events::AUCTIONS),
            Event::Bid(_) => None,
        };

        for topic in std::iter::once(events::TOPIC).chain(own_topic) {
            let record = NewRecord {
                topic,
                partition: Some(u32::try_from(number % PARTITIONS).unwrap()),
                key: None,
                value: Some(&value),
                headers: &[],
            };
            publisher.send(record).unwrap();
        }
    }
    publisher.commit(&[]).unwrap();
}

/// Returns the newest value of each key of a topic, and the number of records that replaced another.
fn newest(log: &SimulatedLog, topic: &str) -> (Results, usize) {
    let mut results = Results::new();
    let mut replaced = 0;
    for record in log.records(topic) {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let key = text(record.key.unwrap());
        let former = match record.value {
            Some(value) => results.insert(key, text(value)),
            None => results.remove(&key),
        };
        replaced += usize::from(former.is_some());
    }
    (results, replaced)
}

/// Runs the job of a query to the end of the events of `log`, which publishes to `memory`, and returns the topic of its
/// results. Panics if an event was late or rejected.
pub fn run(
    log: Arc<dyn RecordLog>,
    memory: &SimulatedLog,
    query: Query,
    workers: u16,
    checkpoints: &str,
) -> String {
    let settings = Settings {
        workers,
        until_end: true,
        checkpoints: checkpoints.to_owned(),
        allowed_lateness: Duration::from_secs(3 * 86_400),
        ..Settings::default()
    };

    let pipeline: AnyPipeline = query.define(Job::new("nexmark")).unwrap();
    let views = pipeline.view_topics().pop();
    let topic = views.unwrap_or_else(|| pipeline.results_topic().to_owned());
    let sides = [pipeline.late_topics(), pipeline.dead_letter_topics()].concat();
    let run = pipeline.on(settings, log).unwrap();
    run.run(&Stop::default()).unwrap();

    for uncounted in sides {
        let records = memory.records(&uncounted);
        assert!(records.is_empty(), "{query:?}: {uncounted}");
    }
    topic
}

/// Returns the results of a query in its topic, and how many of them were replaced.
pub fn found(memory: &SimulatedLog, query: Query, topic: &str) -> (Results, usize) {
    if !is_passing(query) {
        return newest(memory, topic);
    }
    let records = memory.records(topic).into_iter();
    let values = records.filter_map(|record| record.value);
    let values = values.map(|value| String::from_utf8(value).unwrap());
    (lines(values), 0)
}

/// Creates the topics of events.
pub fn memory() -> SimulatedLog {
    let log = SimulatedLog::default();
    let topics = [events::TOPIC, events::PERSONS, events::AUCTIONS];
    let topics = topics.map(|name| TopicSpec {
        name: name.to_owned(),
        partitions: u32::try_from(PARTITIONS).unwrap(),
        cleanup: Cleanup::Delete,
        retention: Duration::from_secs(3600),
    });
    log.ensure_topics(&topics).unwrap();
    log
}

/// Runs a query twice, compares its results after the second run, and returns how many of them were replaced.
fn check(query: Query, seed: u64, workers: u16) -> usize {
    let log = memory();
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = format!("file://{}", folder.path().display());

    let is_late = |number: &u64| number % LATE == seed % LATE;
    publish(&log, seed, (0..FIRST_RUN).filter(|number| !is_late(number)));
    let run = |workers| run(Arc::new(log.clone()), &log, query, workers, &checkpoints);
    run(workers);

    publish(&log, seed, (0..FIRST_RUN).filter(is_late));
    publish(&log, seed, FIRST_RUN..EVENTS);
    let topic = run(4 - workers);

    let (found, replaced) = found(&log, query, &topic);
    let expected = expected(query, seed);
    assert!(!expected.is_empty(), "{query:?}");
    for (key, value) in &expected {
        let found = found.get(key);
        assert_eq!(
            found,
            Some(value),
            "{query:?}, seed {seed}, {workers} workers"
        );
    }
    assert_eq!(
        found.len(),
        expected.len(),
        "{query:?}: rows without events"
    );
    replaced
}

#[test]
fn every_query_has_the_results_of_a_plain_program() {
    for query in Query::value_variants() {
        let replaced: usize = (1..=3)
            .map(|workers| check(*query, u64::from(workers), workers))
            .sum();
        assert!(
            replaced > 0 || is_passing(*query),
            "late events correct results of {query:?}"
        );
    }
}

#[test]
fn events_are_functions_of_seed_and_number() {
    let events = |seed| (0..500).map(move |number| events::event(seed, number));
    assert!(events(1).eq(events(1)) && events(1).ne(events(2)));

    let of_kind = |is_kind: fn(&Event) -> bool| events(1).filter(is_kind).count();
    let persons = of_kind(|event| matches!(event, Event::Person(_)));
    let auctions = of_kind(|event| matches!(event, Event::Auction(_)));
    assert_eq!((persons, auctions), (10, 30));

    for event in events(3) {
        let value = crate::json(&event);
        assert_eq!(serde_json::from_slice::<Event>(&value).unwrap(), event);
    }
}
