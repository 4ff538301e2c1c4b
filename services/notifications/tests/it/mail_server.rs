//! A mail server that speaks as much SMTP as the tests need, keeps what it takes, and answers as they want.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What the next message meets with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It is taken.
    Take,
    /// This is the reply to its recipient.
    Recipient(&'static str),
    /// This is the reply to who logs in.
    LogIn(&'static str),
    /// It is taken, and nobody is told.
    TakeSilently,
}

/// A message as it was taken.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The recipient of the envelope.
    pub to: String,
    /// Headers and body.
    pub text: String,
}

/// The server. Clones are the same one.
#[derive(Clone)]
pub struct MailServer {
    address: String,
    state: Arc<Mutex<State>>,
    taken: Arc<Notify>,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    mails: Vec<Mail>,
    logins: usize,
}

impl MailServer {
    /// A server on a port of its own, which answers the first messages like this and takes the rest.
    pub async fn open(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Self { address, state: Arc::default(), taken: Arc::default() };
        server.answer(answers);
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = accepting.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub fn answer(&self, answers: &[Answer]) {
        self.state.lock().unwrap().answers.extend(answers);
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.state.lock().unwrap().mails.clone()
    }

    pub fn logins(&self) -> usize {
        self.state.lock().unwrap().logins
    }

    /// Waits until so many messages were taken.
    pub async fn has_taken(&self, count: usize) {
        while self.mails().len() < count {
            self.taken.notified().await;
        }
    }

    async fn serve(&self, stream: TcpStream) -> Option<()> {
        let (reading, mut writing) = stream.into_split();
        let mut lines = BufReader::new(reading).lines();
        let answer = self.state.lock().unwrap().answers.pop_front().unwrap_or(Answer::Take);
        let mut to = String::new();
        writing.write_all(b"220 test\r\n").await.ok()?;
        while let Some(line) = lines.next_line().await.ok()? {
            let reply = match line.split_whitespace().next()?.to_ascii_uppercase().as_str() {
                "EHLO" => "250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN",
                "AUTH" => match answer {
                    Answer::LogIn(reply) => reply,
                    _ => {
                        self.state.lock().unwrap().logins += 1;
                        "235 welcome"
                    }
                },
                "RCPT" => match answer {
                    Answer::Recipient(reply) => reply,
                    _ => {
                        to = line.split_once('<')?.1.split_once('>')?.0.to_owned();
                        "250 fine"
                    }
                },
                "DATA" => {
                    writing.write_all(b"354 go on\r\n").await.ok()?;
                    let mut text = String::new();
                    loop {
                        match lines.next_line().await.ok()?? {
                            end if end == "." => break,
                            line => text.extend([line.strip_prefix('.').unwrap_or(&line), "\n"]),
                        }
                    }
                    self.state.lock().unwrap().mails.push(Mail { to: to.clone(), text });
                    self.taken.notify_one();
                    if answer == Answer::TakeSilently {
                        std::future::pending::<()>().await;
                    }
                    "250 taken"
                }
                "QUIT" => "221 bye",
                _ => "250 fine",
            };
            writing.write_all(format!("{reply}\r\n").as_bytes()).await.ok()?;
        }
        Some(())
    }
}

impl Mail {
    /// A header; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        let found = self.text.lines().take_while(|line| !line.is_empty()).find_map(|line| line.strip_prefix(name));
        found.and_then(|rest| rest.strip_prefix(": ")).unwrap_or_default()
    }
}
