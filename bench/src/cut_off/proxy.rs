//! A TCP proxy that can cut its clients off: bytes stop in both directions, and no connection is closed.
//!
//! From both ends this looks like a network that drops packets. Bytes that arrive while the proxy
//! is cut are delivered when it is restored, as TCP would deliver them. New connections are
//! accepted and get no answer.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// Bytes that are copied at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// A proxy to a port of this machine.
#[derive(Clone)]
pub struct Proxy {
    port: u16,
    way: Arc<Way>,
}

#[derive(Default)]
struct Way {
    is_cut: Mutex<bool>,
    restored: Condvar,
}

impl Proxy {
    /// Starts a proxy on a free port. Its threads live until the process ends.
    ///
    /// # Errors
    /// If the system has no free port or thread.
    pub fn start(target: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let way = Arc::new(Way::default());
        let of_connections = Arc::clone(&way);

        thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || {
                for client in listener.incoming().flatten() {
                    if let Err(error) = connect(client, target, &of_connections) {
                        println!("proxy: port {target} cannot be connected to: {error}");
                    }
                }
            })?;

        Ok(Self { port, way })
    }

    /// Returns the port on which it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops all bytes in both directions.
    pub fn cut(&self) {
        self.set(true);
    }

    /// Ends [`Proxy::cut`].
    pub fn restore(&self) {
        self.set(false);
        self.way.restored.notify_all();
    }

    fn set(&self, is_cut: bool) {
        let mut cut = self
            .way
            .is_cut
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *cut = is_cut;
    }
}

impl Way {
    fn await_open(&self) {
        let mut is_cut = self.is_cut.lock().unwrap_or_else(PoisonError::into_inner);
        while *is_cut {
            is_cut = self
                .restored
                .wait(is_cut)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn connect(client: TcpStream, target: u16, way: &Arc<Way>) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy(client.try_clone()?, server.try_clone()?, Arc::clone(way))?;
    copy(server, client, Arc::clone(way))
}

/// Copies bytes from one end to the other on a thread of its own, while the proxy is not cut.
fn copy(mut from: TcpStream, mut to: TcpStream, way: Arc<Way>) -> io::Result<()> {
    let carry = move || {
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            way.await_open();
            if to.write_all(&chunk[..length]).is_err() {
                break;
            }
        }

        // One end has closed or failed. An error of closing the other end makes no difference.
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    };

    thread::Builder::new()
        .name("proxied".to_owned())
        .spawn(carry)?;

    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Starts a server that returns each byte, increased by one.
    fn successor() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut byte = [0];
                    while client.read_exact(&mut byte).is_ok() {
                        client.write_all(&[byte[0] + 1]).unwrap();
                    }
                });
            }
        });

        port
    }

    fn answer(client: &mut TcpStream) -> io::Result<u8> {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    #[test]
    fn bytes_of_a_cut_way_are_delivered_when_it_is_restored() {
        let proxy = Proxy::start(successor()).unwrap();
        let connect = || {
            let client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
            client
                .set_read_timeout(Some(Duration::from_millis(300)))
                .unwrap();
            client
        };

        let mut client = connect();
        client.write_all(&[1]).unwrap();
        assert_eq!(answer(&mut client).unwrap(), 2);

        proxy.cut();
        client.write_all(&[5]).unwrap();
        let mut later = connect();
        later.write_all(&[8]).unwrap();
        assert!(answer(&mut client).is_err() && answer(&mut later).is_err());

        proxy.restore();
        for client in [&mut client, &mut later] {
            client
                .set_read_timeout(Some(Duration::from_secs(30)))
                .unwrap();
        }
        assert_eq!(answer(&mut client).unwrap(), 6);
        assert_eq!(answer(&mut later).unwrap(), 9);
    }
}
