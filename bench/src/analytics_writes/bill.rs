//! The cost of the layouts in a month: a model that multiplies measured units with prices.

use super::chunks::Written;
use super::layouts::Sizes;
use super::merged::Hour;

const MINUTES_OF_A_MONTH: f64 = 730.0 * 60.0;
const HOURS_OF_A_MONTH: f64 = 730.0;
const MILLION: f64 = 1e6;
const GB: f64 = 1e9;
/// Bytes of a read unit, of reads that need not be consistent.
const READ_UNIT_BYTES: f64 = 8_192.0;
/// Bytes of a read unit of the merging, whose reads are consistent.
const CONSISTENT_READ_UNIT_BYTES: f64 = 4_096.0;

/// Prices in USD. The defaults are remembered prices of Frankfurt; look up the current ones before
/// deciding.
#[derive(Debug, clap::Args)]
pub(super) struct Prices {
    /// USD for a million write units of DynamoDB, on demand.
    #[arg(long, default_value_t = 0.7625)]
    write_units_price: f64,
    /// USD for a million read units of DynamoDB, on demand.
    #[arg(long, default_value_t = 0.1525)]
    read_units_price: f64,
    /// USD for a thousand objects that are written.
    #[arg(long, default_value_t = 0.0054)]
    puts_price: f64,
    /// USD for a GB of objects, for a month.
    #[arg(long, default_value_t = 0.0245)]
    objects_price: f64,
}

/// A layout's writes in a month.
struct Line {
    layout: String,
    units: f64,
    usd: f64,
    /// The age of the newest count of a user.
    newest_after: &'static str,
}

/// Prints the cost of a month with this number of users in each minute, by layout.
pub(super) fn print(sizes: &Sizes, written: &[Written], users: u64, prices: &Prices) {
    println!(
        "a row by itself: {} units in the table, {} in its index; an hour of a user: {} units minute by minute, {} at once; \
         a row in an object: {:.1} bytes",
        sizes.row.table,
        sizes.row.indexes,
        sizes.hour_by_minute,
        sizes.hour_at_once,
        sizes.object_row_bytes
    );

    println!("a month of {users} users in each minute:");
    println!("{:<46} {:>14} {:>10}  newest", "", "million units", "USD");
    for line in lines(sizes, written, users, prices) {
        println!(
            "{:<46} {:>14.2} {:>10.2}  {}",
            line.layout,
            line.units / MILLION,
            line.usd,
            line.newest_after
        );
    }

    #[allow(clippy::cast_precision_loss, reason = "users are fewer than 2^52")]
    let users = users as f64;
    let reading = |bytes: f64| {
        let units = bytes / READ_UNIT_BYTES;
        let usd = units / MILLION * prices.read_units_price;
        format!(
            "{:.1} MB, {units:.0} read units, {usd:.5} USD",
            bytes / MILLION
        )
    };
    for written in written {
        let bytes = written.bytes.of_user * MINUTES_OF_A_MONTH;
        println!(
            "reading the month of one user, chunks of {} replicas: {}",
            written.replicas,
            reading(bytes)
        );
    }

    let hour = Hour::of(users * 60.0);
    println!(
        "reading it from merged hours: {}",
        reading(hour.bytes_by_user() * HOURS_OF_A_MONTH)
    );
    for written in written {
        print_merging(&hour, written, users, prices);
    }
}

/// Prints the cost of merging the hours of a month.
fn print_merging(hour: &Hour, written: &Written, users: f64, prices: &Prices) {
    #[allow(clippy::cast_precision_loss, reason = "rows are fewer than 2^52")]
    let windows = users / written.rows as f64 * MINUTES_OF_A_MONTH;
    let reads = written.bytes.of_all * windows / CONSISTENT_READ_UNIT_BYTES;
    let writes = hour.write_units() * HOURS_OF_A_MONTH;
    let usd = (reads * prices.read_units_price + writes * prices.write_units_price) / MILLION;
    println!(
        "merging the hours of {} replicas' chunks: {:.1} million read units, {:.1} million write units, {usd:.2} USD",
        written.replicas,
        reads / MILLION,
        writes / MILLION
    );
}

fn lines(sizes: &Sizes, written: &[Written], users: u64, prices: &Prices) -> Vec<Line> {
    #[allow(clippy::cast_precision_loss, reason = "users are fewer than 2^52")]
    let users = users as f64;
    let rows = users * MINUTES_OF_A_MONTH;
    let hours = users * HOURS_OF_A_MONTH;
    let in_units = |layout: &str, units, newest_after| Line {
        layout: layout.to_owned(),
        units,
        usd: units / MILLION * prices.write_units_price,
        newest_after,
    };

    let stored_gb = rows * sizes.object_row_bytes / GB;
    let objects_usd =
        MINUTES_OF_A_MONTH / 1_000.0 * prices.puts_price + stored_gb * prices.objects_price;
    let mut lines = vec![
        in_units(
            "a row by user and window, and an index",
            rows * (sizes.row.table + sizes.row.indexes),
            "at once",
        ),
        in_units(
            "a row by user and window, no index",
            rows * sizes.row.table,
            "at once",
        ),
        in_units(
            "an item by user and hour, minute by minute",
            hours * sizes.hour_by_minute,
            "at once",
        ),
        in_units(
            "an item by user and hour, at once",
            hours * sizes.hour_at_once,
            "an hour later",
        ),
        Line {
            layout: "an object by window".to_owned(),
            units: 0.0,
            usd: objects_usd,
            newest_after: "at once",
        },
    ];
    for written in written {
        #[allow(clippy::cast_precision_loss, reason = "rows are fewer than 2^52")]
        let units = rows * written.units / written.rows as f64;
        let layout = format!("chunks by bucket and minute, {} replicas", written.replicas);
        lines.push(in_units(&layout, units, "at once"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::tables::Units;
    use super::*;

    #[test]
    fn a_month_has_43_800_minutes_and_a_price_for_each_write() {
        let sizes = Sizes {
            row: Units {
                table: 1.0,
                indexes: 1.0,
            },
            hour_by_minute: 75.0,
            hour_at_once: 2.0,
            object_row_bytes: 10.0,
        };
        let prices = Prices {
            write_units_price: 0.5,
            read_units_price: 0.1,
            puts_price: 1.0,
            objects_price: 0.1,
        };

        let chunks = Written {
            replicas: 2,
            rows: 500,
            units: 10.0,
            bytes: super::super::chunks::Bytes::default(),
        };
        let rounded = |line: &Line| (line.units.round(), (line.usd * 100.0).round() / 100.0);
        let month: Vec<_> = lines(&sizes, &[chunks], 1_000, &prices)
            .iter()
            .map(rounded)
            .collect();
        let expected = [
            (87_600_000.0, 43.8),
            (43_800_000.0, 21.9),
            (54_750_000.0, 27.38),
            (1_460_000.0, 0.73),
            (0.0, 43.84),
            (876_000.0, 0.44),
        ];
        assert_eq!(month, expected);
    }
}
