//! A drawn schedule: publishers are killed, replaced and go on as zombies, and a reader reads, while brokers and
//! network fail.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::attempt::{Attempt, Seen, Told};
use super::baton::Baton;
use super::event::Fault;
use super::kafka::{Kafka, PORT, ROW_PARTITIONS, ROWS, ROWS_AT};
use super::oracle;
use crate::native::NativeLog;
use crate::native::api::Code;
use crate::native::cluster::lock;
use crate::native::publisher::{Patience, identities};
use crate::runtime::{Bell, Runtime};
use crate::{Delivery, LogError, NewRecord, Offset, PublishError, Publisher, Reader, RecordLog};

/// The number of transactions of each publication, while there are faults.
const TRANSACTIONS: u64 = 8;
/// The length of a large row: two of them do not fit into a batch.
const LARGE: usize = 150_000;
/// The time without faults after which no request is in flight, and open transactions are aborted.
const SETTLED: Duration = Duration::from_secs(10);
/// The age at which the brokers abort a transaction.
const TIMEOUT: Duration = Duration::from_secs(4);

/// The events of a schedule.
#[derive(Default)]
pub(super) struct Happened {
    pub told: Vec<Told>,
    pub faults: Vec<(i16, Fault)>,
    pub troubles: u64,
    pub requests: u64,
    pub lasted_us: u64,
    pub trace: u64,
}

#[derive(Clone)]
struct Schedule {
    baton: Baton,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    /// The number of unfinished publications.
    busy: Arc<Mutex<usize>>,
    patience: Patience,
    /// The time for which a Fetch waits at a broker.
    wait: Duration,
}

/// Runs a schedule, and compares the logs with the outcomes that the publishers reported.
pub(super) fn schedule(seed: u64) -> Happened {
    let baton = Baton::new(seed, |machine| {
        let is_second_protocol = machine.is_one_in(2);
        let mut kafka = Kafka::new(is_second_protocol, machine);
        kafka.links.one_in = [0, 4, 8, 30][machine.draw(4) as usize];
        kafka.is_troubled = machine.is_one_in(2);
        kafka.throttled_one_in = [0, 0, 10][machine.draw(3) as usize];
        kafka
    });

    let publications = 1 + baton.draw(2) as usize;
    let schedule = Schedule {
        patience: patience(&baton),
        wait: Duration::from_millis([20, 200, 1_000][baton.draw(3) as usize]),
        baton: baton.clone(),
        attempts: Arc::default(),
        busy: Arc::new(Mutex::new(publications)),
    };
    let seen: Arc<Mutex<Seen>> = Arc::default();

    for publication in 0..publications {
        let schedule = schedule.clone();
        baton.begin(move || schedule.publish(&format!("publication-{publication}")));
    }
    let reading = schedule.clone();
    let into = Arc::clone(&seen);
    baton.begin(move || reading.read(&into));
    baton.join();
    baton.sleep(SETTLED);

    let run = baton.run();
    let attempts = lock(&schedule.attempts);
    oracle::compare(&run.kafka, &attempts, TRANSACTIONS + 1, &lock(&seen));
    Happened {
        told: attempts.iter().map(|attempt| attempt.told).collect(),
        faults: run.kafka.links.met.clone(),
        troubles: run.kafka.troubles,
        requests: run.machine.requests,
        lasted_us: run.machine.now_us(),
        trace: run.machine.trace,
    }
}

fn patience(baton: &Baton) -> Patience {
    let request = Duration::from_millis(300 + baton.draw(2_000));
    let call = match baton.draw(3) {
        0 => request + Duration::from_millis(50),
        _ => request * 8,
    };
    Patience { request, call }
}

impl Schedule {
    /// Returns the log of another process.
    fn process(&self) -> NativeLog {
        let brokers = format!("broker-0:{PORT},broker-1:{PORT},broker-2:{PORT}");
        let runtime: Arc<dyn Runtime> = Arc::new(self.baton.clone());
        let mut log = NativeLog::within(
            runtime,
            Box::new(self.baton.clone()),
            &brokers,
            self.patience,
        );
        log.transaction_timeout = TIMEOUT;
        log.fetching.wait = self.wait;
        log
    }

