//! A job's reports about itself: `/health/ready` and `/status`, read repeatedly.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use reqwest::blocking::Client;

use super::CutOffError;

/// The pause between two reads.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// The time limit for the answer of a status page.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Reads the reports of one job.
pub struct Witness {
    client: &'static str,
    base: String,
    folder: String,
    http: Client,
}

/// An answer of `/health/ready`.
#[derive(Debug)]
struct Answer {
    status: u16,
    text: String,
}

impl Witness {
    /// Returns a witness of the job that serves its status at `address`.
    pub fn new(client: &'static str, address: &str, folder: &Path) -> Result<Self, CutOffError> {
        let http = Client::builder().timeout(ANSWERS_WITHIN).build();
        let http = http.map_err(std::io::Error::other)?;

        Ok(Self {
            client,
            base: format!("http://{address}"),
            folder: folder.display().to_string(),
            http,
        })
    }

    /// Returns the job's client of Kafka.
    pub fn client(&self) -> &'static str {
        self.client
    }

    /// Returns an error that names the job.
    pub fn error(&self, reason: String) -> CutOffError {
        CutOffError::Readiness {
            client: self.client,
            reason,
            folder: self.folder.clone(),
        }
    }

    /// Waits until the job is ready.
    pub fn await_ready(&self, limit: Duration) -> Result<(), CutOffError> {
        let begun = Instant::now();
        let answer = self.ask_until(limit, |answer| answer.status == 200)?;
        println!(
            "client {}: ready after {:.1} s: {}",
            self.client,
            begun.elapsed().as_secs_f64(),
            answer.text.trim()
        );
        Ok(())
    }

    /// Waits until the job is not ready and names one of these partitions and none of the others,
    /// and compares its status with that.
    pub fn await_named(
        &self,
        limit: Duration,
        silent: &[u32],
        others: &[u32],
    ) -> Result<(), CutOffError> {
        let begun = Instant::now();
        let answer = self.ask_until(limit, |answer| {
            answer.status == 503 && silent.iter().all(|it| names(&answer.text, *it))
        })?;

        println!(
            "client {}: not ready after {:.1} s: {}",
            self.client,
            begun.elapsed().as_secs_f64(),
            answer.text.trim()
        );

        if let Some(other) = others.iter().find(|it| names(&answer.text, **it)) {
            return Err(self.error(format!("partition {other} answers, but {:?}", answer.text)));
        }

        self.await_trouble(limit)
    }

    /// Waits until the status has a trouble that names a partition.
    fn await_trouble(&self, limit: Duration) -> Result<(), CutOffError> {
        let begun = Instant::now();
        let mut troubles = String::new();
        while begun.elapsed() < limit {
            if let Some(status) = self.get("/status") {
                let status: serde_json::Value =
                    serde_json::from_str(&status.text).map_err(std::io::Error::from)?;
                troubles = status["troubles"].to_string();
                if troubles.contains("neither a record nor a confirmed end") {
                    return Ok(());
                }
            }
            sleep(ASK_EVERY);
        }

        Err(self.error(format!("no trouble names a partition: {troubles}")))
    }

    fn ask_until(
        &self,
        limit: Duration,
        is_so: impl Fn(&Answer) -> bool,
    ) -> Result<Answer, CutOffError> {
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < limit {
            match self.get("/health/ready") {
                Some(answer) if is_so(&answer) => return Ok(answer),
                answer => last = answer.or(last),
            }
            sleep(ASK_EVERY);
        }

        Err(self.error(format!(
            "for {} s /health/ready does not give the expected answer; its last answer: {last:?}",
            limit.as_secs()
        )))
    }

    /// Sends a request and returns the answer; none if there is none.
    fn get(&self, path: &str) -> Option<Answer> {
        let response = self.http.get(format!("{}{path}", self.base)).send().ok()?;
        Some(Answer {
            status: response.status().as_u16(),
            text: response.text().ok()?,
        })
    }
}

/// Returns `true` if a sentence of `/health/ready` reports the partition as silent: `partition 1 of
/// topic …, nor has partition 3: …`, or `…, nor have partitions 3, 5: …`.
fn names(sentence: &str, partition: u32) -> bool {
    let silent = sentence
        .split(": it is read up to")
        .next()
        .unwrap_or(sentence);
    let words: Vec<&str> = silent
        .split(|c: char| c.is_whitespace() || c == ',' || c == ':')
        .filter(|word| !word.is_empty())
        .collect();

    let number = partition.to_string();
    words
        .windows(2)
        .any(|pair| pair[0].starts_with("partition") && pair[1] == number)
        || silent
            .split("partitions ")
            .nth(1)
            .is_some_and(|listed| listed.split(", ").any(|listed| listed == number))
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_sentence_names_the_silent_partitions_and_no_other() {
        let sentence = |others: &str| {
            format!(
                "partition 1 of topic \"orders\" has given neither a record nor a confirmed end since 2026-11-28T10:00:00Z{others}: \
                 it is read up to offset 3, and its end was never confirmed; partition 7"
            )
        };

        let named = |others: &str| {
            (0..9)
                .filter(|it| names(&sentence(others), *it))
                .collect::<Vec<_>>()
        };
        assert_eq!(named(""), [1]);
        assert_eq!(named(", nor has partition 3"), [1, 3]);
        assert_eq!(named(", nor have partitions 3, 5"), [1, 3, 5]);
        assert!(!names("no attempt is running\n", 1));
    }
}
