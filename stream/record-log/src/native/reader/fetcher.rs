//! A fetcher: a thread that fetches partitions from one broker, their leader or a follower, over one connection and in
//! one session.
//!
//! It sends a request as soon as a partition has no fetched bytes that wait for the reader, and stores the answer.
//! While the reader walks the bytes that it took, the next answer is in flight.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Fetching;
use super::fetch::{Answer, Fetched, Gather, Session, Wanted};
use super::frames::SharedFrame;
use super::shared::plan::Plan;
use super::shared::{End, Found, Shared, State};
use crate::Refusal;
use crate::native::admin::{ask_written_ends, read_partitions};
use crate::native::api::{Code, FETCH, LIST_OFFSETS};
use crate::native::cluster::{Cluster, Leader};
use crate::native::errors::denied;
use crate::native::wire::{Connection, WireError};
use crate::refusal::throttled_reader;

/// The time that it waits when other partitions may be wanted any moment.
const LEAST_WAIT: Duration = Duration::from_millis(5);

/// Fetches from one broker.
pub(super) struct Fetcher {
    cluster: Arc<Cluster>,
    shared: Arc<Shared>,
    node: i32,
    link: Option<(Connection, Session)>,
    wait: Duration,
    /// The number of partitions that were full at the previous request.
    full: usize,
}