    /// Publishes all transactions of an id with as many publishers as it takes, and one more transaction after the
    /// faults have ended.
    fn publish(&self, id: &str) {
        let mut log = Arc::new(self.process());
        let mut committed = 0;
        while committed < TRANSACTIONS {
            if self.baton.is_one_in(3) {
                log = Arc::new(self.process());
            }
            committed = self.live(&log, id, committed);
        }

        self.calm_down();
        let mut publisher = self.open(&log, id, committed);
        loop {
            let attempt = self.begin(id, TRANSACTIONS + 1);
            match self.transact(&mut *publisher, attempt) {
                Told::Committed => return,
                // It had to abort the transaction of a zombie.
                Told::Not => {}
                told => panic!("{id} was told {told:?} without faults"),
            }
        }
    }

    /// Runs one publisher. Returns the number of transactions that are committed when its successor is opened.
    fn live(&self, log: &Arc<NativeLog>, id: &str, committed: u64) -> u64 {
        let mut publisher = self.open(log, id, committed);
        let progress = publisher.progress().map_or(0, oracle::number_of);
        let mut committed = progress;
        while committed < TRANSACTIONS {
            let attempt = self.begin(id, committed + 1);
            match self.baton.draw(12) {
                0 => {
                    self.send_some(&mut *publisher, attempt);
                    return committed;
                }
                1 => {
                    let zombie = self.clone();
                    let log = Arc::clone(log);
                    self.baton.begin(move || {
                        zombie.transact(&mut *publisher, attempt);
                        drop(log);
                    });
                    return committed;
                }
                _ => {}
            }
            match self.transact(&mut *publisher, attempt) {
                Told::Committed => committed += 1,
                Told::Not => {}
                _ => return committed,
            }
        }
        committed
    }

    /// Opens a publisher. Checks that its progress is that of the known commits, or one more, which was in doubt.
    fn open(&self, log: &NativeLog, id: &str, committed: u64) -> Box<dyn Publisher> {
        let publisher = loop {
            match identities::opening(|| log.publisher(id, Delivery::Transactional)) {
                Ok(publisher) => break publisher,
                Err(error) => assert!(error.is_transient(), "{id}: {error}"),
            }
        };

        let progress = publisher.progress().map_or(0, oracle::number_of);
        let may_be_more = lock(&self.attempts).iter().any(|attempt| {
            let is_open = matches!(
                attempt.told,
                Told::InDoubt | Told::Nothing | Told::Committed
            );
            attempt.id == id && attempt.number == committed + 1 && is_open
        });
        let is_right = progress == committed || progress == committed + 1 && may_be_more;
        assert!(is_right, "{id}: progress {progress} after {committed}");
        publisher
    }

    /// Draws the rows of a transaction.
    fn begin(&self, id: &str, number: u64) -> usize {
        let mut attempts = lock(&self.attempts);
        let attempt = attempts.len();
        let count = 1 + self.baton.draw(6);
        let is_large = self.baton.is_one_in(5);
        let row = |row: u64| {
            let partition = self.baton.draw(ROW_PARTITIONS as u64) as u32;
            let filler = "x".repeat(if is_large { LARGE } else { 0 });
            (partition, format!("{attempt} {row} {filler}"))
        };
        attempts.push(Attempt {
            id: id.to_owned(),
            number,
            rows: (0..count).map(row).collect(),
            told: Told::Nothing,
        });
        attempt
    }

    fn rows(&self, attempt: usize) -> Vec<(u32, String)> {
        lock(&self.attempts)[attempt].rows.clone()
    }

    /// Sends some rows of a transaction whose publisher is then killed.
    fn send_some(&self, publisher: &mut dyn Publisher, attempt: usize) {
        let rows = self.rows(attempt);
        let some = self.baton.draw(1 + rows.len() as u64) as usize;
        // Errors are ignored, because the publisher is killed.
        let _ = send(publisher, &rows[..some]);
        lock(&self.attempts)[attempt].told = Told::Killed;
    }

