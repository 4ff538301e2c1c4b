//! A line on which both sides say again and again that they live, from the card to the farewell.
//!
//! A process whose machine is gone is noticed by TCP. One that hangs is not: its system goes on to answer for it. So each
//! side says something four times within the limit, and one that has said nothing for all of it is given up. A process
//! that was itself asleep hears first what was said meanwhile, and only then looks at the clock.

use std::io::{Error, ErrorKind, Result};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::line::{Line, Message, receive, send};

/// How often each side says something within the limit.
const BEATS: u32 = 4;
/// How many messages may wait: more than are ever said at once.
const WAITING: usize = 8;

/// A line that is kept alive by tasks of its own. It ends with this value.
pub struct Pulse {
    heard: Receiver<Result<Message>>,
    said: Sender<Message>,
    hearing: AbortHandle,
    tasks: JoinSet<()>,
}

impl Pulse {
    /// Keeps a line alive whose other side does the same.
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

    /// Says something.
    pub async fn say(&self, message: Message) -> Result<()> {
        self.said
            .send(message)
            .await
            .map_err(|_| ErrorKind::BrokenPipe.into())
    }

    /// Hears something that is more than a sign of life.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] when the other side has said nothing for the limit; others when the line is broken.
    pub async fn hear(&mut self) -> Result<Message> {
        self.heard
            .recv()
            .await
            .unwrap_or_else(|| Err(ErrorKind::ConnectionAborted.into()))
    }

    /// The other side has not been given up.
    pub fn is_alive(&self) -> bool {
        !self.heard.is_closed()
    }

    /// Says farewell, and waits until it is on its way.
    pub async fn part(mut self) {
        // A line that is broken needs no farewell.
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
                format!("it has said nothing for {limit:?}"),
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
        // Who hears will find the line broken.
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
    async fn a_side_that_lives_is_waited_for_however_long_it_has_nothing_to_say() {
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
        assert_eq!(error.to_string(), "it has said nothing for 10s");
        assert_eq!(begun.elapsed().as_secs(), 10);
        assert!(!one.is_alive());
        drop(hanging);
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_goes_away_is_noticed_at_once_and_one_that_parts_has_said_so() {
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
