//! The native client reads from a follower in its rack (KIP-392). The bytes come from there, the follower may freeze or
//! die, and no end is dated by the follower alone.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use record_log::{LogError, Polled, Reader};

use crate::broker::{Client, NEWEST, create_when_ready, spec};
use crate::cluster::{Cluster, NODES, Ports};
use crate::leaders::{Trouble, await_until, noise};

const TOPIC: &str = "followed";
/// The number of records that are published before each trouble. Each is a batch of its own.
const RECORDS: u64 = 8;
/// The time without an answer after which a client gives up a broker.
const SILENCE_MS: &str = "3000";
/// A time limit that is longer than an absent replica takes to leave those in sync, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A proxy in front of a broker. It counts the bytes that clients receive.
struct Proxy {
    listener: TcpListener,
    received_bytes: AtomicU64,
}

impl Proxy {
    fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            received_bytes: AtomicU64::new(0),
        }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Passes connections on to the broker's port until the process ends.
    fn serve(self: &Arc<Self>, broker_port: u16) {
        let proxy = Arc::clone(self);
        std::thread::spawn(move || {
            for client in proxy.listener.incoming() {
                let client = client.unwrap();
                if let Ok(broker) = TcpStream::connect(("127.0.0.1", broker_port)) {
                    proxy.join(client, broker);
                }
            }
        });
    }

    fn join(self: &Arc<Self>, client: TcpStream, broker: TcpStream) {
        let asking = client.try_clone().unwrap();
        let asked = broker.try_clone().unwrap();
        std::thread::spawn(move || pass_on(asking, asked, |_| ()));

        let proxy = Arc::clone(self);
        let count = move |bytes| {
            proxy.received_bytes.fetch_add(bytes, Ordering::SeqCst);
        };
        std::thread::spawn(move || pass_on(broker, client, count));
    }

    fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::SeqCst)
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, count: impl Fn(u64)) {
    let mut buffer = [0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        count(read as u64);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

#[test]
fn a_follower_in_the_rack_is_read_until_it_freezes_or_dies() {
    let proxies = [(); NODES].map(|()| Arc::new(Proxy::new()));
    let further = |node: usize, ports: Ports| {
        proxies[node].serve(ports.client);
        settings(node, ports, proxies[node].port())
    };
    let Some(mut cluster) = Cluster::start(NEWEST, &[], further) else {
        return;
    };

    let log = Client::Native.open(&cluster.addresses, &[]);
    create_when_ready(&*log, &["ready"]);
    await_until(
        || log.ensure_topics(&[spec(TOPIC, 1)]).is_ok(),
        || "a topic".to_owned(),
    );

    let mut published = 0;
    for trouble in [Trouble::Frozen, Trouble::Killed] {
        publish(&cluster, published..published + RECORDS);
        published += RECORDS;
        let mut followed = Followed::new(&cluster, &proxies, published);

        trouble.begin(&mut cluster.brokers[followed.follower]);
        followed.go_on(&cluster);
        published += 1;
        trouble.end(&mut cluster.brokers[followed.follower]);
    }
}

/// Returns the settings of a node. Each node is a rack. Clients connect through its proxy, other brokers directly.
fn settings(node: usize, ports: Ports, proxy: u16) -> String {
    let Ports {
        client,
        controller,
        internal,
    } = ports;
    format!(
        "broker.rack=rack-{node}
replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector
listeners=PLAINTEXT://127.0.0.1:{client},INTERNAL://127.0.0.1:{internal},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{proxy},INTERNAL://127.0.0.1:{internal}
inter.broker.listener.name=INTERNAL
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT
"
    )
}

/// Publishes records with these numbers by another client, and returns a moment at which they were committed.
fn publish(cluster: &Cluster, numbers: Range<u64>) -> u64 {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &cluster.addresses)
        .set("enable.idempotence", "true")
        .create()
        .unwrap();
    let noise = noise(7);
    for number in numbers {
        let value = format!("{number} {noise}");
        let record = BaseRecord::<(), _>::to(TOPIC).partition(0).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    producer.flush(PATIENCE).unwrap();
    now_ms()
}

fn now_ms() -> u64 {
    u64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// A reader in the rack of a follower, which has read everything from there.
struct Followed {
    follower: usize,
    published: u64,
    reader: Box<dyn Reader>,
}

impl Followed {
    fn new(cluster: &Cluster, proxies: &[Arc<Proxy>], published: u64) -> Self {
        await_until(
            || in_sync(cluster) == NODES,
            || "all replicas in sync".to_owned(),
        );
        let leader = cluster.leaders(TOPIC)[0].unwrap();
        let follower = (leader + 1) % NODES;
        let rack = format!("rack-{follower}");
        let properties = [("client.rack", &*rack), ("socket.timeout.ms", SILENCE_MS)];
        let log = Client::Native.open(&cluster.addresses, &properties);

        let received = || [leader, follower].map(|node| proxies[node].received_bytes());
        let before = received();
        let mut reader = log.reader(TOPIC, &[(0, 0)]).unwrap();
        let mut read = 0;
        await_until(
            || poll(&mut *reader, &mut read).is_at_end() && read >= published,
            || format!("{published} records"),
        );

        let after = received();
        let [from_leader, from_follower] = [0, 1].map(|node| after[node] - before[node]);
        let records_bytes = published * noise(7).len() as u64;
        assert!(
            from_follower >= records_bytes && from_leader < records_bytes / 4,
            "of {records_bytes} bytes, {from_leader} came from the leader and {from_follower} from the follower"
        );

        Self {
            follower,
            published,
            reader,
        }
    }

    /// Checks that a record that is published meanwhile is read, and that no end below it is dated after it.
    fn go_on(&mut self, cluster: &Cluster) {
        let reader = &mut *self.reader;
        let published = self.published;
        let mut read = published;
        let committed_ms = AtomicU64::new(u64::MAX);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let committed = publish(cluster, published..published + 1);
                committed_ms.store(committed, Ordering::SeqCst);
            });

            await_until(
                || {
                    let committed_ms = committed_ms.load(Ordering::SeqCst);
                    let polled = poll(reader, &mut read);
                    let dated_ms = polled.end_as_of_ms.unwrap_or(0);
                    let is_read = read > published;
                    assert!(is_read || dated_ms <= committed_ms, "{polled:?}");
                    is_read && dated_ms > committed_ms
                },
                || format!("record {published}"),
            );
        });
    }
}

/// Reads the available records, and checks their order.
fn poll(reader: &mut dyn Reader, read: &mut u64) -> Polled {
    let polled = reader.poll(0, 1_000, &mut |record| {
        let value = std::str::from_utf8(record.value.unwrap()).unwrap();
        let number = value.split(' ').next().unwrap();
        assert_eq!(number.parse::<u64>().unwrap(), *read);
        *read += 1;
    });
    match polled {
        Ok(polled) => polled,
        Err(LogError::Unavailable(_)) => Polled {
            records: 0,
            next_offset: 0,
            end_as_of_ms: None,
        },
        Err(error) => panic!("{error}"),
    }
}

fn in_sync(cluster: &Cluster) -> usize {
    let found = cluster
        .witness
        .fetch_metadata(Some(TOPIC), Duration::from_secs(1));
    let partitions = found.map(|found| found.topics()[0].partitions()[0].isr().len());
    partitions.unwrap_or(0)
}
