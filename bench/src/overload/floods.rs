//! The requests of an attacker at one address: six floods, each for a given time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The threads that send a flood.
const THREADS: usize = 8;
/// The time limit of one call.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// The pause before connections that were closed are opened again.
const TEND_EVERY: Duration = Duration::from_millis(100);
/// The connections that each thread of a flood of connections holds open.
const HELD_BY_A_THREAD: usize = 500;
/// One log-in of so many waits for its answer, which shows how soon a log-in is shed.
const ANSWERED_LOG_INS: u64 = 20;
/// The requests that a slow reader sends at once.
const UNREAD_ANSWERS: usize = 50;

/// The kind of a flood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flood {
    /// Connections on which half a request's head is sent, and nothing more.
    HalfHeads,
    /// Log-ins of invented accounts, whose callers hang up at once; a few wait for the answer.
    AbortedLogIns,
    /// Requests whose heads do not end.
    LargeHeads,
    /// Requests whose answers are not read.
    UnreadAnswers,
    /// Log-ins whose bodies come byte by byte.
    SlowBodies,
    /// Requests as fast as the answers come.
    Requests,
}

/// The outcome of a flood.
#[derive(Default)]
pub struct Tally {
    /// Connections opened, or requests sent.
    pub sent: AtomicU64,
    /// Connections that the server closed, or did not accept.
    pub closed: AtomicU64,
    /// The shed time of each refusal (429 or 503): from the request's last byte to the answer.
    pub refusals: Mutex<Vec<Duration>>,
    /// Answers that are not refusals.
    pub served: AtomicU64,
}

impl Flood {
    /// All floods, in the order in which they are sent.
    pub const ALL: [Self; 6] = [
        Self::HalfHeads,
        Self::AbortedLogIns,
        Self::LargeHeads,
        Self::UnreadAnswers,
        Self::SlowBodies,
        Self::Requests,
    ];

    /// Returns its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::HalfHeads => "half a head, and silence",
            Self::AbortedLogIns => "log-ins, hung up at once",
            Self::LargeHeads => "heads without an end",
            Self::UnreadAnswers => "unread answers",
            Self::SlowBodies => "bodies, a byte at a time",
            Self::Requests => "requests, as fast as it goes",
        }
    }

    /// Sends the flood to the server for the time.
    pub fn send(self, server: SocketAddr, time: Duration) -> Tally {
        let tally = Tally::default();
        let is_over = AtomicBool::new(false);

        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| self.send_alone(server, &is_over, &tally));
            }
            thread::sleep(time);
            is_over.store(true, Ordering::Relaxed);
        });

        tally
    }

    fn send_alone(self, server: SocketAddr, is_over: &AtomicBool, tally: &Tally) {
        let repeat = |once: &dyn Fn() -> io::Result<()>| {
            while !is_over.load(Ordering::Relaxed) {
                if once().is_err() {
                    tally.closed.fetch_add(1, Ordering::Relaxed);
                }
            }
        };

        match self {
            Self::HalfHeads => {
                let head = b"GET / HTTP/1.1\r\nHost: shop\r\nX-Half: ";
                hold(server, is_over, tally, head, b"");
            }
            Self::UnreadAnswers => {
                let request = b"GET /api/products?limit=100 HTTP/1.1\r\nHost: shop\r\n\r\n";
                hold(server, is_over, tally, &request.repeat(UNREAD_ANSWERS), b"");
            }
            Self::SlowBodies => {
                let head = b"POST /api/users/login HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n";
                hold(server, is_over, tally, head, b" ");
            }
            Self::AbortedLogIns => repeat(&|| abort_a_log_in(server, tally)),
            Self::LargeHeads => repeat(&|| send_a_large_head(server, tally)),
            Self::Requests => repeat(&|| request_on(server, is_over, tally)),
        }
    }
}

