//! Writes the JSON of a [`WindowCount`](events::WindowCount) without serde: one row for two or three
//! orders makes it a good part of the job's work.
//!
//! The rows of a window differ in user, counts and revision only. The text between the user and the
//! count, which has both times, is kept until a row of another window comes.
//!
//! Invariants: the bytes are those that `serde_json` writes for the `WindowCount`. A test
//! compares the two on drawn rows.

use std::cell::RefCell;

use events::{Amount, Timestamp};
use stream::Output;

/// A user's count, before it is written.
#[derive(Clone, Copy, Debug)]
pub struct CountRow<'a> {
    /// The user.
    pub user_id: u64,
    /// The first instant of the window or session.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
    /// Orders in it.
    pub order_count: u64,
    /// Sums of their totals, one for each currency.
    pub amounts: &'a [Amount],
    /// 0 at first; higher when late orders corrected the count.
    pub revision: u32,
}

/// The text between the user and the count.
struct Times {
    start: Timestamp,
    end: Timestamp,
    text: Vec<u8>,
}

thread_local! {
    /// The times of the row that this thread wrote last.
    static TIMES: RefCell<Times> = const {
        RefCell::new(Times {
            start: Timestamp::EPOCH,
            end: Timestamp::EPOCH,
            text: Vec::new(),
        })
    };
}

impl Times {
    /// Sets the text to that of this start and end.
    fn be(&mut self, start: Timestamp, end: Timestamp) {
        if !self.text.is_empty() && (self.start, self.end) == (start, end) {
            return;
        }

        self.start = start;
        self.end = end;
        self.text.clear();
        self.text.extend_from_slice(br#","window_start":""#);
        self.text
            .extend_from_slice(start.text().as_str().as_bytes());
        self.text.extend_from_slice(br#"","window_end":""#);
        self.text.extend_from_slice(end.text().as_str().as_bytes());
        self.text.extend_from_slice(br#"","order_count":"#);
    }
}

impl CountRow<'_> {
    /// Appends the user to the key, and the row to the value.
    pub fn write(&self, output: &mut Output) {
        let mut number = itoa::Buffer::new();
        let user_id = number.format(self.user_id).as_bytes();
        output.key.extend_from_slice(user_id);

        let json = &mut output.value;
        json.extend_from_slice(br#"{"user_id":"#);
        json.extend_from_slice(user_id);

        TIMES.with_borrow_mut(|times| {
            times.be(self.start, self.end);
            json.extend_from_slice(&times.text);
        });

        push_number(json, self.order_count);
        json.extend_from_slice(br#","total_cents":"#);
        match self.amounts {
            [only] => write_total(json, *only),
            several => write_totals(json, several),
        }
        json.extend_from_slice(br#"],"revision":"#);
        push_number(json, self.revision.into());
        json.push(b'}');
    }
}

/// Appends the values of [`events::Amounts`] in one currency, without the closing bracket. Nearly all rows have one.
fn write_total(json: &mut Vec<u8>, only: Amount) {
    let mut number = itoa::Buffer::new();
    let minor_units = number.format(only.minor_units).as_bytes();
    json.extend_from_slice(minor_units);
    json.extend_from_slice(br#","totals":[{"currency":""#);
    json.extend_from_slice(&only.currency.letters());
    json.extend_from_slice(br#"","minor_units":"#);
    json.extend_from_slice(minor_units);
    json.push(b'}');
}

/// Appends the values of [`events::Amounts`] in no or several currencies, without the closing bracket.
#[cold]
fn write_totals(json: &mut Vec<u8>, amounts: &[Amount]) {
    let mut number = itoa::Buffer::new();
    let total: &[u8] = if amounts.is_empty() { b"0" } else { b"null" };
    json.extend_from_slice(total);

    json.extend_from_slice(br#","totals":["#);
    for (place, amount) in amounts.iter().enumerate() {
        if place > 0 {
            json.push(b',');
        }

        json.extend_from_slice(br#"{"currency":""#);
        json.extend_from_slice(&amount.currency.letters());
        json.extend_from_slice(br#"","minor_units":"#);
        json.extend_from_slice(number.format(amount.minor_units).as_bytes());
        json.push(b'}');
    }
}

/// Appends a number that mostly has one digit.
fn push_number(json: &mut Vec<u8>, number: u64) {
    match u8::try_from(number) {
        Ok(digit @ ..10) => json.push(b'0' + digit),
        _ => json.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use events::WindowCount;
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Numbers at which the count of digits changes, and the greatest.
    const NUMBERS: [u64; 9] = [
        0,
        1,
        9,
        10,
        99,
        100,
        u32::MAX as u64,
        10_000_000_000_000_000_000,
        u64::MAX,
    ];

    const CODES: [&str; 5] = ["USD", "JPY", "EUR", "XXX", "AAA"];

    /// The last instant that can be written, and some before it.
    const INSTANTS: [u64; 5] = [
        0,
        999,
        1_735_689_600_000,
        1_735_689_660_000,
        253_402_207_200_000,
    ];

    fn number(rng: &mut StdRng) -> u64 {
        match rng.random_range(0..3) {
            0 => *NUMBERS.choose(rng).unwrap(),
            1 => rng.random_range(0..100_000),
            _ => rng.random(),
        }
    }

    fn instant(rng: &mut StdRng) -> Timestamp {
        let ms = match rng.random_range(0..3) {
            0 => rng.random_range(0..=INSTANTS[4]),
            _ => *INSTANTS.choose(rng).unwrap(),
        };
        Timestamp::from_ms(ms).unwrap()
    }

    fn drawn(rng: &mut StdRng) -> WindowCount {
        let amounts = (0..rng.random_range(0..4)).map(|_| Amount {
            currency: CODES.choose(rng).unwrap().parse().unwrap(),
            minor_units: number(rng),
        });
        let amounts: Vec<Amount> = amounts.collect();

        WindowCount {
            user_id: number(rng),
            window_start: instant(rng),
            window_end: instant(rng),
            order_count: number(rng),
            amounts: amounts.into_iter().collect(),
            revision: u32::try_from(number(rng)).unwrap_or(u32::MAX),
        }
    }

    fn written(count: &WindowCount) -> Output {
        let mut output = Output::default();
        let row = CountRow {
            user_id: count.user_id,
            start: count.window_start,
            end: count.window_end,
            order_count: count.order_count,
            amounts: count.amounts.as_slice(),
            revision: count.revision,
        };

        row.write(&mut output);
        output
    }

    #[test]
    fn a_row_is_written_as_serde_json_writes_it() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut kinds = [0; 4];
        for _ in 0..50_000 {
            let count = drawn(&mut rng);
            kinds[count.amounts.as_slice().len()] += 1;

            let output = written(&count);
            let expected = serde_json::to_string(&count).unwrap();
            assert_eq!(String::from_utf8(output.value).unwrap(), expected);
            assert_eq!(output.key, count.user_id.to_string().into_bytes());
        }

        assert!(kinds.iter().all(|drawn| *drawn > 100), "{kinds:?}");
    }

    #[test]
    fn a_row_has_the_times_of_its_own_window_whatever_came_before() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut count = drawn(&mut rng);
        for _ in 0..1_000 {
            match rng.random_range(0..3) {
                0 => count.window_start = instant(&mut rng),
                1 => count.window_end = instant(&mut rng),
                _ => count.user_id = number(&mut rng),
            }

            let read: WindowCount = serde_json::from_slice(&written(&count).value).unwrap();
            assert_eq!(read, count);
        }
    }
}
