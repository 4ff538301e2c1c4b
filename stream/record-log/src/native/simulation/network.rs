//! The network of a run: it opens the client's streams.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use super::baton::Baton;
use crate::native::network::{Address, Network, Socket};
use crate::native::publisher::identities;

impl Network for Baton {
    fn connect(&self, address: &Address, limit: Duration) -> io::Result<Box<dyn Socket>> {
        let node = address.host.strip_prefix("broker-");
        let node: usize = node.and_then(|node| node.parse().ok()).unwrap();
        let pause_us = 100 + self.draw(1_000);
        self.wait(None, Some(Duration::from_micros(pause_us).min(limit)));

        let mut run = self.run();
        let run = &mut *run;
        let Some(incarnation) = run.kafka.incarnation(node) else {
            return Err(ErrorKind::ConnectionRefused.into());
        };
        let link = run.kafka.links.open(node, incarnation, &mut run.machine);
        Ok(Box::new(Stream {
            baton: self.clone(),
            link,
            request: Vec::new(),
            limit: Cell::new(limit),
        }))
    }
}

/// The client's end of a stream.
struct Stream {
    baton: Baton,
    link: usize,
    request: Vec<u8>,
    limit: Cell<Duration>,
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.baton.run().kafka.links.all[self.link].is_ended {
            return Err(ErrorKind::BrokenPipe.into());
        }
        self.request.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let request = std::mem::take(&mut self.request);
        identities::check(&request);
        {
            let mut run = self.baton.run();
            let run = &mut *run;
            run.kafka.links.send(self.link, request, &mut run.machine);
        }
        self.baton.give_way();
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let limit_us = u64::try_from(self.limit.get().as_micros()).unwrap_or(u64::MAX);
        let until_us = self.baton.run().machine.now_us().saturating_add(limit_us);
        loop {
            let bell;
            let left_us;
            {
                let mut run = self.baton.run();
                let run = &mut *run;
                let at = &mut run.kafka.links.all[self.link];
                if !at.arrived.is_empty() {
                    return at.arrived.read(into);
                }
                if at.is_ended {
                    return Ok(0);
                }
                left_us = until_us.saturating_sub(run.machine.now_us());
                if left_us == 0 {
                    return Err(ErrorKind::WouldBlock.into());
                }
                bell = (at.bell, run.machine.rings(at.bell));
            }
            self.baton
                .wait(Some(bell), Some(Duration::from_micros(left_us)));
        }
    }
}

impl Socket for Stream {
    fn set_limit(&self, limit: Duration) -> io::Result<()> {
        self.limit.set(limit.max(Duration::from_millis(1)));
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.baton.run().kafka.links.all[self.link].is_closed = true;
    }
}
