//! A server with hostile answers.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A server that runs until the test's process ends.
pub struct Hostile {
    address: SocketAddr,
    /// The requested paths.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hostile {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let notes = Arc::clone(&asked);

        thread::spawn(move || {
            for stream in listener.incoming() {
                let notes = Arc::clone(&notes);
                thread::spawn(move || answer(stream.unwrap(), address, &notes));
            }
        });

        Self { address, asked }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the number of requests for this path.
    pub fn asked(&self, path: &str) -> usize {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .filter(|asked| *asked == path)
            .count()
    }
}

/// Answers one request and closes the connection. An error is only printed, because the client may have closed it
/// first.
fn answer(mut stream: TcpStream, address: SocketAddr, notes: &Mutex<Vec<String>>) {
    let mut request = String::new();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    while lines.read_line(&mut request).is_ok_and(|length| length > 2) {}

    let path = request.split_whitespace().nth(1).unwrap_or_default();
    notes.lock().unwrap().push(path.to_owned());
    let answer = match path.rsplit('/').next() {
        Some("lure") => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
        Some("moved") => format!(
            "HTTP/1.1 302 Found\r\nlocation: http://{address}/lure\r\ncontent-length: 0\r\n\r\n"
        ),
        Some("garbage") => "\u{7}\u{7}\u{7} 12 \r\n\r\n".to_owned(),
        Some("openapi.json") => "HTTP/1.1 200 OK\r\ncontent-length: 2000000000\r\n\r\n{".to_owned(),
        _ => String::new(),
    };

    if let Err(error) = stream.write_all(answer.as_bytes()) {
        eprintln!("the other side hung up first: {error}");
    }
}
