//! The report on the schedules of one client: faults, outcomes, and transactions that are not there once and whole.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use stream_cli::Client;

use super::TornError;
use super::fate::Fate;
use super::faults::Ends;
use super::frame::{ADD_PARTITIONS, END_TXN, INIT_PRODUCER_ID, PRODUCE};
use super::reader::Read;
use super::rows::Wrong;
use super::schedule::{Counts, Outcome};

/// The number of wrong schedules whose faults are printed.
const SHOWN: usize = 5;

pub struct Report {
    client: Client,
    transaction_version: u8,
    elapsed: Duration,
    outcomes: Vec<Outcome>,
    read: Read,
}

/// A schedule that is wrong.
struct Failure<'a> {
    outcome: &'a Outcome,
    wrong: Vec<Wrong>,
}

impl Report {
    pub fn new(
        client: Client,
        transaction_version: u8,
        elapsed: Duration,
        outcomes: Vec<Outcome>,
        read: Read,
    ) -> Self {
        Self {
            client,
            transaction_version,
            elapsed,
            outcomes,
            read,
        }
    }

    /// Decides over the run.
    ///
    /// # Errors
    /// [`TornError::Wrong`] if the client is the native one and failed; [`TornError::NothingShown`] if no end that was
    /// held back arrived in a later transaction.
    pub fn verdict(&self) -> Result<(), TornError> {
        if self.ends().values().sum::<u64>() == 0 {
            return Err(TornError::NothingShown(self.client.name()));
        }

        let failures = self.failures().len() + self.read.open.len();
        if self.client == Client::Native && failures > 0 {
            return Err(TornError::Wrong(failures));
        }
        Ok(())
    }

    /// Returns the schedules that were given up, refused, out of order or fenced by themselves, or have wrong transactions.
    fn failures(&self) -> Vec<Failure<'_>> {
        let failures = self.outcomes.iter().map(|outcome| Failure {
            outcome,
            wrong: self
                .read
                .books
                .wrong(outcome.schedule, outcome.counts.committed),
        });
        let is_failure = |failure: &Failure<'_>| {
            let Outcome {
                given_up,
                counts,
                fencing,
                ..
            } = failure.outcome;
            let is_against_rules = counts.refused > 0 || counts.out_of_order > 0 || *fencing > 0;
            given_up.is_some() || is_against_rules || !failure.wrong.is_empty()
        };
        failures.filter(is_failure).collect()
    }

    fn sum(&self, count: impl Fn(&Counts) -> u64) -> u64 {
        self.outcomes
            .iter()
            .map(|outcome| count(&outcome.counts))
            .sum()
    }

    /// Returns the answers to ends that arrived in a later transaction, by error code.
    fn ends(&self) -> BTreeMap<i16, u64> {
        let mut by_code = BTreeMap::new();
        for (code, count) in self
            .outcomes
            .iter()
            .flat_map(|outcome| &outcome.ends.by_code)
        {
            *by_code.entry(*code).or_default() += count;
        }
        by_code
    }

    /// Returns the number of faults by request and kind.
    fn faults(&self) -> BTreeMap<(&'static str, &'static str), usize> {
        let mut counts = BTreeMap::new();
        for (key, _, fate) in self.outcomes.iter().flat_map(|outcome| &outcome.met) {
            *counts.entry((request(*key), kind(*fate))).or_default() += 1;
        }
        counts
    }

    fn write_ends(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = self.ends();
        let sum = |count: fn(&Ends) -> u64| -> u64 {
            self.outcomes
                .iter()
                .map(|outcome| count(&outcome.ends))
                .sum()
        };
        let carried_out = ends.get(&0).copied().unwrap_or(0);
        writeln!(
            formatter,
            "ends held back into a later transaction: {carried_out} accepted, {} refused {ends:?}, {} unanswered; \
             {} arrived after all",
            ends.values().sum::<u64>() - carried_out,
            sum(|ends| ends.unanswered),
            sum(|ends| ends.after_all),
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failures = self.failures();
        let with = |is_so: fn(&Wrong) -> bool| {
            let wrong = failures
                .iter()
                .filter(|failure| failure.wrong.iter().any(is_so));
            wrong.count()
        };
        let unfinished = failures
            .iter()
            .filter(|failure| failure.outcome.given_up.is_some());

        writeln!(
            formatter,
            "client {}, transaction.version {}: {} schedules in {} s, {} transactions, {} rows read",
            self.client.name(),
            self.transaction_version,
            self.outcomes.len(),
            self.elapsed.as_secs(),
            self.sum(|counts| counts.committed),
            self.read.books.len(),
        )?;
        writeln!(
            formatter,
            "schedules with a transaction that is lost {}, doubled {}, torn {}; given up {}; transactions left open {}",
            with(|wrong| wrong.is_lost),
            with(|wrong| wrong.is_doubled),
            with(|wrong| wrong.is_torn),
            unfinished.count(),
            self.read.open.len(),
        )?;
        writeln!(
            formatter,
            "commits: not published {} (out of order {}), in doubt {}, fenced {}, refused {}",
            self.sum(|counts| counts.not_published),
            self.sum(|counts| counts.out_of_order),
            self.sum(|counts| counts.in_doubt),
            self.sum(|counts| counts.fenced),
            self.sum(|counts| counts.refused),
        )?;
        let fencing = self.outcomes.iter().map(|outcome| outcome.fencing);
        writeln!(
            formatter,
            "requests of open publishers that fence their own id: {}",
            fencing.sum::<u64>()
        )?;

        self.write_ends(formatter)?;
        for ((request, kind), count) in self.faults() {
            writeln!(formatter, "  {request} {kind}: {count}")?;
        }
        for open in &self.read.open {
            writeln!(formatter, "left open: {open}")?;
        }
        failures
            .iter()
            .take(SHOWN)
            .try_for_each(|failure| failure.fmt(formatter))
    }
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome {
            schedule,
            counts,
            met,
            fencing,
            given_up,
            ..
        } = self.outcome;
        writeln!(
            formatter,
            "schedule {schedule}: {given_up:?}, {counts:?}, {fencing} requests that fence"
        )?;
        for wrong in &self.wrong {
            writeln!(formatter, "  {wrong:?}")?;
        }
        for (key, number, fate) in met {
            writeln!(formatter, "  {} {number}: {fate:?}", request(*key))?;
        }
        Ok(())
    }
}

fn request(key: i16) -> &'static str {
    match key {
        PRODUCE => "Produce",
        ADD_PARTITIONS => "AddPartitionsToTxn",
        END_TXN => "EndTxn",
        INIT_PRODUCER_ID => "InitProducerId",
        _ => "another request",
    }
}

fn kind(fate: Fate) -> &'static str {
    match fate {
        Fate::Passes => "passes",
        Fate::Delayed(_) => "delayed",
        Fate::AnsweredLate(_) => "answered late",
        Fate::Lost => "lost",
        Fate::Unanswered(_) => "unanswered",
        Fate::Late(..) => "late",
        Fate::Held(_) => "held back",
    }
}
