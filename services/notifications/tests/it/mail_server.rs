//! A mail server with the part of SMTP that the tests need. It keeps its messages, and answers as a test sets.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

/// The encryption of its connections.
#[derive(Clone)]
pub enum Encryption {
    /// None.
    None,
    /// By TLS from the first byte on.
    FromTheStart(TlsAcceptor),
    /// By TLS after the client's STARTTLS.
    WhenAsked(TlsAcceptor),
}

/// The answer to the next message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The message is accepted.
    Take,
    /// The reply to the command with its recipient.
    Recipient(&'static str),
    /// The reply to the log-in.
    LogIn(&'static str),
    /// The message is accepted, but the client gets no answer.
    TakeSilently,
}

/// A message as it was accepted.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The recipient of the envelope.
    pub to: String,
    /// Headers and body.
    pub text: String,
    /// Whether it came by TLS.
    pub is_encrypted: bool,
}

/// The server. Clones share it.
#[derive(Clone)]
pub struct MailServer {
    address: String,
    encryption: Encryption,
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
    /// Starts a server on a port of its own. It gives these answers to the first messages, and accepts the rest.
    pub async fn open(answers: &[Answer]) -> Self {
        Self::open_with(Encryption::None, answers).await
    }

    /// Starts such a server with this encryption.
    pub async fn open_with(encryption: Encryption, answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Self {
            address,
            encryption,
            state: Arc::default(),
            taken: Arc::default(),
        };
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
        match self.encryption {
            Encryption::None => format!("smtp://{}", self.address),
            Encryption::FromTheStart(_) => format!("smtps://{}", self.address),
            Encryption::WhenAsked(_) => format!("smtp://{}?tls=required", self.address),
        }
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

    /// Waits until `count` messages were accepted.
    pub async fn has_taken(&self, count: usize) {
        while self.mails().len() < count {
            self.taken.notified().await;
        }
    }

    async fn serve(&self, stream: TcpStream) -> Option<()> {
        let answer = self
            .state
            .lock()
            .unwrap()
            .answers
            .pop_front()
            .unwrap_or(Answer::Take);

        let mut stream = BufStream::new(stream);
        match &self.encryption {
            Encryption::None => {
                say(&mut stream, "220 test").await?;
                self.talk(
                    &mut stream,
                    answer,
                    Talk {
                        is_encrypted: false,
                        may_encrypt: false,
                    },
                )
                .await
            }
            Encryption::FromTheStart(acceptor) => {
                let mut stream = BufStream::new(acceptor.accept(stream.into_inner()).await.ok()?);
                say(&mut stream, "220 test").await?;
                self.talk(
                    &mut stream,
                    answer,
                    Talk {
                        is_encrypted: true,
                        may_encrypt: false,
                    },
                )
                .await
            }
            Encryption::WhenAsked(acceptor) => {
                say(&mut stream, "220 test").await?;
                self.talk(
                    &mut stream,
                    answer,
                    Talk {
                        is_encrypted: false,
                        may_encrypt: true,
                    },
                )
                .await?;

                let mut stream = BufStream::new(acceptor.accept(stream.into_inner()).await.ok()?);
                self.talk(
                    &mut stream,
                    answer,
                    Talk {
                        is_encrypted: true,
                        may_encrypt: false,
                    },
                )
                .await
            }
        }
    }

    /// Answers until the client disconnects or requests TLS.
    async fn talk<S: Stream>(
        &self,
        stream: &mut BufStream<S>,
        answer: Answer,
        talk: Talk,
    ) -> Option<()> {
        let mut to = String::new();
        loop {
            let line = hear(stream).await?;
            let reply = match line
                .split_whitespace()
                .next()?
                .to_ascii_uppercase()
                .as_str()
            {
                "EHLO" if talk.may_encrypt => "250-test\r\n250-STARTTLS\r\n250 AUTH PLAIN",
                "EHLO" => "250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN",
                "STARTTLS" if talk.may_encrypt => return say(stream, "220 go on").await,
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
                    say(stream, "354 go on").await?;
                    let text = hear_message(stream).await?;
                    let mail = Mail {
                        to: to.clone(),
                        text,
                        is_encrypted: talk.is_encrypted,
                    };
                    self.state.lock().unwrap().mails.push(mail);
                    self.taken.notify_one();

                    if answer == Answer::TakeSilently {
                        std::future::pending::<()>().await;
                    }

                    "250 taken"
                }
                "QUIT" => "221 bye",
                _ => "250 fine",
            };
            say(stream, reply).await?;
        }
    }
}

/// The state of a connection.
#[derive(Clone, Copy)]
struct Talk {
    is_encrypted: bool,
    may_encrypt: bool,
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

async fn say<S: Stream>(stream: &mut BufStream<S>, line: &str) -> Option<()> {
    stream
        .write_all(format!("{line}\r\n").as_bytes())
        .await
        .ok()?;
    stream.flush().await.ok()
}

/// Returns the next line; none when the client has disconnected.
async fn hear<S: Stream>(stream: &mut BufStream<S>) -> Option<String> {
    let mut line = String::new();
    let bytes = stream.read_line(&mut line).await.ok()?;
    (bytes > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}

async fn hear_message<S: Stream>(stream: &mut BufStream<S>) -> Option<String> {
    let mut text = String::new();
    loop {
        match hear(stream).await? {
            end if end == "." => return Some(text),
            line => text.extend([line.strip_prefix('.').unwrap_or(&line), "\n"]),
        }
    }
}

impl Mail {
    /// Returns a header; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        let found = self
            .text
            .lines()
            .take_while(|line| !line.is_empty())
            .find_map(|line| line.strip_prefix(name));
        found
            .and_then(|rest| rest.strip_prefix(": "))
            .unwrap_or_default()
    }
}
