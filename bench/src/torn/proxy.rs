//! A proxy that reads Kafka's protocol: it passes requests and answers on, or carries out the fate that the schedule of
//! the request's client has drawn.
//!
//! ```text
//!                    ┌── requests: one thread ──▶ fate ──▶ broker, now, later, or never
//! client ◀──▶ proxy ─┤
//!                    └── answers: one thread ◀── in the order of the requests
//! ```
//!
//! A request that arrives after its connection has ended reaches the broker on another connection. The coordinator and
//! the leaders do not distinguish connections.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::fate::{Fate, Notice};
use super::faults::{Attack, Faults};
use super::frame::{self, Request};

/// A proxy in front of a broker. Its threads live until the process ends.
#[derive(Clone)]
pub struct KafkaProxy {
    port: u16,
    schedules: Arc<Schedules>,
}

/// The faults of the schedules that run, by the name of their client.
type Schedules = Mutex<HashMap<String, Arc<Faults>>>;

/// A connection of a client, and the one to the broker behind it.
struct Link {
    client: TcpStream,
    broker: TcpStream,
    broker_port: u16,
    schedules: Arc<Schedules>,
    due: Mutex<VecDeque<Due>>,
    /// If set, neither requests nor answers are passed on any more.
    is_silent: AtomicBool,
}

/// The answer to a request that was passed on.
struct Due {
    correlation: i32,
    fate: Fate,
    attack: Option<(Attack, Arc<Faults>)>,
}

impl KafkaProxy {
    /// Starts a proxy on a free port, in front of a broker's port on this machine.
    ///
    /// # Errors
    /// If the system has no free port or thread.
    pub fn start(broker: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let schedules = Arc::new(Schedules::default());
        let of_links = Arc::clone(&schedules);

        let accept = move || {
            for client in listener.incoming().flatten() {
                // A client whose connection fails opens another.
                let _ = Link::open(client, broker, Arc::clone(&of_links));
            }
        };
        thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(accept)?;
        Ok(Self { port, schedules })
    }

    /// Returns the port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets requests of the client with this name meet these faults.
    pub fn begin(&self, client: &str, faults: &Arc<Faults>) {
        let mut schedules = self
            .schedules
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        schedules.insert(client.to_owned(), Arc::clone(faults));
    }

    /// Ends [`KafkaProxy::begin`].
    pub fn end(&self, client: &str) {
        let mut schedules = self
            .schedules
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        schedules.remove(client);
    }
}

impl Link {
    fn open(client: TcpStream, broker_port: u16, schedules: Arc<Schedules>) -> io::Result<()> {
        let broker = TcpStream::connect((Ipv4Addr::LOCALHOST, broker_port))?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let link = Arc::new(Self {
            client,
            broker,
            broker_port,
            schedules,
            due: Mutex::default(),
            is_silent: AtomicBool::new(false),
        });

        for direction in [Self::pass_requests, Self::pass_answers] {
            let link = Arc::clone(&link);
            let carry = move || {
                // A stream that fails ends the connection, as in any network.
                let _ = direction(&link);
                link.close();
            };
            thread::Builder::new()
                .name("proxied".to_owned())
                .spawn(carry)?;
        }
        Ok(())
    }

    fn close(&self) {
        // The other direction may have closed them.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.broker.shutdown(Shutdown::Both);
    }

    fn pass_requests(&self) -> io::Result<()> {
        let mut client = &self.client;
        while let Some(frame) = frame::read(&mut client)? {
            if self.is_silent.load(Ordering::SeqCst) {
                continue;
            }

            let request = Request::parse(frame)?;
            let schedules = self
                .schedules
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let faults = schedules.get(&request.client).cloned();
            drop(schedules);

            match faults {
                Some(faults) => self.carry_out(&faults, request)?,
                None => self.forward(&request, Fate::Passes, None)?,
            }
        }
        Ok(())
    }

    fn carry_out(&self, faults: &Arc<Faults>, request: Request) -> io::Result<()> {
        let fate = faults.of(&request);
        match fate {
            Fate::Lost => self.close(),
            Fate::Late(after, notice) => {
                self.give_up(notice);
                faults.deliver_late(self.broker_port, request, after);
            }
            Fate::Held(notice) => {
                self.give_up(notice);
                faults.hold(self.broker_port, request);
            }
            Fate::Passes | Fate::Delayed(_) | Fate::AnsweredLate(_) | Fate::Unanswered(_) => {
                if let Fate::Delayed(delay) = fate {
                    thread::sleep(delay);
                }

                let attack = faults.attack(&request);
                let releasing = attack.map(|attack| (attack, Arc::clone(faults)));
                self.forward(&request, fate, releasing)?;
                // The rest of the transaction follows when the held end has had its effect.
                if let Some(attack) = attack {
                    faults.await_answers(attack);
                }
            }
        }
        Ok(())
    }

    /// Ends the connection as the client notices it.
    fn give_up(&self, notice: Notice) {
        self.is_silent.store(true, Ordering::SeqCst);
        if notice == Notice::Closed {
            self.close();
        }
    }

    fn forward(
        &self,
        request: &Request,
        fate: Fate,
        attack: Option<(Attack, Arc<Faults>)>,
    ) -> io::Result<()> {
        // Brokers do not answer a Produce without acknowledgements, which neither client sends.
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.push_back(Due {
            correlation: request.correlation,
            fate,
            attack,
        });
        drop(due);
        (&self.broker).write_all(&request.bytes)
    }

    fn pass_answers(&self) -> io::Result<()> {
        let mut broker = &self.broker;
        while let Some(frame) = frame::read(&mut broker)? {
            let mut all_due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            let due = all_due.pop_front();
            drop(all_due);
            let due = due.filter(|due| frame::answered(&frame) == Some(due.correlation));
            let Some(Due { fate, attack, .. }) = due else {
                return Err(io::Error::other("an answer to another request"));
            };

            if let Some((attack, faults)) = attack {
                faults.release(attack);
            }
            match fate {
                Fate::Unanswered(notice) => self.give_up(notice),
                Fate::AnsweredLate(delay) => thread::sleep(delay),
                _ => {}
            }
            if !self.is_silent.load(Ordering::SeqCst) {
                (&self.client).write_all(&frame)?;
            }
        }
        Ok(())
    }
}