impl Fetcher {
    pub fn new(cluster: &Arc<Cluster>, shared: &Arc<Shared>, node: i32) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            shared: Arc::clone(shared),
            node,
            link: None,
            wait: shared.fetching.wait,
            full: 0,
        }
    }

    /// Fetches until the reader closes.
    pub fn run(&mut self) {
        let shared = Arc::clone(&self.shared);
        while let Some(plan) = shared.wait_for(|state| state.plan(self.node)) {
            match self.fetch(&plan) {
                Ok(throttle) if throttle.is_zero() => {}
                Ok(throttle) => shared.pause(throttle),
                Err(error) => self.give_up(&error),
            }
        }
    }

    /// Sends one request and receives its answer. Returns the time for which the broker throttles the next one.
    fn fetch(&mut self, plan: &Plan) -> Result<Duration, WireError> {
        let (mut connection, mut session) = self.take_link()?;
        self.confirm_ends(&mut connection, &plan.unconfirmed)?;
        if plan.wanted.is_empty() {
            self.link = Some((connection, session));
            return Ok(Duration::ZERO);
        }

        let shared = Arc::clone(&self.shared);
        let gather = self.gather(plan, &shared.fetching);
        let topic = self.shared.topic_id;
        let mut frame = self.shared.frames.take();

        // The date of the ends in the answer: a moment before the request is sent.
        let as_of_ms = self.shared.runtime.now_ms();
        connection.send(FETCH, self.cluster.request_limit(), |output| {
            session.ask(output, &topic, &plan.wanted, gather);
        })?;

        let start = connection.receive(gather.wait + self.cluster.request_limit(), &mut frame)?;
        let answer = Answer::read(&frame.bytes()[start..], &topic)
            .map_err(|source| connection.malformed(FETCH, source))?;
        let throttle = answer.throttle;

        let frame = self.shared.frames.share(frame);
        match answer.code {
            Code::NONE => {
                session.advance(answer.session_id);
                self.distribute(plan, answer, &(frame, start), as_of_ms);
            }
            // The broker dropped the session for others; the next request opens a new one.
            Code::FETCH_SESSION_ID_NOT_FOUND
            | Code::INVALID_FETCH_SESSION_EPOCH
            | Code::FETCH_SESSION_TOPIC_ID_ERROR => session = Session::default(),
            code => {
                let subject = format!("topic {:?}", self.shared.topic);
                return Err(connection.refused(FETCH, subject, code));
            }
        }

        self.link = Some((connection, session));
        Ok(throttle)
    }

    /// Requests the ends of partitions that the broker has begun to lead, or that are read from followers. The answers
    /// to Fetch of a new leader may contain ends that are too low. It refuses ListOffsets until its end is correct
    /// ([KIP-207]); then the next fetch tries again.
    ///
    /// [KIP-207]: https://cwiki.apache.org/confluence/display/KAFKA/KIP-207
    fn confirm_ends(
        &self,
        connection: &mut Connection,
        unconfirmed: &[(i32, i32)],
    ) -> Result<(), WireError> {
        if unconfirmed.is_empty() {
            return Ok(());
        }

        let as_of_ms = self.shared.runtime.now_ms();
        let listed = connection.call(
            LIST_OFFSETS,
            self.cluster.request_limit(),
            |output| ask_written_ends(output, &self.shared.topic, unconfirmed),
            read_partitions,
        )?;

        let mut is_news = false;
        let mut state = self.shared.state();
        for found in listed.iter().filter(|found| found.code == Code::NONE) {
            let asked = unconfirmed.iter();
            let mut epochs = asked.filter(|(partition, _)| *partition == found.partition);
            if let Some((partition, epoch)) = epochs.next() {
                let leader = Leader {
                    node: self.node,
                    epoch: *epoch,
                };
                let end = End {
                    offset: found.offset,
                    as_of_ms,
                };
                is_news |= state.take_end(*partition, leader, end);
            }
        }

        drop(state);
        if is_news {
            self.shared.wake();
        }
        Ok(())
    }

    fn take_link(&mut self) -> Result<(Connection, Session), WireError> {
        if let Some(link) = self.link.take() {
            return Ok(link);
        }

        let address = self.cluster.address(self.node);
        let address =
            address.ok_or_else(|| WireError::NoLeader(format!("broker {}", self.node)))?;
        Ok((self.cluster.connect(&address)?, Session::default()))
    }

    /// Returns the parameters of the next request. While a request waits at the broker, partitions that the reader
    /// takes meanwhile are not fetched. So the wait is short while the reader takes partitions, and grows while it
    /// takes none.
    fn gather<'a>(&mut self, plan: &Plan, fetching: &'a Fetching) -> Gather<'a> {
        self.wait = match plan.full {
            0 => fetching.wait,
            full if full == self.full => (self.wait * 2).min(fetching.wait),
            _ => LEAST_WAIT.min(fetching.wait),
        };

        self.full = plan.full;
        Gather {
            wait: self.wait,
            least_bytes: fetching.least_bytes,
            max_bytes: fetching.answer_bytes,
            rack: if plan.may_follow { &fetching.rack } else { "" },
        }
    }

    /// Stores the answer, and confirms the ends of the partitions that the answer leaves out, because they have not
    /// changed. A broker that throttles leaves out changed ones too, so its answer confirms nothing.
    pub fn distribute(
        &self,
        plan: &Plan,
        answer: Answer,
        (frame, start): &(SharedFrame, usize),
        as_of_ms: u64,
    ) {
        let mut asked: BTreeMap<i32, &Wanted> = plan
            .wanted
            .iter()
            .map(|wanted| (wanted.partition, wanted))
            .collect();

        let mut is_news = false;
        let mut state = self.shared.state();
        for mut fetched in answer.partitions {
            let Some(wanted) = asked.remove(&fetched.partition) else {
                continue;
            };
            if !state.is_read_from(wanted.partition, self.node) {
                continue;
            }
            fetched.records.start += start;
            fetched.records.end += start;
            is_news |= self.store(&mut state, wanted, fetched, frame, as_of_ms);
        }

        let throttled = self.throttled(answer.throttle);
        for partition in asked.into_keys() {
            if !state.is_read_from(partition, self.node) {
                continue;
            }
            match &throttled {
                None => state.confirm_end(partition, as_of_ms),
                Some(reason) => state.throttle(partition, reason),
            }
        }
        drop(state);
        self.shared.notify();

        if is_news {
            self.shared.wake();
        }
    }

    /// Returns the sentence about a throttle; none if the broker does not throttle.
    fn throttled(&self, throttle: Duration) -> Option<Arc<str>> {
        let throttle_ms = throttle.as_millis();
        (throttle_ms > 0).then(|| throttled_reader(self.node, throttle_ms).into())
    }

    /// Returns `true` if there is something new for the reader.
    fn store(
        &self,
        state: &mut State,
        wanted: &Wanted,
        fetched: Fetched,
        frame: &SharedFrame,
        as_of_ms: u64,
    ) -> bool {
        let code = fetched.code;
        if code == Code::NONE && fetched.diverged_at.is_none() {
            let follower = fetched.follower.filter(|follower| *follower != self.node);
            let is_news = state.store(wanted, fetched, frame, as_of_ms);
            state.follow(wanted.partition, follower);
            return is_news;
        }

        let Some(slot) = state.slot_of(fetched.partition) else {
            return false;
        };

        let topic = &self.shared.topic;
        let partition = fetched.partition;
        if slot.replica.follower().is_some() {
            tracing::warn!(
                topic, partition, broker = self.node, offset = wanted.offset, refused = %code,
                "a follower refused Fetch; the leader is read instead for a while"
            );
            slot.leave_follower(self.shared.runtime.now());
            return false;
        }

        if let Some(offset) = fetched.diverged_at {
            tracing::error!(
                topic,
                partition,
                read_up_to = wanted.offset,
                differs_from = offset,
                "the leader's log differs from the records read before: records were lost by an unclean election"
            );
            slot.found = Some(Found::Lost);
        } else if code == Code::OFFSET_OUT_OF_RANGE {
            slot.found = Some(Found::Lost);
        } else if code.is_passing() {
            slot.lose_leader(None);
        } else if code.is_denial() {
            slot.found = Some(Found::Refused(denied(
                FETCH.name,
                &format!("topic {topic:?}"),
                code,
            )));
        } else {
            slot.found = Some(Found::Refused(Refusal::new(format!(
                "broker {} refused Fetch for partition {partition} of topic {topic:?}: {code}",
                self.node
            ))));
        }

        true
    }

    /// Gives up the broker, which cannot be fetched from. For the partitions that it leads, a leader is looked up after
    /// a pause. Those that were read from it as a follower go back to their leaders.
    fn give_up(&mut self, error: &WireError) {
        self.link = None;
        self.cluster.note_failed(error);
        let found = Found::from(error);
        let now = self.shared.runtime.now();

        let mut state = self.shared.state();
        for slot in &mut state.slots {
            if slot.leader.is_some_and(|leader| leader.node == self.node) {
                slot.lose_leader(Some(found.clone()));
            } else if slot.source() == Some(self.node) {
                slot.leave_follower(now);
            }
        }

        drop(state);
        self.shared.notify();
        self.shared.wake();
    }
}
