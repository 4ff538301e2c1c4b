//! A model of merged hours: the chunks that the service writes once more when an hour is over
//! (`services/analytics/src/store/hours.rs`).

/// Rows of a chunk of a merged hour, at least and on average: the level follows from it.
const FEWEST_ROWS: f64 = 48.0;
/// Bytes of a row. A usual one takes 7 to 9.
const ROW_BYTES: f64 = 9.0;
/// Bytes of a chunk's keys, names and numbers.
const CHUNK_BYTES: f64 = 100.0;
const WRITE_UNIT_BYTES: f64 = 1_024.0;

/// The rows of an hour, and its chunks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hour {
    rows: f64,
    chunks: f64,
}

impl Hour {
    /// Returns an hour with this number of rows.
    pub(super) fn of(rows: f64) -> Self {
        let mut chunks = 1.0;
        while rows / (chunks * 4.0) >= FEWEST_ROWS {
            chunks *= 4.0;
        }
        Self { rows, chunks }
    }

    /// Returns the bytes that are read for the rows of one user.
    pub(super) fn bytes_by_user(&self) -> f64 {
        self.rows / self.chunks * ROW_BYTES + CHUNK_BYTES
    }

    /// Returns the units of writing the hour.
    pub(super) fn write_units(&self) -> f64 {
        self.chunks * (self.bytes_by_user() / WRITE_UNIT_BYTES).ceil()
    }
}

#[cfg(test)]
mod tests {
    use super::Hour;

    #[test]
    fn a_chunk_of_an_hour_has_48_to_192_rows_and_takes_a_unit_or_two() {
        for rows in [48.0, 1e3, 1e5, 6e6, 6e7] {
            let hour = Hour::of(rows);
            assert!(
                (48.0..192.0).contains(&(hour.rows / hour.chunks)),
                "{hour:?}"
            );
            let units = hour.write_units() / hour.chunks;
            assert!((1.0..=2.0).contains(&units), "{units}");
        }

        let hour = Hour::of(6e6);
        assert_eq!([hour.chunks, hour.write_units()], [65_536.0, 65_536.0]);
        assert_eq!(hour.bytes_by_user().round(), 924.0);
    }
}
