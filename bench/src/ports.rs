//! Ports for the programs that the harness starts.
//!
//! They are below those that a system gives to connections: there, a connection of any program could take a port between
//! the moment at which it was found free and the moment at which its program listens.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

const PORTS: Range<u16> = 10_000..30_000;

/// Returns the first of so many ports in a row that are free now. No port is returned twice in a process, and processes
/// search from different ones.
///
/// # Errors
/// If there are none.
pub fn draw(count: u16) -> io::Result<u16> {
    static DRAWN: AtomicU16 = AtomicU16::new(0);
    let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let offset = u16::try_from(std::process::id() % 200).expect("less than 200") * 100;

    for _ in 0..PORTS.len() {
        let drawn = DRAWN.fetch_add(count, Ordering::Relaxed);
        let width = PORTS.end - PORTS.start - count;
        let first = PORTS.start + offset.wrapping_add(drawn) % width;
        if (first..first + count).all(is_free) {
            return Ok(first);
        }
    }

    Err(io::Error::new(
        io::ErrorKind::AddrInUse,
        format!("no {count} ports in a row are free in {PORTS:?}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_a_row_are_free_and_drawn_once() {
        let [first, second] = [(); 2].map(|()| draw(20).unwrap());
        assert!(first.abs_diff(second) >= 20, "{first} and {second}");

        let listeners =
            (first..first + 20).map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
        assert_eq!(listeners.filter(Result::is_ok).count(), 20);
    }
}
