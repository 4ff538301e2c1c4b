//! A line on which both sides regularly send signs of life, from the card to the farewell.
//!
//! TCP detects a process whose machine is gone. It does not detect a process that hangs, because
//! the operating system continues to acknowledge data. So each side sends a sign of life four times
//! within the limit, and a side that has sent nothing for the whole limit is given up. A process
//! that was suspended itself first reads the messages that arrived in the meantime, and only then
//! checks the clock.

use std::io::{Error, ErrorKind, Result};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::line::{Line, Message, receive, send};

/// The number of signs of life that each side sends within the limit.
const BEATS: u32 = 4;
/// The capacity of the message queues: more than are ever sent at once.
const WAITING: usize = 8;

/// A line that tasks of its own keep alive. The tasks end when the value is dropped.
pub struct Pulse {
    heard: Receiver<Result<Message>>,
    said: Sender<Message>,
    hearing: AbortHandle,
    tasks: JoinSet<()>,
}

impl Pulse {
    /// Keeps a line alive. The other side must do the same.
    pub fn of(line: Line, limit: Duration) -> Self {
        let (reader, writer) = line.into_stream().into_split();
        Self::between(reader, writer, limit)
    }

    fn between(
        reader: impl AsyncRead + Unpin + Send + 'static,
        writer: impl AsyncWrite + Unpin + Send + 'static,
        limit: Duration,
    ) -> Self {
        let (to_hear, heard) = channel(WAITING);
        let (said, to_say) = channel(WAITING);
        let mut tasks = JoinSet::new();
        let hearing = tasks.spawn(hear(reader, to_hear, limit));
        tasks.spawn(say(writer, to_say, limit / BEATS));

        Self {
            heard,
            said,
            hearing,
            tasks,
        }
    }

    /// Sends a message.
    pub async fn say(&self, message: Message) -> Result<()> {
        self.said
            .send(message)
            .await
            .map_err(|_| ErrorKind::BrokenPipe.into())
    }

    /// Reads the next message that is not a sign of life.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] if the other side has sent nothing for the limit; other errors if
    /// the line is broken.
    pub async fn hear(&mut self) -> Result<Message> {
        self.heard
            .recv()
            .await
            .unwrap_or_else(|| Err(ErrorKind::ConnectionAborted.into()))
    }

    /// Returns whether the other side has not been given up.
    pub fn is_alive(&self) -> bool {
        !self.heard.is_closed()
    }

    /// Sends a farewell, and waits until it has been written to the line.
    pub async fn part(mut self) {
        // A broken line needs no farewell.
        let _ = self.said.send(Message::Farewell).await;
        drop(self.said);
        self.hearing.abort();
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn hear(mut from: impl AsyncRead + Unpin, to: Sender<Result<Message>>, limit: Duration) {
    loop {
        let heard = match timeout(limit, receive(&mut from)).await {
            Ok(Ok(Message::Beat)) => continue,
            Ok(heard) => heard,
            Err(_) => Err(Error::new(
                ErrorKind::TimedOut,
                format!("it has sent nothing for {limit:?}"),
            )),
        };
        let is_last = !matches!(&heard, Ok(message) if *message != Message::Farewell);

        if to.send(heard).await.is_err() || is_last {
            return;
        }
    }
}

async fn say(mut to: impl AsyncWrite + Unpin, mut from: Receiver<Message>, every: Duration) {
    loop {
        let message = match timeout(every, from.recv()).await {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(_) => Message::Beat,
        };
        // The task that reads reports the broken line.
        if send(&mut to, &message).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex, split};
    use tokio::time::{Instant, sleep};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn pulse(stream: DuplexStream) -> Pulse {
        let (reader, writer) = split(stream);
        Pulse::between(reader, writer, LIMIT)
    }

    #[tokio::test(start_paused = true)]
    async fn a_living_side_may_be_silent_for_any_time() {
        let (one, other) = duplex(1024);
        let mut one = pulse(one);
        let other = pulse(other);
        let waiting = tokio::spawn(async move { (one.hear().await.unwrap(), one) });
        sleep(LIMIT * 100).await;
        other.say(Message::Claimed { attempt: 7 }).await.unwrap();

        let (heard, one) = waiting.await.unwrap();
        assert_eq!(heard, Message::Claimed { attempt: 7 });
        assert!(one.is_alive());
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_hangs_is_given_up_after_the_limit() {
        let (one, hanging) = duplex(1024);
        let mut one = pulse(one);
        let begun = Instant::now();
        let error = one.hear().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "it has sent nothing for 10s");
        assert_eq!(begun.elapsed().as_secs(), 10);
        assert!(!one.is_alive());
        drop(hanging);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_side_is_noticed_at_once_and_a_parting_one_says_so() {
        let (one, other) = duplex(1024);
        let mut one = pulse(one);
        let other = pulse(other);
        let parting = tokio::spawn(other.part());

        assert_eq!(one.hear().await.unwrap(), Message::Farewell);
        drop(one);
        parting.await.unwrap();

        let (one, gone) = duplex(1024);
        let mut one = pulse(one);
        let begun = Instant::now();
        drop(gone);

        assert_ne!(one.hear().await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(begun.elapsed().as_secs() < 1);
    }
}
