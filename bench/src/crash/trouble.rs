//! The faults of a run, their times, and the time until there were results again.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use events::{Timestamp, WindowCount};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::company::{Company, signal};
use super::{Args, CrashError, restart};
use crate::counterparts::Server;

/// The time of the first fault; the job has certainly started by then.
const FIRST_AFTER: Duration = Duration::from_secs(8);
/// The pause between two faults: its minimum and its maximum.
const PAUSE_MS: std::ops::Range<u64> = 4_000..8_000;
/// The time for which a process is stopped, or the object store unavailable.
const AWAY: Duration = Duration::from_secs(3);
/// The time between the last fault and the end of the load.
const LAST_BEFORE: Duration = Duration::from_secs(8);

/// The kind of a fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A process of the job was killed.
    Killed(usize),
    /// A process of the job was stopped for a while, and continued.
    Slept(usize),
    /// The object store was unavailable for a while.
    StoreAway,
    /// The broker was killed and started again.
    BrokerKilled,
}

/// A fault, and the time at which it ended.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    kind: Kind,
    over: Timestamp,
}

/// Causes the faults.
pub struct Troubles<'a> {
    company: &'a Company,
    broker: &'a mut Server,
    folder: &'a Path,
    processes: usize,
    random: Xoshiro256PlusPlus,
    happened: Vec<Trouble>,
}

impl<'a> Troubles<'a> {
    /// Causes faults until the load is nearly over.
    ///
    /// # Errors
    /// [`CrashError`] if the broker does not come back, or a system call fails.
    pub fn make(
        args: &Args,
        company: &'a Company,
        broker: &'a mut Server,
        folder: &'a Path,
    ) -> Result<Vec<Trouble>, CrashError> {
        let random = Xoshiro256PlusPlus::seed_from_u64(args.seed);
        let mut troubles = Self {
            company,
            broker,
            folder,
            processes: args.processes.into(),
            random,
            happened: Vec::new(),
        };

        let begun = Instant::now();
        sleep(FIRST_AFTER);
        while begun.elapsed() + LAST_BEFORE < args.duration {
            troubles.next()?;
            sleep(Duration::from_millis(
                troubles.random.random_range(PAUSE_MS),
            ));
        }

        Ok(troubles.happened)
    }

    /// Mostly kills; every fourth fault is of another kind, in turn.
    fn next(&mut self) -> Result<(), CrashError> {
        let process = self.random.random_range(0..self.processes);
        let kind = match self.happened.len() % 12 {
            3 => Kind::StoreAway,
            7 => Kind::BrokerKilled,
            11 => Kind::Slept(process),
            _ => Kind::Killed(process),
        };
        println!("{} {kind:?}", Timestamp::now());

        match kind {
            Kind::Killed(process) => match self.company.child(process) {
                Some(pid) => signal(pid, libc::SIGKILL),
                None => return Ok(()),
            },
            Kind::Slept(process) => self.put_to_sleep(process),
            Kind::StoreAway => self.take_store_away()?,
            Kind::BrokerKilled => restart(self.broker)?,
        }

        self.happened.push(Trouble {
            kind,
            over: Timestamp::now(),
        });

        Ok(())
    }

    fn put_to_sleep(&self, process: usize) {
        let Some(pid) = self.company.child(process) else {
            return;
        };
        signal(pid, libc::SIGSTOP);
        sleep(AWAY);
        signal(pid, libc::SIGCONT);
    }

    /// Puts a file in the folder's place, so that nothing can be created, read or listed in it.
    fn take_store_away(&self) -> Result<(), CrashError> {
        let store = self.folder.join("checkpoints");
        let away = self.folder.join("checkpoints.away");
        fs::rename(&store, &away)?;
        fs::write(&store, "away")?;
        sleep(AWAY);
        fs::remove_file(&store)?;
        fs::rename(&away, &store)?;

        Ok(())
    }
}

/// Prints the faults, and the time from each one's end to the first result of a window that ended
/// after it.
pub fn report(troubles: &[Trouble], results: &[(WindowCount, u64)]) {
    let mut recoveries = Vec::new();
    for trouble in troubles {
        let over_ms = trouble.over.as_ms();
        let after = results
            .iter()
            .filter(|(count, _)| count.window_end.as_ms() > over_ms);
        let Some(first) = after.map(|(_, taken_ms)| *taken_ms).min() else {
            continue;
        };

        let seconds = Duration::from_millis(first.saturating_sub(over_ms)).as_secs_f64();
        println!(
            "{:<16} results again after {seconds:.2} s",
            format!("{:?}", trouble.kind)
        );

        if matches!(trouble.kind, Kind::Killed(_)) {
            recoveries.push(seconds);
        }
    }

    recoveries.sort_by(f64::total_cmp);
    print!(
        "{} troubles survived, {} of them kills of a process",
        troubles.len(),
        recoveries.len()
    );

    match (recoveries.get(recoveries.len() / 2), recoveries.last()) {
        (Some(median), Some(longest)) => println!(
            "; from a kill to the first result of a window that ended after it: median {median:.2} s, at most {longest:.2} s"
        ),
        _ => println!(),
    }
}
