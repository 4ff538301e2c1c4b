//! Tests of a reader on a broker whose answers the test scripts.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::iter::repeat_n;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::system_now_ms;
use crate::native::NativeLog;
use crate::native::api::{API_VERSIONS, Api, Code, FETCH, LIST_OFFSETS, METADATA};
use crate::native::cluster::lock;
use crate::native::codec::{Input, Output};
use crate::native::network::{Address, Network, Socket};
use crate::native::publisher::Patience;
use crate::{Polled, RecordLog, Signal};

const TOPIC: &str = "orders";
const TOPIC_ID: [u8; 16] = [7; 16];
const SESSION_ID: i32 = 5;
/// The position of the reader, and the end of the log that a new leader first answers with.
const EARLIER_END: i64 = 100;
/// The end of the log: a record was committed there just before the leader changed.
const END: i64 = 101;

/// The state of the broker.
#[derive(Default)]
struct Script {
    /// `true` while the broker has not determined the end of its log.
    is_end_unknown: bool,
    end: i64,
    /// The end in its last answer about the partition: answers of a session leave out what has not changed.
    sent_end: Option<i64>,
    /// The number of requests for the end.
    asked_ends: usize,
    /// The number of answers to Fetch since it became the leader.
    fetched: usize,
    /// `true` if it leads no more: it refuses the next Fetch, and the leader's epoch is greater from then on.
    is_deposed: bool,
    deposed_at_ms: u64,
    epoch: i32,
    /// The time for which it throttles each Fetch.
    throttle_ms: i32,
}

#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

impl Network for Scripted {
    fn connect(&self, _: &Address, _: Duration) -> io::Result<Box<dyn Socket>> {
        Ok(Box::new(Stream {
            script: self.clone(),
            request: Vec::new(),
            answers: VecDeque::new(),
        }))
    }
}

struct Stream {
    script: Scripted,
    request: Vec<u8>,
    answers: VecDeque<u8>,
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.request.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let request = std::mem::take(&mut self.request);
        let mut input = Input::new(&request[4..]);
        let key = input.i16().unwrap();
        input.i16().unwrap();
        let correlation = input.i32().unwrap();

        let mut frame = Vec::new();
        let mut output = Output(&mut frame);
        output.i32(correlation);
        if key != API_VERSIONS.key {
            output.no_tags();
        }

        lock(&self.script.0).answer(key, &mut output);
        let length = i32::try_from(frame.len()).unwrap();
        self.answers.extend(length.to_be_bytes());
        self.answers.extend(frame);
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.answers.read(into)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Socket for Stream {
    fn set_limit(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }
}

impl Script {
    fn answer(&mut self, key: i16, output: &mut Output<'_>) {
        let apis = [METADATA, LIST_OFFSETS, FETCH];
        if key == API_VERSIONS.key {
            versions(output, &apis);
        } else if key == METADATA.key {
            self.metadata(output);
        } else if key == LIST_OFFSETS.key {
            self.ends(output);
        } else {
            self.records(output);
        }
    }

    fn metadata(&self, output: &mut Output<'_>) {
        output.i32(0);
        output.array([1].into_iter(), |output, node| {
            output.i32(node);
            output.string("broker");
            output.i32(9092);
            output.nullable_string(None);
            output.no_tags();
        });
        output.nullable_string(None);
        output.i32(1);

        output.array([TOPIC].into_iter(), |output, topic| {
            output.i16(0);
            output.nullable_string(Some(topic));
            output.raw(&TOPIC_ID);
            output.bool(false);
            output.array([0].into_iter(), |output, partition| {
                output.i16(0);
                [partition, 1, self.epoch]
                    .into_iter()
                    .for_each(|number| output.i32(number));
                (0..3).for_each(|_| output.length(0));
                output.no_tags();
            });
            output.i32(0);
            output.no_tags();
        });
        output.no_tags();
    }

    fn ends(&mut self, output: &mut Output<'_>) {
        self.asked_ends += 1;
        let (code, end) = match self.is_end_unknown {
            true => (Code::OFFSET_NOT_AVAILABLE, -1),
            false => (Code::NONE, self.end),
        };

        output.i32(0);
        output.array([TOPIC].into_iter(), |output, topic| {
            output.string(topic);
            output.array([0].into_iter(), |output, partition| {
                output.i32(partition);
                output.i16(code.0);
                output.i64(-1);
                output.i64(end);
                output.i32(self.epoch);
                output.no_tags();
            });
            output.no_tags();
        });
        output.no_tags();
    }