/// Holds connections open on which `first` was sent, and sends `then` on each repeatedly.
fn hold(server: SocketAddr, is_over: &AtomicBool, tally: &Tally, first: &[u8], then: &[u8]) {
    let mut held: Vec<TcpStream> = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let before = held.len();
        held.retain_mut(|connection| is_open(connection) && connection.write_all(then).is_ok());
        let closed = (before - held.len()) as u64;
        tally.closed.fetch_add(closed, Ordering::Relaxed);

        while held.len() < HELD_BY_A_THREAD && !is_over.load(Ordering::Relaxed) {
            let Ok(connection) = open(server, tally, first) else {
                tally.closed.fetch_add(1, Ordering::Relaxed);
                break;
            };
            held.push(connection);
        }
        thread::sleep(TEND_EVERY);
    }
}

/// Returns `true` if the server has neither closed nor refused the connection. Its bytes stay
/// unread.
fn is_open(connection: &TcpStream) -> bool {
    let mut seen = [0; 12];
    match connection.peek(&mut seen) {
        Ok(0) => false,
        Ok(length) => !is_refusal(seen.get(9..length).unwrap_or_default()),
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

fn is_refusal(status: &[u8]) -> bool {
    matches!(status, b"400" | b"408" | b"429" | b"431" | b"503")
}

fn open(server: SocketAddr, tally: &Tally, first: &[u8]) -> io::Result<TcpStream> {
    let mut connection = connect(server)?;
    tally.sent.fetch_add(1, Ordering::Relaxed);
    connection.write_all(first)?;
    connection.set_nonblocking(true)?;

    Ok(connection)
}

fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect_timeout(&server, CALL_LIMIT)?;
    connection.set_read_timeout(Some(CALL_LIMIT))?;
    connection.set_write_timeout(Some(CALL_LIMIT))?;
    Ok(connection)
}

fn abort_a_log_in(server: SocketAddr, tally: &Tally) -> io::Result<()> {
    let number = tally.sent.fetch_add(1, Ordering::Relaxed);
    let body = format!(
        r#"{{"email":"nobody-{number}@example.org","password":"a guess that nobody waits for"}}"#
    );
    let head = format!(
        "POST /api/users/login HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );

    let mut connection = connect(server)?;
    let begun = Instant::now();
    connection.write_all((head + &body).as_bytes())?;
    if number.is_multiple_of(ANSWERED_LOG_INS) {
        note_answer(&mut connection, begun, tally)?;
    }
    Ok(())
}

/// Reads an answer, which is small and comes in one piece, and notes how long it took if it is a refusal.
fn note_answer(connection: &mut TcpStream, begun: Instant, tally: &Tally) -> io::Result<()> {
    let mut answer = vec![0; 64 << 10];
    let length = connection.read(&mut answer)?;
    let status = answer.get(9..12).unwrap_or_default();
    match status {
        _ if length == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
        b"429" | b"503" => tally
            .refusals
            .lock()
            .expect("no thread panics while it holds the lock")
            .push(begun.elapsed()),
        _ => {
            tally.served.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

fn send_a_large_head(server: SocketAddr, tally: &Tally) -> io::Result<()> {
    let mut connection = connect(server)?;
    tally.sent.fetch_add(1, Ordering::Relaxed);
    connection.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n")?;

    let line = format!("X-Large: {}\r\n", "x".repeat(8 << 10));
    for _ in 0..128 {
        connection.write_all(line.as_bytes())?;
    }
    Ok(())
}

/// Sends requests on one connection, one after another, until the server closes it.
fn request_on(server: SocketAddr, is_over: &AtomicBool, tally: &Tally) -> io::Result<()> {
    let mut connection = connect(server)?;
    while !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        connection.write_all(b"GET /api/products?limit=1 HTTP/1.1\r\nHost: shop\r\n\r\n")?;
        tally.sent.fetch_add(1, Ordering::Relaxed);
        note_answer(&mut connection, begun, tally)?;
    }

    Ok(())
}
