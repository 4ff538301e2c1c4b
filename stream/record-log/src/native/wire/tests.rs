//! Tests of a connection: the order of answers, and answers that are refused.

use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::api::{API_VERSIONS, Api, METADATA};
use super::super::cluster::lock;
use super::super::codec::{Input, Malformed, Output};
use super::{Access, Address, Connection, FRAME_LIMIT, Network, Socket, WireError};
use crate::runtime::System;

const LIMIT: Duration = Duration::from_secs(1);

/// A broker that has written all its answers before the first request.
struct Scripted(Mutex<Option<Vec<u8>>>);

/// The broker's end of a connection: its bytes, and then silence or an end.
struct Script {
    answers: Cursor<Vec<u8>>,
    is_silent: bool,
}

impl Read for Script {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.answers.read(into)? {
            0 if self.is_silent => Err(io::ErrorKind::WouldBlock.into()),
            // A few bytes at a time, as a network may deliver them.
            read => Ok(read),
        }
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Script {
    fn set_limit(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }
}

impl Network for Scripted {
    fn connect(&self, _: &Address, _: Duration) -> io::Result<Box<dyn Socket>> {
        let answers = lock(&self.0).take();
        let answers = answers.ok_or(io::ErrorKind::ConnectionRefused)?;
        Ok(Box::new(Script {
            answers: Cursor::new(answers),
            is_silent: true,
        }))
    }
}

fn frame(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len()).unwrap();
    [&length.to_be_bytes(), body].concat()
}

/// Returns the first answer on a connection, in which the broker offers one request in some versions.
fn offers(api: Api, least: i16, most: i16) -> Vec<u8> {
    let mut body = Vec::new();
    let mut output = Output(&mut body);
    output.i32(0);
    output.i16(0);
    output.length(1);
    [api.key, least, most]
        .into_iter()
        .for_each(|number| output.i16(number));
    output.no_tags();
    output.i32(0);
    output.no_tags();

    frame(&body)
}

/// Returns an answer with this correlation, and a number in its body.
fn answer(correlation: i32, number: i32) -> Vec<u8> {
    let mut body = Vec::new();
    let mut output = Output(&mut body);
    output.i32(correlation);
    output.no_tags();
    output.i32(number);
    frame(&body)
}

/// Connects to a broker that offers METADATA and then writes `answers`.
fn connected(answers: &[u8]) -> Connection {
    let script = [&offers(METADATA, 0, METADATA.version), answers].concat();
    open(script).unwrap()
}

fn open(script: Vec<u8>) -> Result<Connection, WireError> {
    let broker = Address {
        host: "kafka-1".to_owned(),
        port: 9092,
    };
    let access = Access {
        network: Box::new(Scripted(Mutex::new(Some(script)))),
        runtime: Arc::new(System),
        login: None,
        client_id: "test".to_owned(),
        connect_limit: LIMIT,
        request_limit: LIMIT,
    };
    Connection::open(&Arc::new(access), &broker)
}

fn call(connection: &mut Connection) -> Result<i32, WireError> {
    connection.call(METADATA, LIMIT, |_| (), |input| input.i32())
}

/// Returns the error of a call, and checks that it names broker and request.
fn refusal(answers: &[u8]) -> WireError {
    let error = call(&mut connected(answers)).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("kafka-1:9092") && said.contains("Metadata"),
        "{said}"
    );

    error
}

#[test]
fn answers_are_read_in_the_order_of_their_requests() {
    let mut connection = connected(&[answer(1, 10), answer(2, 20)].concat());
    connection.send(METADATA, LIMIT, |_| ()).unwrap();
    connection.send(METADATA, LIMIT, |_| ()).unwrap();

    for expected in [10, 20] {
        let mut frame = super::Frame::default();
        let start = connection.receive(LIMIT, &mut frame).unwrap();
        assert_eq!(Input::new(&frame.bytes()[start..]).i32(), Ok(expected));
    }
}

#[test]
fn an_answer_to_another_request_is_refused() {
    let error = refusal(&answer(7, 10));
    assert!(matches!(
        error,
        WireError::Malformed {
            source: Malformed("it is the answer to another request"),
            ..
        }
    ));
}

#[test]
fn an_answer_with_bytes_after_its_end_is_refused() {
    let mut long = answer(1, 10);
    long.extend_from_slice(b"more");
    long[3] += 4;
    assert!(matches!(refusal(&long), WireError::Malformed { .. }));
}

#[test]
fn an_answer_that_lies_about_its_length_is_refused() {
    let beyond = i32::try_from(FRAME_LIMIT + 1).unwrap();
    for length in [beyond, i32::MAX, -1] {
        let error = refusal(&length.to_be_bytes());
        assert!(matches!(error, WireError::Lost { .. }), "{error}");
    }
}

#[test]
fn memory_grows_with_arrived_bytes_not_with_announced_ones() {
    let announced = i32::try_from(FRAME_LIMIT).unwrap().to_be_bytes();
    let mut connection = connected(&[&announced[..], &[0; 1000]].concat());
    connection.send(METADATA, LIMIT, |_| ()).unwrap();

    let mut frame = super::Frame::default();
    let error = connection.receive(LIMIT, &mut frame).unwrap_err();
    assert!(matches!(error, WireError::Silent { .. }), "{error}");
    assert!(frame.capacity() <= 2 << 20, "{}", frame.capacity());
}

#[test]
fn silence_in_the_middle_of_an_answer_is_an_error() {
    let whole = answer(1, 10);
    for length in 0..whole.len() {
        let error = refusal(&whole[..length]);
        assert!(matches!(error, WireError::Silent { .. }), "{error}");
    }
}

#[test]
fn a_broker_without_the_version_is_refused_by_request() {
    let script = offers(METADATA, 0, METADATA.version - 1);
    let error = call(&mut open(script).unwrap()).unwrap_err();
    assert!(error.to_string().contains("Metadata version 12"), "{error}");

    let mut older = Vec::new();
    let mut output = Output(&mut older);
    output.i32(0);
    output.i16(35);
    output.i32(0);

    let error = open(frame(&older)).err().unwrap();
    assert!(matches!(error, WireError::Malformed { request, .. } if request == API_VERSIONS.name));
}