    /// Writes an answer without records; only its end may be new.
    fn records(&mut self, output: &mut Output<'_>) {
        self.fetched += 1;
        if self.throttle_ms > 0 {
            return self.nothing(output);
        }
        let is_deposed = std::mem::take(&mut self.is_deposed);
        if is_deposed {
            self.epoch += 1;
            self.fetched = 0;
            self.sent_end = None;
            self.deposed_at_ms = system_now_ms();
        }

        let code = if is_deposed {
            Code::NOT_LEADER_OR_FOLLOWER
        } else {
            Code::NONE
        };
        let end = match self.is_end_unknown {
            true => EARLIER_END,
            false => self.end,
        };
        let is_news = is_deposed || self.sent_end != Some(end);
        self.sent_end = (!is_deposed).then_some(end);

        output.i32(0);
        output.i16(0);
        output.i32(SESSION_ID);
        output.array(repeat_n(TOPIC_ID, usize::from(is_news)), |output, topic| {
            output.raw(&topic);
            output.array([0].into_iter(), |output, partition| {
                output.i32(partition);
                output.i16(code.0);
                [end, end, 0]
                    .into_iter()
                    .for_each(|offset| output.i64(offset));
                output.length(0);
                output.i32(-1);
                output.bytes(b"");
                output.no_tags();
            });
            output.no_tags();
        });
        output.no_tags();
    }
}

impl Script {
    /// Writes the answer to a Fetch that a quota throttles: brokers leave out the records and the ends.
    fn nothing(&self, output: &mut Output<'_>) {
        output.i32(self.throttle_ms);
        output.i16(0);
        output.i32(SESSION_ID);
        output.length(0);
        output.no_tags();
    }
}

fn versions(output: &mut Output<'_>, apis: &[Api]) {
    output.i16(0);
    output.array(apis.iter(), |output, api| {
        [api.key, api.version, api.version]
            .into_iter()
            .for_each(|number| output.i16(number));
        output.no_tags();
    });
    output.i32(0);
    output.no_tags();
}

/// Polls until `is_enough`.
fn poll_until(reader: &mut dyn crate::Reader, mut is_enough: impl FnMut(&Polled) -> bool) {
    let signal = Signal::default();
    reader.on_readable(signal.wake());
    loop {
        let polled = reader.poll(0, 1, &mut |_| ());
        if polled.is_ok_and(|polled| is_enough(&polled)) {
            return;
        }
        signal.wait(Duration::from_millis(5));
    }
}

/// Returns a reader that has read everything up to the earlier end, and its log.
fn read_to_the_earlier_end(scripted: &Scripted) -> (NativeLog, Box<dyn crate::Reader>) {
    lock(&scripted.0).end = EARLIER_END;
    let log = NativeLog::over(
        Box::new(scripted.clone()),
        "broker:9092",
        Patience::default(),
    );
    let mut reader = log.reader(TOPIC, &[(0, EARLIER_END as u64)]).unwrap();
    poll_until(&mut *reader, Polled::is_at_end);
    (log, reader)
}

#[test]
fn a_new_leader_dates_no_end_before_it_has_determined_it() {
    let scripted = Scripted::default();
    let script = || lock(&scripted.0);
    let (_log, mut reader) = read_to_the_earlier_end(&scripted);

    // A record is committed, and another broker becomes the leader, whose end is still the earlier one.
    {
        let mut script = script();
        script.is_deposed = true;
        script.is_end_unknown = true;
        script.end = END;
    }
    poll_until(&mut *reader, |polled| {
        let script = script();
        assert!(script.epoch == 0 || polled.end_as_of_ms <= Some(script.deposed_at_ms));
        script.epoch > 0 && script.fetched > 10 && script.asked_ends > 5
    });

    // From then on its ends count: this reader is one record below.
    {
        let mut script = script();
        script.is_end_unknown = false;
        script.asked_ends = 0;
        script.fetched = 0;
    }
    poll_until(&mut *reader, |polled| {
        polled.end_as_of_ms.is_none() && script().fetched > 10
    });
    assert_eq!(
        script().asked_ends,
        1,
        "requests for the end stop with its first answer"
    );
}

#[test]
fn a_throttled_answer_dates_no_end_and_names_the_quota() {
    let scripted = Scripted::default();
    let script = || lock(&scripted.0);
    let (_log, mut reader) = read_to_the_earlier_end(&scripted);
    assert_eq!(reader.obstacle(0), None);

    // A record is committed. The answers that would name the new end are throttled.
    let throttled_at_ms = {
        let mut script = script();
        script.end = END;
        script.throttle_ms = 3;
        script.fetched = 0;
        system_now_ms()
    };
    poll_until(&mut *reader, |polled| {
        assert!(polled.end_as_of_ms <= Some(throttled_at_ms));
        // After this many answers the clock is past the time above.
        script().fetched > 10
    });
    let obstacle = reader.obstacle(0);
    assert_eq!(
        obstacle.as_deref(),
        Some("broker 1 throttles this client for 3 ms: raise its quota consumer_byte_rate")
    );

    script().throttle_ms = 0;
    poll_until(&mut *reader, |polled| polled.end_as_of_ms.is_none());
    assert_eq!(reader.obstacle(0), None, "it answers again");
}
