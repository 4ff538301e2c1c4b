//! Produce: batches are appended, and acknowledged when the followers have them.

use super::answers::body_with;
use super::coordinator::Named;
use super::event::{Appended, Event, Fault, Outcome, Place, Request};
use super::kafka::Kafka;
use super::machine::Machine;
use super::partition::{Produced, produced};
use crate::native::api::Code;
use crate::native::codec::{Input, Output};

/// The most tries of a broker to add a partition, and the pause between them.
const MOST_WAITS: u32 = 20;
const WAIT_US: u64 = 20_000;

/// A batch in a request.
struct Batch {
    topic: String,
    partition: i32,
    bytes: Vec<u8>,
}

/// Reads the transactional id and the batches of a request.
fn read(input: &mut Input<'_>) -> (Option<String>, Vec<Batch>) {
    let id = input.nullable_string().unwrap().map(str::to_owned);
    assert_eq!(input.i16(), Ok(-1), "all replicas acknowledge");
    input.i32().unwrap();

    let topics = input.array(|topic| {
        let name = topic.string()?.to_owned();
        let batches = topic.array(|partition| {
            let index = partition.i32()?;
            let bytes = partition.nullable_bytes()?.unwrap().to_vec();
            partition.skip_tags()?;
            Ok(Batch {
                topic: name.clone(),
                partition: index,
                bytes,
            })
        })?;
        topic.skip_tags()?;
        Ok(batches)
    });
    (id, topics.unwrap().into_iter().flatten().collect())
}

impl Kafka {
    pub fn produce(&mut self, mut request: Request, machine: &mut Machine) {
        let read = read(&mut Input::new(request.body()));
        let id = read.0;
        let batches = read.1;
        let mut outcomes = Vec::new();
        for batch in &batches {
            let place = self.topic(&batch.topic);
            let place = place.map(|topic| (topic, batch.partition as usize));
            outcomes.push(Outcome {
                topic: batch.topic.clone(),
                partition: batch.partition,
                place,
                result: self.append(&request, id.as_deref(), place, &batch.bytes, machine),
            });
        }

        // Partitions are added before any batch is appended, so no batch of the request was.
        let is_early = |outcome: &Outcome| outcome.result == Err(Code::CONCURRENT_TRANSACTIONS);
        if outcomes.iter().all(is_early) && request.waits < MOST_WAITS {
            request.waits += 1;
            machine.after(WAIT_US, Event::Again(request));
            return;
        }

        self.links.release(machine);
        let delay_us = match machine.draw(20) {
            0 => machine.draw(400_000),
            _ => machine.draw(3_000),
        };
        machine.after(delay_us, Event::Replicated(Appended { request, outcomes }));
    }

    fn append(
        &mut self,
        request: &Request,
        id: Option<&str>,
        place: Option<Place>,
        bytes: &[u8],
        machine: &mut Machine,
    ) -> Result<(i64, i32), Code> {
        let place = place.ok_or(Code::UNKNOWN_TOPIC_OR_PARTITION)?;
        let partition = self.partition(place);
        let leads = partition.leader == Some(request.node);
        if !leads || machine.now_us() < partition.led_from_us {
            return Err(Code::NOT_LEADER_OR_FOLLOWER);
        }

        let producer = produced(bytes)?;
        self.see_to_transaction(id, producer, place, machine)?;
        let partition = self.partition(place);
        let end = partition.append(bytes, producer)?;
        Ok((end, partition.epoch))
    }

    /// Adds the partition to the producer's transaction, or verifies that it was added, if this is its first batch there.
    fn see_to_transaction(
        &mut self,
        id: Option<&str>,
        producer: Produced,
        place: Place,
        machine: &mut Machine,
    ) -> Result<(), Code> {
        if !producer.is_transactional || self.partition(place).has_open(producer) {
            return Ok(());
        }

        let id = id.ok_or(Code::INVALID_REQUEST)?;
        if self.is_loading(machine) {
            return Err(Code::NOT_ENOUGH_REPLICAS);
        }
        if !self.coordinator.is_second_protocol {
            return self.coordinator.verify(id, producer, place);
        }
        let named = Named {
            id,
            producer: producer.id,
            epoch: producer.epoch,
        };
        let added = self.coordinator.add(named, &[place], machine);
        added.map_err(|code| match code {
            Code::PRODUCER_FENCED => Code::INVALID_PRODUCER_EPOCH,
            code => code,
        })
    }

    /// Notes that the followers have the batches, unless another broker leads by now.
    pub fn replicated(&mut self, appended: Appended, machine: &mut Machine) {
        let Appended { request, outcomes } = appended;
        if !self.is_there(&request) {
            return;
        }

        let is_doubtful = request.fault == Some(Fault::Doubtful);
        let mut answers = Vec::new();
        for outcome in outcomes {
            let code = match outcome.result {
                // It was appended, and the followers do not have it yet and may never get it.
                Ok(_) if is_doubtful => {
                    if machine.is_one_in(2) {
                        let place = outcome.place.unwrap();
                        machine.after(0, Event::LeaderLost(place));
                    }
                    Code::REQUEST_TIMED_OUT
                }
                Ok((end, epoch)) => self.acknowledge(outcome.place.unwrap(), end, epoch),
                Err(code) => code,
            };
            answers.push((outcome.topic, outcome.partition, code));
        }
        self.answer_waiting(machine);

        let is_throttled = self.throttled_one_in > 0 && machine.is_one_in(self.throttled_one_in);
        let throttled_ms = if is_throttled { machine.draw(800) } else { 0 };
        let body = answer(&request, &answers, i32::try_from(throttled_ms).unwrap());
        self.links
            .answer(&request, &body, throttled_ms * 1_000, machine);
    }

    fn acknowledge(&mut self, place: Place, end: i64, epoch: i32) -> Code {
        let partition = self.partition(place);
        if partition.epoch != epoch {
            return Code::NOT_LEADER_OR_FOLLOWER;
        }
        partition.high_watermark = partition.high_watermark.max(end);
        Code::NONE
    }
}

fn answer(request: &Request, answers: &[(String, i32, Code)], throttled_ms: i32) -> Vec<u8> {
    body_with(request, |output: &mut Output<'_>| {
        output.array(answers.iter(), |output, (topic, partition, code)| {
            output.string(topic);
            output.length(1);
            output.i32(*partition);
            output.i16(code.0);
            [0, -1, 0].into_iter().for_each(|number| output.i64(number));
            output.length(0);
            output.nullable_string(None);
            output.no_tags();
            output.no_tags();
        });
        output.i32(throttled_ms);
        output.no_tags();
    })
}
