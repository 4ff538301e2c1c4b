//! The job that is compared with the recount, and how its records are written and read.

use record_log::Record;
use stream::{Count, Job, Output, Pipeline, Rejected, Sourced, Windows};

/// Returns whether a filtered job skips rows with this count.
pub fn is_skipped(count: u64) -> bool {
    count.is_multiple_of(3)
}

/// Orders keys by their counts: the greatest first, then the least key.
fn rank((key, count): (&u64, &Count), (other, than): (&u64, &Count)) -> std::cmp::Ordering {
    (std::cmp::Reverse(count), key).cmp(&(std::cmp::Reverse(than), other))
}

/// Defines a job that counts by key, totals each window with its first three keys, and publishes the
/// first two keys of each window that have more than one event. It reads one topic or two.
pub fn pipeline(windows: Windows, is_filtered: bool, has_two_topics: bool) -> Pipeline<u64, Count> {
    let mut source = Job::new("counts").source("events", identified);
    if has_two_topics {
        source = source.and(Sourced::of("more-events", identified));
    }

    source
        .identified_by(|(_, id)| id.map(Into::into))
        .window(windows)
        .aggregate(|(key, _): (u64, Option<u64>)| [(key, Count(1))])
        .sink("counts", move |row, output| {
            output.key.extend(row.key.to_string().bytes());
            if is_filtered {
                let revision = row.revision.to_string().into_bytes();
                output.key.extend(format!(" {}", row.window_start).bytes());
                output.headers.push(("revision".to_owned(), revision));
            }
            if is_filtered && is_skipped(row.aggregate.0) {
                output.skip();
            }
            write(
                &[
                    row.window_start,
                    row.key,
                    row.revision.into(),
                    row.aggregate.0,
                ],
                output,
            );
        })
        .summarize("totals", 3, rank, |totals, output| {
            let mut numbers = vec![
                totals.window_start,
                totals.revision().into(),
                totals.keys,
                totals.aggregate.0,
            ];
            numbers.extend(totals.top.iter().flat_map(|(key, count)| [*key, count.0]));
            write(&numbers, output);
        })
        .top("tops", 2, rank, |ranked, output| {
            let place = format!("{} {}", ranked.window_start, ranked.rank);
            output.key.extend(place.bytes());
            if ranked.aggregate.0 < 2 {
                output.skip();
            }

            let Count(count) = ranked.aggregate;
            let [rank, revision] = [ranked.rank, ranked.revision].map(u64::from);
            let numbers = [ranked.window_start, rank, revision, ranked.key, count];
            write(&numbers, output);
        })
}

/// Decodes a record into its event time, its key, and the event's id if it has one.
pub fn identified(record: &Record<'_>) -> Result<(u64, (u64, Option<u64>)), Rejected> {
    let (time, key) = decode(record)?;
    Ok((time, (key, record.value.and_then(parse_id))))
}

/// Decodes a record into its event time and its key.
pub fn decode(record: &Record<'_>) -> Result<(u64, u64), Rejected> {
    parse(record.value.unwrap_or_default())
        .ok_or_else(|| Rejected::because("two numbers are expected"))
}

/// Writes numbers as a record's value.
pub fn write(numbers: &[u64], output: &mut Output) {
    let text: Vec<String> = numbers.iter().map(u64::to_string).collect();
    output.value.extend(text.join(" ").bytes());
}

pub fn parse(value: &[u8]) -> Option<(u64, u64)> {
    let mut numbers = std::str::from_utf8(value).ok()?.split(' ');
    let key = numbers.next()?.parse().ok()?;
    let time = numbers.next()?.parse().ok()?;
    Some((time, key))
}

pub fn parse_id(value: &[u8]) -> Option<u64> {
    let id = std::str::from_utf8(value).ok()?.split(' ').nth(2)?;
    id.parse().ok()
}
