//! Counts packed as bytes. Pure.
//!
//! A chunk of counts is one attribute of one item, because DynamoDB bills a write by its size: 1 KB is
//! a unit, whether it is one count or a hundred. The counts are sorted by user, numbers are LEB128, and
//! whatever many counts share is in a head:
//!
//! ```text
//! format · currencies (number, then 3 letters each) · windows (number, then start - label, length)
//! count: user - user before · window, if there are several · orders * 2 + (revision > 0) · revision, if > 0 ·
//!        currency + 1 and sum; or 0, number of sums, and currency and sum of each
//! ```
//!
//! Times are relative to the chunk's label, which is a part of its key. A count of a minute with one
//! order takes seven to nine bytes.

use events::{Amount, Amounts, Currency, Timestamp, WindowCount};

/// The number of the format, the first byte.
const FORMAT: u8 = 1;

/// The reason that bytes are no packed counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum NotPacked {
    /// The bytes end too early, or a number is too large.
    #[error("packed counts are cut off or damaged")]
    Damaged,
    /// A later version of the service has written them.
    #[error("packed counts have the unknown format {0}")]
    UnknownFormat(u8),
}

/// Start and length of a window, in milliseconds; the start after the label.
type Window = (u64, u64);

/// Packs counts of windows that start at the label or later.
pub(super) fn pack(label_ms: u64, counts: &[&WindowCount]) -> Vec<u8> {
    let mut counts = counts.to_vec();
    counts.sort_unstable_by_key(|count| (count.user_id, count.window_start));
    let currencies = distinct(counts.iter().flat_map(|count| {
        let amounts = count.amounts.as_slice().iter();
        amounts.map(|amount| amount.currency)
    }));
    let windows = distinct(counts.iter().map(|count| window(label_ms, count)));

    let mut bytes = vec![FORMAT];
    put(&mut bytes, currencies.len() as u64);
    for currency in &currencies {
        bytes.extend(currency.letters());
    }
    put(&mut bytes, windows.len() as u64);
    for (start, length) in &windows {
        put(&mut bytes, *start);
        put(&mut bytes, *length);
    }

    let mut user_before = 0;
    for count in counts {
        put(&mut bytes, count.user_id - user_before);
        user_before = count.user_id;
        if windows.len() > 1 {
            put(&mut bytes, place(&windows, &window(label_ms, count)));
        }
        put_numbers(&mut bytes, count, &currencies);
    }
    bytes
}

/// Returns the most bytes that a count adds to a chunk, with its window and its currencies.
pub(super) fn most_bytes(count: &WindowCount) -> usize {
    const NUMBER: usize = 10;
    const NUMBERS: usize = 8;
    NUMBERS * NUMBER + count.amounts.as_slice().len() * (2 * NUMBER + 3)
}

/// Returns the counts of a chunk with this label.
pub(super) fn unpack(label_ms: u64, bytes: &[u8]) -> Result<Vec<WindowCount>, NotPacked> {
    let mut rest = Rest(bytes);
    let format = rest.byte()?;
    if format != FORMAT {
        return Err(NotPacked::UnknownFormat(format));
    }

    let currencies = rest.list(Rest::currency)?;
    let windows = rest.list(|rest| rest.window(label_ms))?;
    let mut counts = Vec::new();
    let mut user_id = 0_u64;
    while !rest.0.is_empty() {
        let distance = rest.number()?;
        user_id = user_id.checked_add(distance).ok_or(NotPacked::Damaged)?;
        let at = if windows.len() > 1 { rest.number()? } else { 0 };
        let (window_start, window_end) = *element(&windows, at)?;

        let orders = rest.number()?;
        let revision = if orders & 1 == 1 { rest.number()? } else { 0 };
        counts.push(WindowCount {
            user_id,
            window_start,
            window_end,
            order_count: orders >> 1,
            amounts: rest.amounts(&currencies)?,
            revision: u32::try_from(revision).map_err(|_| NotPacked::Damaged)?,
        });
    }
    Ok(counts)
}

fn put_numbers(bytes: &mut Vec<u8>, count: &WindowCount, currencies: &[Currency]) {
    let is_revised = count.revision > 0;
    put(bytes, (count.order_count << 1) | u64::from(is_revised));
    if is_revised {
        put(bytes, count.revision.into());
    }

    let amounts = count.amounts.as_slice();
    if let [only] = amounts {
        put(bytes, place(currencies, &only.currency) + 1);
        put(bytes, only.minor_units);
        return;
    }

    put(bytes, 0);
    put(bytes, amounts.len() as u64);
    for amount in amounts {
        put(bytes, place(currencies, &amount.currency));
        put(bytes, amount.minor_units);
    }
}

fn window(label_ms: u64, count: &WindowCount) -> Window {
    let start = count.window_start.as_ms();
    (start - label_ms, count.window_end.as_ms() - start)
}

fn distinct<T: Ord>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = all.collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Returns the place of an element that the sorted list has.
fn place<T: Ord>(list: &[T], element: &T) -> u64 {
    let place = list.binary_search(element);
    place.expect("the list was made of these elements") as u64
}

fn element<T>(list: &[T], at: u64) -> Result<&T, NotPacked> {
    let at = usize::try_from(at).ok();
    at.and_then(|at| list.get(at)).ok_or(NotPacked::Damaged)
}

