//! A quota of one client name on a real Kafka, so that brokers throttle one client and no other.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time limit that is longer than a change of a quota takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A quota of one client name. Dropping it removes the quota.
pub struct Quota {
    brokers: String,
    /// The name that the client has to give itself (`client.id`).
    pub client_id: String,
    entry: &'static str,
    rate: f64,
}

impl Quota {
    /// Sets a quota, such as `producer_byte_rate`, for a client name of its own.
    pub fn set(brokers: &str, entry: &'static str, rate: f64) -> Self {
        let quota = Self {
            brokers: brokers.to_owned(),
            client_id: unique(),
            entry,
            rate,
        };
        quota.alter(false);
        quota
    }

    /// Sends AlterClientQuotas, version 0: one entry of one entity with one operation.
    fn alter(&self, is_removed: bool) {
        let mut request = [&49_u16.to_be_bytes()[..], &[0; 6], &string("quotas")].concat();
        request.extend([&1_u32.to_be_bytes()[..]; 2].concat());
        request.extend([string("client-id"), string(&self.client_id)].concat());
        request.extend(1_u32.to_be_bytes());
        request.extend(string(self.entry));
        request.extend(self.rate.to_be_bytes());
        request.extend([u8::from(is_removed), u8::from(false)]);

        let broker = self.brokers.split(',').next().unwrap();
        let mut socket = TcpStream::connect(broker).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = u32::try_from(request.len()).unwrap();
        socket.write_all(&length.to_be_bytes()).unwrap();
        socket.write_all(&request).unwrap();

        // The length, the number of the request, a time, the number of entries, and the code of the first.
        let mut answer = [0; 18];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(answer[16..], [0, 0], "{answer:?}");
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        self.alter(true);
    }
}

fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// Returns a client name that no other test and no earlier run uses.
fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    format!(
        "throttled-{}-{}-{number}",
        now.as_millis(),
        std::process::id()
    )
}
