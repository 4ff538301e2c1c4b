//! The events of Nexmark, an auction house (Tucker et al., "NEXMark, a benchmark for queries over
//! data streams", 2008): persons who register, auctions that they open, and bids.
//!
//! Event `n` is a function of the seed and `n`, so that any part of the stream can be made anew. Of
//! 50 events, one is a person, three are auctions and 46 are bids. Half of the bids are for the
//! newest hot auction. Half of the bids, drawn independently of that, are made by the newest hot
//! person.

use record_log::Record;
use serde::{Deserialize, Serialize};
use stream::Rejected;

/// The topic of all events.
pub const TOPIC: &str = "nexmark";
/// The topic of persons, for queries that join it with another.
pub const PERSONS: &str = "nexmark-persons";
/// The topic of auctions, for queries that join it with another.
pub const AUCTIONS: &str = "nexmark-auctions";

/// The time of the first event: 100 seconds before midnight, so that a day ends soon.
pub const FIRST_MS: u64 = 1_436_918_300_000;
/// The time between two events.
const STEP_MS: u64 = 20;
/// The greatest time by which a bid is behind the events before it.
const BEHIND_MS: u64 = 500;

/// The id of the first person, and of the first auction.
const FIRST_ID: u64 = 1000;
/// The channels to which query q21 gives numbers.
const KNOWN_CHANNELS: [&str; 4] = ["Apple", "Google", "Facebook", "Baidu"];
/// One in this many persons is hot, and one in this many auctions.
const HOT_EVERY: u64 = 100;

/// An event.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    Person(Person),
    Auction(Auction),
    Bid(Bid),
}

/// A person who has registered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Person {
    pub id: u64,
    pub name: String,
    pub date_time_ms: u64,
}

/// An auction that was opened.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Auction {
    pub id: u64,
    pub seller: u64,
    pub category: u64,
    pub date_time_ms: u64,
}

/// A bid for an auction.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Bid {
    pub auction: u64,
    pub bidder: u64,
    pub price: u64,
    pub channel: String,
    /// The page of the bid. For nine in ten bids with another channel than the `KNOWN_CHANNELS`, it
    /// contains the channel's number.
    pub url: String,
    pub date_time_ms: u64,
    pub extra: String,
}

impl Event {
    /// The event's time.
    pub fn date_time_ms(&self) -> u64 {
        match self {
            Self::Person(person) => person.date_time_ms,
            Self::Auction(auction) => auction.date_time_ms,
            Self::Bid(bid) => bid.date_time_ms,
        }
    }

    /// Returns the bid, if the event is one.
    pub fn bid(self) -> Option<Bid> {
        match self {
            Self::Bid(bid) => Some(bid),
            _ => None,
        }
    }
}

/// Reads an event from a record, and returns its time.
pub fn decode(record: &Record<'_>) -> Result<(u64, Event), Rejected> {
    let value = record.value.unwrap_or_default();
    let event: Event = serde_json::from_slice(value).map_err(Rejected::because)?;
    Ok((event.date_time_ms(), event))
}

/// Reads a person from a record; none if it is another event.
pub fn person(record: &Record<'_>) -> Result<Option<(u64, Person)>, Rejected> {
    let (time_ms, event) = decode(record)?;
    Ok(match event {
        Event::Person(person) => Some((time_ms, person)),
        _ => None,
    })
}

/// Reads an auction from a record; none if it is another event.
pub fn auction(record: &Record<'_>) -> Result<Option<(u64, Auction)>, Rejected> {
    let (time_ms, event) = decode(record)?;
    Ok(match event {
        Event::Auction(auction) => Some((time_ms, auction)),
        _ => None,
    })
}

/// Returns event `number` of the stream with this seed.
pub fn event(seed: u64, number: u64) -> Event {
    let mut draws = Draws(mix(seed) ^ mix(number.wrapping_add(1)));
    let date_time_ms = FIRST_MS + number * STEP_MS;
    let round = number / 50;
    let persons = round + 1;

    match number % 50 {
        0 => Event::Person(Person {
            id: FIRST_ID + round,
            name: format!("person {}", draws.below(1000)),
            date_time_ms,
        }),
        place @ 1..=3 => Event::Auction(Auction {
            id: FIRST_ID + round * 3 + place - 1,
            seller: draws.recent(persons, 10),
            category: 10 + draws.below(5),
            date_time_ms,
        }),
        _ => Event::Bid(draws.bid(round, date_time_ms)),
    }
}

/// Random numbers, by SplitMix64.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Draws one of the newest ids.
    fn recent(&mut self, count: u64, most: u64) -> u64 {
        FIRST_ID + count - 1 - self.below(count.min(most))
    }

    fn hot_or_recent(&mut self, count: u64) -> u64 {
        if self.below(2) == 0 {
            FIRST_ID + (count - 1) / HOT_EVERY * HOT_EVERY
        } else {
            self.recent(count, HOT_EVERY)
        }
    }

    fn bid(&mut self, round: u64, date_time_ms: u64) -> Bid {
        let auction = self.hot_or_recent((round + 1) * 3);
        let bidder = self.hot_or_recent(round + 1);
        let magnitude = 10_u64.pow(u32::try_from(self.below(6)).unwrap_or(0));
        let price = 100 + self.below(100) * magnitude;
        let (channel, url) = self.channel();

        Bid {
            auction,
            bidder,
            price,
            channel,
            url,
            date_time_ms: date_time_ms - self.below(BEHIND_MS),
            extra: self.letters(12),
        }
    }

    /// Draws a channel and the page of a bid.
    fn channel(&mut self) -> (String, String) {
        let folders = [(); 3].map(|()| self.letters(5)).join("/");
        let page = format!("https://www.nexmark.com/{folders}/item.htm?query=1");
        let number = self.below(100);
        let channel = match self.below(8) {
            0..=4 => KNOWN_CHANNELS[usize::try_from(self.below(4)).unwrap_or(0)].to_owned(),
            _ => format!("channel-{number}"),
        };

        let is_named = channel.starts_with("channel-") && self.below(10) > 0;
        let url = if is_named {
            format!("{page}&channel_id={number}")
        } else {
            page
        };
        (channel, url)
    }

    fn letters(&mut self, count: usize) -> String {
        let letter = |()| char::from(b'a' + u8::try_from(self.below(26)).unwrap_or(0));
        std::iter::repeat_n((), count).map(letter).collect()
    }
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
