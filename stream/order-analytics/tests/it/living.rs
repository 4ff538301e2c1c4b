//! A job in a process of its own, which runs while a test changes its topics or rights.

use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::kafka::Shop;
use crate::lines::line_with;

/// Longer than a publisher waits for a topic that is gone.
const PATIENCE: Duration = Duration::from_secs(180);
/// Settings of windows that the next order closes.
pub const SECONDS: [&str; 4] = ["--window", "1s", "--disorder", "0s"];

/// The job of a shop in a process of its own, which ends with this value.
pub struct Living<'a> {
    shop: &'a Shop,
    child: Child,
    folder: TempDir,
}

impl<'a> Living<'a> {
    /// Starts a job whose windows are a second long, so that most are closed by the next order.
    pub fn start(shop: &'a Shop, client: &str) -> Self {
        Self::with(shop, client, &[])
    }

    /// Starts a job as [`Living::start`] does, with further arguments.
    pub fn with(shop: &'a Shop, client: &str, further: &[&str]) -> Self {
        Self::of(shop, client, &[&SECONDS, further].concat())
    }

    /// Starts a job with these settings, which reads on at the end of the topic.
    pub fn of(shop: &'a Shop, client: &str, settings: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let output = File::create(folder.path().join("logged")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_order-analytics"))
            .args(["--brokers", &shop.brokers, "--client", client])
            .args(["--log", "info"])
            .args(shop.arguments(settings).iter().skip(1))
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .stdin(Stdio::null())
            .spawn();

        Self {
            shop,
            child: child.unwrap(),
            folder,
        }
    }

    /// Waits until these users have rows.
    pub fn await_users(&mut self, users: &[u64]) {
        self.until(&format!("rows of {users:?}"), |living| {
            living.has_users(users)
        });
    }

    fn has_users(&self, users: &[u64]) -> bool {
        let found: Vec<u64> = self.shop.rows().iter().map(|row| row.user_id).collect();
        users.iter().all(|user| found.contains(user))
    }

    /// Waits as [`Living::await_users`] does, and calls `busy` at each look.
    pub fn await_users_while(&mut self, users: &[u64], busy: impl Fn()) {
        self.until(&format!("rows of {users:?}"), |living| {
            busy();
            living.has_users(users)
        });
    }

    /// Waits until a topic of the job holds so many committed records.
    pub fn await_records(&mut self, kind: &str, count: usize) {
        let topic = self.shop.topic(kind);
        self.until(&format!("{count} records of {topic}"), |living| {
            living.shop.found(&topic).len() >= count
        });
    }

    /// Waits until the job has logged a line that contains all of these.
    pub fn await_line(&mut self, named: &[&str]) {
        self.until(&format!("a line with {named:?}"), |living| {
            line_with(&living.logged(), named).is_some()
        });
    }

    /// Waits until the process has ended.
    pub fn await_end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the job is expected to end: {}",
                self.logged()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Suspends the process.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Ends [`Living::freeze`].
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    pub fn logged(&self) -> String {
        fs::read_to_string(self.folder.path().join("logged")).unwrap()
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success(), "{signal}");
    }

    /// Waits until `is_so`, which is called again and again while the process lives.
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "expected: {what}; {ended:?}; {}",
                self.logged()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Living<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