/// Appends a number in LEB128.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// The bytes that are not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn byte(&mut self) -> Result<u8, NotPacked> {
        let (first, rest) = self.0.split_first().ok_or(NotPacked::Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u64, NotPacked> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }

            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(NotPacked::Damaged)
    }

    fn list<T>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, NotPacked>,
    ) -> Result<Vec<T>, NotPacked> {
        let length = self.number()?;
        (0..length).map(|_| read(self)).collect()
    }

    fn currency(&mut self) -> Result<Currency, NotPacked> {
        let letters = [self.byte()?, self.byte()?, self.byte()?];
        Currency::of_code(&letters).ok_or(NotPacked::Damaged)
    }

    fn window(&mut self, label_ms: u64) -> Result<(Timestamp, Timestamp), NotPacked> {
        let start = label_ms.checked_add(self.number()?);
        let length = self.number()?;
        let instant = |ms: Option<u64>| ms.and_then(Timestamp::from_ms).ok_or(NotPacked::Damaged);
        let end = start.and_then(|start| start.checked_add(length));
        Ok((instant(start)?, instant(end)?))
    }

    fn amounts(&mut self, currencies: &[Currency]) -> Result<Amounts, NotPacked> {
        let amount = |rest: &mut Self, currency| {
            Ok(Amount {
                currency: *element(currencies, currency)?,
                minor_units: rest.number()?,
            })
        };

        let amounts = match self.number()? {
            0 => self.list(|rest| {
                let currency = rest.number()?;
                amount(rest, currency)
            })?,
            currency => vec![amount(self, currency - 1)?],
        };
        Ok(amounts.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL_MS: u64 = 1_795_341_600_000;

    fn count(user_id: u64, start: u64, length: u64, amounts: &[(&str, u64)]) -> WindowCount {
        let instant = |ms| Timestamp::from_ms(ms).unwrap();
        let amount = |(code, minor_units): &(&str, u64)| Amount {
            currency: code.parse().unwrap(),
            minor_units: *minor_units,
        };
        WindowCount {
            user_id,
            window_start: instant(LABEL_MS + start),
            window_end: instant(LABEL_MS + start + length),
            order_count: 1 + user_id % 3,
            amounts: amounts.iter().map(amount).collect(),
            revision: 0,
        }
    }

    fn packed(counts: &[WindowCount]) -> Vec<u8> {
        pack(LABEL_MS, &counts.iter().collect::<Vec<_>>())
    }

    /// Counts of every kind: several windows, currencies and revisions, and the largest numbers.
    fn all_kinds() -> Vec<WindowCount> {
        let mut counts = vec![
            count(0, 0, 60_000, &[]),
            count(7, 0, 60_000, &[("EUR", 1_999)]),
            count(7, 60_000, 60_000, &[("EUR", 0)]),
            count(8, 1, 3_600_000, &[("EUR", 5), ("JPY", u64::MAX)]),
            count(i64::MAX.cast_unsigned(), 0, 60_000, &[("ZZZ", 1)]),
        ];
        counts[1].revision = u32::MAX;
        counts[2].order_count = u64::MAX >> 1;
        counts[3].order_count = 0;
        counts
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let counts = all_kinds();
        let mut shuffled = counts.clone();
        shuffled.reverse();
        assert_eq!(unpack(LABEL_MS, &packed(&shuffled)), Ok(counts));
        assert_eq!(unpack(LABEL_MS, &packed(&[])), Ok(Vec::new()));
    }

    #[test]
    fn a_count_of_a_usual_minute_takes_nine_bytes() {
        let counts: Vec<_> = (1..=100)
            .map(|user| count(user * 100_003, 0, 60_000, &[("EUR", 1_000 + user)]))
            .collect();
        let bytes = packed(&counts).len();
        assert!(bytes <= 900, "{bytes}");
    }

    #[test]
    fn bytes_that_are_cut_off_or_damaged_are_refused_and_never_panic() {
        let counts = all_kinds();
        let bytes = packed(&counts);
        for length in 0..bytes.len() {
            let unpacked = unpack(LABEL_MS, &bytes[..length]);
            assert!(
                unpacked.is_err() || unpacked.is_ok_and(|some| some.len() < counts.len()),
                "{length}"
            );
        }

        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                // A damaged number may be another number; only a panic would be wrong.
                drop(unpack(LABEL_MS, &damaged));
            }
        }
        assert_eq!(unpack(LABEL_MS, &[9]), Err(NotPacked::UnknownFormat(9)));
        assert_eq!(unpack(LABEL_MS, &[]), Err(NotPacked::Damaged));
    }

    /// Chunks that were stored must be read by each later version.
    #[test]
    fn the_bytes_of_the_format_stay() {
        let counts = [
            count(2, 0, 60_000, &[("EUR", 300)]),
            count(9, 0, 60_000, &[("EUR", 1), ("USD", 2)]),
        ];
        let expected = [
            &[1, 2][..],
            b"EURUSD",
            &[1, 0, 0xe0, 0xd4, 3],
            &[2, 6, 1, 0xac, 2],
            &[7, 2, 0, 2, 0, 1, 1, 2],
        ];
        assert_eq!(packed(&counts), expected.concat());
    }
}
