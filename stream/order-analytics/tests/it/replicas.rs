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
/// The time limit of a step of the test. A correct step takes less time.
const PATIENCE: Duration = Duration::from_secs(120);
/// Short time limits of a transaction, after which a client returns why the brokers refuse its records.
const LIMITS: [&[&str]; 2] = [
    &["--property", "transaction.timeout.ms=6000"],
    &[
        "--property",
        "transaction.timeout.ms=6000",
        "--property",
        "message.timeout.ms=4000",
        "--property",
        "socket.timeout.ms=5000",
    ],
];

/// A job of one client, and the address of its pages.
struct Watched<'a> {
    client: &'static str,
    shop: &'a Shop,
    living: Living<'a>,
    address: String,
}

impl<'a> Watched<'a> {
    fn start(client: &'static str, limits: &[&str], shop: &'a Shop) -> Self {
        let [port] = free_ports();
        let address = format!("127.0.0.1:{port}");
        let own = ["--answer-limit", "5s", "--status-address", &address];
        let further = [&own[..], limits].concat();
        Self {
            client,
            shop,
            living: Living::with(shop, client, &further),
            address,
        }
    }

    /// Returns the answer of the readiness route: its status line, headers and sentence.
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
        shop.produce_now(1);
    }
    let mut jobs: Vec<_> = CLIENTS
        .into_iter()
        .zip(LIMITS)
        .zip(&shops)
        .map(|((client, limits), shop)| Watched::start(client, limits, shop))
        .collect();
    await_results(&mut jobs, 1);

    // A machine that loses its power, and one that keeps its connections and answers nothing. With the second,
    // something else may fail before the results do.
    let results = |job: &Watched| job.shop.topic("results");
    cluster.brokers[AWAY].kill();
    await_reports(&jobs, 2, |job, report| {
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
    await_results(&mut jobs, 2);

    cluster.brokers[AWAY].freeze();
    await_reports(&jobs, 3, |_, _| true);
    cluster.brokers[AWAY].thaw();
    await_results(&mut jobs, 3);

    for job in jobs {
        assert_explained(&job);
        let Watched {
            client,
            shop,
            living,
            ..
        } = job;
        drop(living);
        shop.run(&SECONDS).unwrap();
        let counted: Vec<(u64, u64)> = shop.windows().into_values().collect();
        assert_eq!(counted, [(1, 1), (2, 1), (3, 1)], "{client}");
    }
}

/// Checks that no line hides the cause behind a moment that was left for an answer, or behind a code.
fn assert_explained(job: &Watched) {
    let logged = job.living.logged();
    let lines = logged.lines().filter(|line| line.contains("not published"));
    for line in lines {
        assert!(!line.contains("within 1 ms"), "{}: {line}", job.client);
        let is_bare =
            line.contains("CONCURRENT_TRANSACTIONS") || line.contains("Timed out waiting");
        assert!(
            !is_bare || line.contains("start the brokers that are away"),
            "{}: {line}",
            job.client
        );
    }
}

/// Publishes an order while a broker is away, and waits until each job is not ready, with an expected report.
fn await_reports(jobs: &[Watched], user: u64, is_it: impl Fn(&Watched, &str) -> bool + Sync) {
    for job in jobs {
        job.shop.produce_now(user);
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

/// Waits for the results of an order when all brokers are there.
fn await_results(jobs: &mut [Watched], user: u64) {
    for job in jobs {
        job.living.await_users(&[user]);
        job.await_readiness(|report| report.contains("200 OK"));
    }
}
