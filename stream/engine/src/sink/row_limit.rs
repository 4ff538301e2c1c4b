//! The limit for the rows of a transaction, which follows the number that the log takes within a transaction's time limit.
//!
//! Brokers abort a transaction at its time limit, and the same rows would take as long again. So the limit is halved
//! after a failure. It grows by an eighth with each success: a limit that doubled would exceed the time limit again with
//! every second transaction.

/// The limit for the rows of a transaction.
#[derive(Clone, Copy, Debug)]
pub struct RowLimit {
    most: usize,
    now: usize,
}

/// The part of the limit, one in this many, by which a success raises it.
const GROWTH: usize = 8;

impl RowLimit {
    /// Begins with the greatest limit.
    pub fn of(most: usize) -> Self {
        Self { most, now: most }
    }

    /// The limit for the next transaction.
    pub fn now(&self) -> usize {
        self.now
    }

    /// Halves the limit after a failure.
    pub fn shorten(&mut self) {
        self.now = (self.now / 2).max(1);
    }

    /// Raises the limit after a success.
    pub fn lengthen(&mut self) {
        let more = (self.now / GROWTH).max(1);
        self.now = self.now.saturating_add(more).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_log_takes_four_rows_for_each_that_is_sent_in_vain() {
        for fits in [1, 2, 10, 999, 40_000] {
            let mut limit = RowLimit::of(250_000);
            while limit.now() > fits {
                limit.shorten();
            }

            let mut taken = 0;
            let mut in_vain = 0;
            while taken < 100 * fits {
                if limit.now() <= fits {
                    taken += limit.now();
                    limit.lengthen();
                } else {
                    in_vain += fits;
                    limit.shorten();
                }
            }

            let share = if fits < GROWTH { 1 } else { 4 };
            assert!(in_vain * share <= taken, "{fits}: {in_vain} for {taken}");
        }
    }

    #[test]
    fn it_returns_to_its_greatest_value_and_never_exceeds_it_or_ends() {
        for most in [1, 2, 7, 250_000] {
            let mut limit = RowLimit::of(most);
            (0..200).for_each(|_| limit.shorten());
            assert_eq!(limit.now(), 1);

            (0..110).for_each(|_| limit.lengthen());
            assert_eq!(limit.now(), most);
        }
    }
}
