//! Damaged bytes in a broker's log: the native client stops at them, and goes on behind them when its caller sets them
//! aside. Every record that can be read is read, also where the marker of an aborted transaction is damaged.

use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use record_log::{LogError, Offset, Reader, RecordLog, SetAside};

use crate::broker::{Broker, Client, NEWEST, create_when_ready};
use crate::leaders::await_until;

const TOPIC: &str = "damaged";
const PATIENCE: Duration = Duration::from_secs(90);

/// A batch in a file of the log.
struct Stored {
    at_byte: u64,
    offsets: Range<Offset>,
}

fn file(broker: &Broker) -> PathBuf {
    let folder = broker.folder.path().join("log").join(format!("{TOPIC}-0"));
    folder.join("00000000000000000000.log")
}

/// Returns the batches in the topic's only file.
fn stored(broker: &Broker) -> Vec<Stored> {
    let bytes = std::fs::read(file(broker)).unwrap();
    let mut batches = Vec::new();
    let mut at = 0;
    while at + 61 <= bytes.len() {
        let number = |place: usize| {
            let field = bytes[at + place..at + place + 4].try_into().unwrap();
            u64::from(u32::from_be_bytes(field))
        };
        let first = number(4);
        batches.push(Stored {
            at_byte: at as u64,
            offsets: first..first + number(23) + 1,
        });
        at += 12 + usize::try_from(number(8)).unwrap();
    }
    batches
}

/// Flips a bit behind the header's checksum of the batch that contains an offset, while the broker is down. Returns the
/// batch's offsets.
fn damage(broker: &mut Broker, offset: Offset) -> Range<Offset> {
    broker.stop();
    let batches = stored(broker);
    let batch = batches.iter().find(|batch| batch.offsets.contains(&offset));
    let batch = batch.unwrap();

    let mut options = OpenOptions::new();
    let log = options.read(true).write(true).open(file(broker)).unwrap();
    let mut byte = [0];
    // The number of records, which no broker looks at.
    log.read_exact_at(&mut byte, batch.at_byte + 60).unwrap();
    byte[0] ^= 4;
    log.write_all_at(&byte, batch.at_byte + 60).unwrap();

    broker.spawn();
    broker.await_listener();
    batch.offsets.clone()
}

fn producer(broker: &Broker, id: &str) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("transactional.id", id)
        .set("linger.ms", "1000")
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

/// Publishes the numbers in one transaction, which is one batch and a marker.
fn publish(producer: &BaseProducer, numbers: Range<u64>, is_committed: bool) {
    producer.begin_transaction().unwrap();
    for number in numbers {
        let value = number.to_string();
        let record = BaseRecord::<(), _>::to(TOPIC).partition(0).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    match is_committed {
        true => producer.commit_transaction(PATIENCE).unwrap(),
        false => producer.abort_transaction(PATIENCE).unwrap(),
    }
}

/// Reads until `count` records have come or a batch cannot be read.
fn read(reader: &mut dyn Reader, count: usize) -> (Vec<u64>, Option<LogError>) {
    let mut numbers = Vec::new();
    let mut damage = None;
    await_until(
        || {
            let polled = reader.poll(0, count - numbers.len(), &mut |record| {
                let value = std::str::from_utf8(record.value.unwrap()).unwrap();
                numbers.push(value.parse().unwrap());
            });
            damage = polled.err().filter(|error| !error.is_transient());
            damage.is_some() || numbers.len() == count
        },
        || format!("{count} records"),
    );
    (numbers, damage)
}

/// Sets damage aside that must be at these offsets.
fn set_aside(reader: &mut dyn Reader, error: Option<LogError>, offsets: &Range<Offset>) {
    let error = error.unwrap();
    let LogError::Unreadable {
        topic,
        partition,
        offset,
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((&**topic, *partition, *offset), (TOPIC, 0, offsets.start));
    let sentence = error.to_string();
    for named in [TOPIC, "partition 0", "checksum", "--unreadable-batches"] {
        assert!(sentence.contains(named), "{named} in {sentence}");
    }

    let SetAside { offsets: aside, .. } = reader.set_aside(0).unwrap();
    assert_eq!(&aside, offsets);
}

#[test]
fn all_records_around_damage_are_read_and_nothing_else_is_set_aside() {
    let Some(mut broker) = Broker::open(NEWEST, &[]) else {
        return;
    };
    let log = Client::Native.open(&broker.address(), &[]);
    create_when_ready(&*log, &[TOPIC]);
    let one = producer(&broker, "one");
    publish(&one, 0..5, true);
    publish(&one, 10..15, true);
    publish(&one, 20..25, false);
    publish(&one, 30..35, true);
    drop(one);

    // Offsets 0 to 4 and a marker at 5, 6 to 10 and 11, 12 to 16 and 17, and 18 to 22 and 23.
    let records = damage(&mut broker, 8);
    assert_eq!(records, 6..11);
    let marker = damage(&mut broker, 17);
    assert_eq!(marker, 17..18);

    let log: std::sync::Arc<dyn RecordLog> = Client::Native.open(&broker.address(), &[]);
    let mut reader = log.reader(TOPIC, &[(0, 0)]).unwrap();
    let refused = reader.set_aside(0).unwrap_err();
    assert!(!refused.is_transient(), "nothing is damaged yet: {refused}");

    let (first, error) = read(&mut *reader, 10);
    assert_eq!(first, [0, 1, 2, 3, 4]);
    set_aside(&mut *reader, error, &records);
    let (none, error) = read(&mut *reader, 5);
    assert_eq!(none, [0_u64; 0], "an aborted transaction follows");
    set_aside(&mut *reader, error, &marker);
    let (last, error) = read(&mut *reader, 5);
    assert_eq!((last, error.is_none()), (vec![30, 31, 32, 33, 34], true));
}

#[test]
fn damage_at_the_end_is_set_aside_when_a_batch_has_followed() {
    let Some(mut broker) = Broker::open(NEWEST, &[]) else {
        return;
    };
    let log = Client::Native.open(&broker.address(), &[]);
    create_when_ready(&*log, &[TOPIC]);
    let plain: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("linger.ms", "1000")
        .create()
        .unwrap();
    for number in 0..3 {
        let value = number.to_string();
        let record = BaseRecord::<(), _>::to(TOPIC).partition(0).payload(&value);
        plain.send(record).map_err(|(error, _)| error).unwrap();
    }
    plain.flush(PATIENCE).unwrap();
    drop(plain);

    let batch = damage(&mut broker, 1);
    assert_eq!(batch, 0..3);
    let log = Client::Native.open(&broker.address(), &[]);
    let mut reader = log.reader(TOPIC, &[(0, 0)]).unwrap();
    for _ in 0..3 {
        let (none, error) = read(&mut *reader, 1);
        assert!(none.is_empty() && error.is_some());
        let error = reader.set_aside(0).unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(error.to_string().contains("offset 0"), "{error}");
    }

    let later = producer(&broker, "later");
    publish(&later, 7..9, true);
    let mut aside = None;
    await_until(
        || {
            let (_, error) = read(&mut *reader, 1);
            assert!(error.is_some());
            aside = reader.set_aside(0).ok();
            aside.is_some()
        },
        || "the end of the damage".to_owned(),
    );
    assert_eq!(aside.unwrap().offsets, batch);
    assert_eq!(read(&mut *reader, 2).0, [7, 8]);
}
