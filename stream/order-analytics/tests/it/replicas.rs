//! A topic of results with two replicas, one of whose brokers is away: `min.insync.replicas` is 2, so its leader takes
//! no record. The job of either client is not ready, names the partition and the setting, and goes on by itself when
//! the broker is back. No order is lost and no row is repeated.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use record_log::Cleanup;

use crate::broker::{NEWEST, create_when_ready, free_ports};
use crate::cluster::Cluster;
use crate::kafka::Shop;
use crate::living::{Living, SECONDS};

const CLIENTS: [&str; 2] = ["native", "rdkafka"];
/// The nodes that have the results.
const REPLICAS: [i32; 2] = [1, 2];
/// The place of the one that is away. The other topics have a third replica.
const AWAY: usize = 1;
/// A limit longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(120);

/// A job of one client, and the address of its pages.
struct Watched<'a> {
    client: &'static str,
    shop: &'a Shop,
    living: Living<'a>,
    address: String,
}

impl<'a> Watched<'a> {
    fn start(client: &'static str, shop: &'a Shop) -> Self {
        let [port] = free_ports();
        let address = format!("127.0.0.1:{port}");
        let further = ["--answer-limit", "5s", "--status-address", &address];
        Self {
            client,
            shop,
            living: Living::with(shop, client, &further),
            address,
        }
    }

    /// The answer to a question about readiness: its status line, headers and sentence.
    fn readiness(&self) -> String {
        let ask = || {
            let mut stream = TcpStream::connect(&self.address)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(
                b"GET /health/ready HTTP/1.1\r\nHost: job\r\nConnection: close\r\n\r\n",
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        };
        ask().unwrap_or_default()
    }

    /// Waits for an expected answer.
    fn await_readiness(&self, is_it: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        loop {
            let answer = self.readiness();
            if is_it(&answer) {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{}: another report is expected: {answer}; {}",
                self.client,
                self.living.logged()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Creates the topic of results on two of the brokers.
fn create_results(cluster: &Cluster, shop: &Shop) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &cluster.addresses)
        .create()
        .unwrap();
    let results = shop.topic("results");
    let topic = NewTopic::new(&results, 1, TopicReplication::Variable(&[&REPLICAS]))
        .set("min.insync.replicas", "2")
        .set("message.timestamp.type", "LogAppendTime");
    let created = block_on(admin.create_topics([&topic], &AdminOptions::new()));
    created.unwrap().remove(0).unwrap();
}

#[test]
fn too_few_replicas_make_a_job_not_ready_and_it_goes_on_when_they_are_back() {
    let Some(mut cluster) = Cluster::start(NEWEST, &[], |_, _| String::new()) else {
        return;
    };
    let shops = CLIENTS.map(|_| Shop::at(cluster.addresses.clone()));
    create_when_ready(&*shops[0].log, &["ready"]);
    for shop in &shops {
        shop.create(&shop.input(), Cleanup::Delete);
        create_results(&cluster, shop);
        shop.publish(&[1, 2, 3, 4]);
    }
    let mut jobs: Vec<_> = CLIENTS
        .into_iter()
        .zip(&shops)
        .map(|(client, shop)| Watched::start(client, shop))
        .collect();
    for job in &mut jobs {
        job.living.await_users(&[1, 2, 3]);
        job.await_readiness(|report| report.contains("200 OK"));
    }

    // A machine that loses its power, and one that keeps its connections and answers nothing. Under the second, the first
    // thing that fails may be something else than the results.
    let results = |job: &Watched| job.shop.topic("results");
    cluster.brokers[AWAY].kill();
    await_reports(&jobs, [5, 6], |job, report| {
        let topic = results(job);
        let named = [
            "partition 0",
            "NOT_ENOUGH_REPLICAS",
            "min.insync.replicas",
            "start the brokers that are away",
        ];
        report.contains(&topic) && named.iter().all(|it| report.contains(it))
    });
    cluster.brokers[AWAY].spawn();
    await_results(&mut jobs, 5);

    cluster.brokers[AWAY].freeze();
    await_reports(&jobs, [7, 8], |_, _| true);
    cluster.brokers[AWAY].thaw();
    await_results(&mut jobs, 7);

    for job in jobs {
        let Watched {
            client,
            shop,
            living,
            ..
        } = job;
        drop(living);
        shop.run(&SECONDS).unwrap();
        let counted: Vec<(u64, u64)> = shop.windows().into_values().collect();
        let expected: Vec<(u64, u64)> = (1..=8).map(|user| (user, 1)).collect();
        assert_eq!(counted, expected, "{client}");
    }
}

/// Publishes orders while a broker is away, and waits until each job is not ready, with an expected report.
fn await_reports(jobs: &[Watched], users: [u64; 2], is_it: impl Fn(&Watched, &str) -> bool + Sync) {
    for job in jobs {
        job.shop.produce(&users);
    }
    std::thread::scope(|scope| {
        for job in jobs {
            let is_it = &is_it;
            scope.spawn(move || {
                job.await_readiness(|report| report.contains("503") && is_it(job, report));
            });
        }
    });
}

/// Waits for the results of an order when the broker is back.
fn await_results(jobs: &mut [Watched], user: u64) {
    for job in jobs {
        job.living.await_users(&[user]);
        job.await_readiness(|report| report.contains("200 OK"));
    }
}