    fn transact(&self, publisher: &mut dyn Publisher, attempt: usize) -> Told {
        let number = lock(&self.attempts)[attempt].number;
        let progress = format!("{number} {attempt}");
        let sent = send(publisher, &self.rows(attempt))
            .and_then(|()| publisher.commit(progress.as_bytes()));
        let told = match sent {
            Ok(()) => Told::Committed,
            Err(PublishError::NotPublished(cause)) => {
                let passed = Code::OUT_OF_ORDER_SEQUENCE_NUMBER.to_string();
                assert!(
                    !cause.to_string().contains(&passed),
                    "attempt {attempt}: {cause}"
                );
                Told::Not
            }
            Err(PublishError::MayHaveHappened(_)) => Told::InDoubt,
            Err(PublishError::Fenced { .. }) => Told::Fenced,
            Err(error @ PublishError::Refused(_)) => panic!("attempt {attempt}: {error}"),
        };
        lock(&self.attempts)[attempt].told = told;
        told
    }

    /// Ends the faults, once all publications have reached this point.
    fn calm_down(&self) {
        *lock(&self.busy) -= 1;
        while !self.is_calm() {
            self.baton.sleep(Duration::from_millis(100));
        }

        {
            let mut run = self.baton.run();
            run.kafka.links.one_in = 0;
            run.kafka.is_troubled = false;
            run.kafka.throttled_one_in = 0;
        }
        self.baton.sleep(SETTLED);
    }

    fn is_calm(&self) -> bool {
        *lock(&self.busy) == 0
    }

    /// Reads the rows to the end, with one reader after the other.
    fn read(&self, seen: &Mutex<Seen>) {
        let log = self.process();
        let readable = self.baton.bell();
        let mut next: Vec<(u32, Offset)> = (0..ROW_PARTITIONS as u32)
            .map(|partition| (partition, 0))
            .collect();

        loop {
            let mut reader = self.open_reader(&log, &next, &readable);
            // Without faults one reader reads to the end.
            while self.is_calm() || !self.baton.is_one_in(40) {
                let heard = readable.rings();
                for (partition, next) in &mut next {
                    self.poll(&mut *reader, *partition, next, seen);
                }
                if self.is_all_read(&next) {
                    return;
                }
                readable.wait(heard, Some(Duration::from_secs(1)));
            }
        }
    }

    fn open_reader(
        &self,
        log: &NativeLog,
        next: &[(u32, Offset)],
        readable: &Arc<dyn Bell>,
    ) -> Box<dyn Reader> {
        let mut reader = loop {
            match log.reader(ROWS, next) {
                Ok(reader) => break reader,
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        };
        let ringing = Arc::clone(readable);
        reader.on_readable(Arc::new(move || ringing.ring()));
        reader
    }

    fn poll(&self, reader: &mut dyn Reader, partition: u32, next: &mut Offset, seen: &Mutex<Seen>) {
        let most = 1 + self.baton.draw(20) as usize;
        let polled = reader.poll(partition, most, &mut |record| {
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            let mut seen = lock(seen);
            let of_partition = seen.entry(partition).or_default();
            of_partition.push((record.offset, value));
        });
        match polled {
            Ok(polled) => *next = polled.next_offset,
            Err(LogError::Unavailable(_)) => {}
            Err(error) => panic!("partition {partition} from {next}: {error}"),
        }
    }

    /// Returns `true` if the publications are over, and the reader is at the end of all partitions.
    fn is_all_read(&self, next: &[(u32, Offset)]) -> bool {
        let attempts = lock(&self.attempts);
        let mut last = attempts
            .iter()
            .filter(|attempt| attempt.number > TRANSACTIONS);
        let committed = last
            .clone()
            .filter(|attempt| attempt.told == Told::Committed);
        let ids = attempts.iter().map(|attempt| &attempt.id);
        let ids: std::collections::BTreeSet<&String> = ids.collect();
        if last.next().is_none() || committed.count() < ids.len() {
            return false;
        }

        let run = self.baton.run();
        let rows = &run.kafka.topics[ROWS_AT];
        next.iter().all(|(partition, next)| {
            let partition = &rows.partitions[*partition as usize];
            partition.end() == next.cast_signed()
        })
    }
}

fn send(publisher: &mut dyn Publisher, rows: &[(u32, String)]) -> Result<(), PublishError> {
    for (partition, value) in rows {
        publisher.send(NewRecord {
            topic: ROWS,
            partition: Some(*partition),
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        })?;
    }
    Ok(())
}
