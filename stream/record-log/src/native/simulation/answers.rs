//! The rare requests, and the parts that all answers have in common.

use super::coordinator::Named;
use super::event::{Fault, Place, Request};
use super::kafka::{Kafka, NODES, PORT};
use super::machine::Machine;
use super::partition::Ending;
use crate::native::api::{
    ADD_PARTITIONS, API_VERSIONS, Api, Code, DESCRIBE_CONFIGS, END_TXN_1, END_TXN_2, FETCH,
    FIND_COORDINATOR, INIT_PRODUCER_ID, LIST_OFFSETS, METADATA, PRODUCE_1, PRODUCE_2,
};
use crate::native::codec::{Input, Output};

const FINALIZED_FEATURES: u32 = 2;
const CONFIGS: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("message.timestamp.type", "CreateTime"),
    ("max.message.bytes", "1048588"),
    ("retention.ms", "-1"),
];

/// Returns an answer with its header.
pub(super) fn body_with(request: &Request, write: impl FnOnce(&mut Output<'_>)) -> Vec<u8> {
    let mut bytes = request.frame[8..12].to_vec();
    let mut output = Output(&mut bytes);
    if request.key() != API_VERSIONS.key {
        output.no_tags();
    }
    write(&mut output);
    bytes
}

fn versions(output: &mut Output<'_>, is_second_protocol: bool) {
    let both = |first: Api, second: Api| {
        let most = if is_second_protocol { second } else { first };
        (first.key, first.version, most.version)
    };
    let one = |api: Api| (api.key, api.version, api.version);
    let offered = [
        both(PRODUCE_1, PRODUCE_2),
        both(END_TXN_1, END_TXN_2),
        one(FETCH),
        one(LIST_OFFSETS),
        one(METADATA),
        one(FIND_COORDINATOR),
        one(INIT_PRODUCER_ID),
        one(ADD_PARTITIONS),
        one(DESCRIBE_CONFIGS),
    ];

    output.i16(0);
    output.array(offered.iter(), |output, (key, least, most)| {
        [key, least, most]
            .into_iter()
            .for_each(|number| output.i16(*number));
        output.no_tags();
    });
    output.i32(0);

    let mut features = Vec::new();
    let mut feature = Output(&mut features);
    feature.length(1);
    feature.string("transaction.version");
    feature.i16(if is_second_protocol { 2 } else { 1 });
    feature.i16(0);
    feature.no_tags();

    output.unsigned(1);
    output.unsigned(FINALIZED_FEATURES);
    output.unsigned(u32::try_from(features.len()).unwrap());
    output.raw(&features);
}

fn describe(input: &mut Input<'_>, output: &mut Output<'_>) {
    let named = input.array(|resource| {
        resource.i8()?;
        let name = resource.string()?.to_owned();
        resource.nullable_bytes()?;
        resource.skip_tags()?;
        Ok(name)
    });

    output.i32(0);
    output.array(named.unwrap().iter(), |output, name| {
        output.i16(0);
        output.nullable_string(None);
        output.i8(2);
        output.string(name);
        output.array(CONFIGS.iter(), |output, (name, value)| {
            output.string(name);
            output.nullable_string(Some(value));
            (0..3).for_each(|_| output.i8(0));
            output.length(0);
            output.i8(0);
            output.nullable_string(None);
            output.no_tags();
        });
        output.no_tags();
    });
    output.no_tags();
}

fn address(output: &mut Output<'_>, node: usize) {
    output.string(&format!("broker-{node}"));
    output.i32(i32::from(PORT));
}

impl Kafka {
    /// Answers one of the rare requests.
    pub fn answer(&mut self, request: &Request, machine: &mut Machine) {
        let key = request.key();
        let mut input = Input::new(request.body());
        let answer = body_with(request, |output| match key {
            key if key == API_VERSIONS.key => versions(output, self.coordinator.is_second_protocol),
            key if key == METADATA.key => self.metadata(&mut input, output, machine),
            key if key == FIND_COORDINATOR.key => self.find_coordinator(output),
            key if key == INIT_PRODUCER_ID.key => {
                self.identify(request, &mut input, output, machine);
            }
            key if key == ADD_PARTITIONS.key => self.add(request, &mut input, output, machine),
            key if key == END_TXN_1.key => self.end(request, &mut input, output, machine),
            key if key == LIST_OFFSETS.key => self.list(request, &mut input, output),
            key if key == DESCRIBE_CONFIGS.key => describe(&mut input, output),
            key => panic!("no broker here knows request {key}"),
        });
        self.links.answer(request, &answer, 0, machine);
    }
}

impl Kafka {
    fn metadata(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, machine: &mut Machine) {
        let asked = input.array(|topic| {
            topic.uuid()?;
            let name = topic.nullable_string()?.unwrap().to_owned();
            topic.skip_tags()?;
            Ok(name)
        });
        let up: Vec<usize> = (0..NODES).filter(|node| self.nodes[*node].is_up).collect();

        output.i32(0);
        output.array(up.iter(), |output, node| {
            output.i32(*node as i32);
            address(output, *node);
            output.nullable_string(None);
            output.no_tags();
        });
        output.nullable_string(None);
        output.i32(up[0] as i32);
        output.array(asked.unwrap().iter(), |output, name| {
            self.topic_metadata(name, output, machine);
        });
        output.no_tags();
    }

    fn topic_metadata(&self, name: &str, output: &mut Output<'_>, machine: &mut Machine) {
        let found = self.topic(name).map(|topic| &self.topics[topic]);
        let code = match found {
            Some(_) => Code::NONE,
            None => Code::UNKNOWN_TOPIC_OR_PARTITION,
        };
        output.i16(code.0);
        output.nullable_string(Some(name));
        output.raw(&found.map_or([0; 16], |topic| topic.id));
        output.bool(false);

        let partitions = found.map_or(&[][..], |topic| &topic.partitions);
        // This broker may have metadata from before the last change.
        let is_behind = self.is_troubled && machine.is_one_in(8);
        output.array(
            partitions.iter().enumerate(),
            |output, (number, partition)| {
                let now = (partition.leader, partition.epoch);
                let named = partition.before.filter(|_| is_behind).unwrap_or(now);
                output.i16(0);
                output.i32(number as i32);
                output.i32(named.0.map_or(-1, |leader| leader as i32));
                output.i32(named.1);
                (0..3).for_each(|_| output.length(0));
                output.no_tags();
            },
        );
        output.i32(0);
        output.no_tags();
    }

    fn find_coordinator(&self, output: &mut Output<'_>) {
        output.i32(0);
        output.i16(0);
        output.nullable_string(None);
        output.i32(self.coordinated_by as i32);
        address(output, self.coordinated_by);
        output.no_tags();
    }

    /// Checks that the broker of a request coordinates transactions.
    fn check_coordinator(&self, request: &Request, machine: &Machine) -> Result<(), Code> {
        if request.node != self.coordinated_by {
            return Err(Code::NOT_COORDINATOR);
        }
        match self.is_loading(machine) {
            true => Err(Code::COORDINATOR_LOAD_IN_PROGRESS),
            false => Ok(()),
        }
    }

    /// Returns `true` if the coordinator is still reading its log.
    pub fn is_loading(&self, machine: &Machine) -> bool {
        machine.now_us() < self.nodes[self.coordinated_by].loads_until_us
    }

    fn identify(
        &mut self,
        request: &Request,
        input: &mut Input<'_>,
        output: &mut Output<'_>,
        machine: &mut Machine,
    ) {
        let id = input.nullable_string().unwrap().unwrap().to_owned();
        let timeout_ms = input.i32().unwrap();
        let named = Named {
            id: &id,
            producer: input.i64().unwrap(),
            epoch: input.i16().unwrap(),
        };
        let timeout_us = u64::try_from(timeout_ms).unwrap() * 1_000;
        let identified = self
            .check_coordinator(request, machine)
            .and_then(|()| self.coordinator.identify(named, timeout_us, machine));

        output.i32(0);
        output.i16(identified.err().unwrap_or(Code::NONE).0);
        let identity = identified.unwrap_or((-1, -1));
        output.i64(identity.0);
        output.i16(identity.1);
        output.no_tags();
    }

    fn add(
        &mut self,
        request: &Request,
        input: &mut Input<'_>,
        output: &mut Output<'_>,
        machine: &mut Machine,
    ) {
        let id = input.string().unwrap().to_owned();
        let named = Named {
            id: &id,
            producer: input.i64().unwrap(),
            epoch: input.i16().unwrap(),
        };
        let topics = input.array(|topic| {
            let name = topic.string()?.to_owned();
            let partitions = topic.array(Input::i32)?;
            topic.skip_tags()?;
            Ok((name, partitions))
        });

        let topics = topics.unwrap();
        let places: Vec<Place> = topics
            .iter()
            .flat_map(|(name, partitions)| {
                let topic = self.topic(name).unwrap();
                partitions
                    .iter()
                    .map(move |partition| (topic, *partition as usize))
            })
            .collect();
        let added = self
            .check_coordinator(request, machine)
            .and_then(|()| self.coordinator.add(named, &places, machine));
        let code = added.err().unwrap_or(Code::NONE);

        output.i32(0);
        output.array(topics.iter(), |output, (name, partitions)| {
            output.string(name);
            output.array(partitions.iter(), |output, partition| {
                output.i32(*partition);
                output.i16(code.0);
                output.no_tags();
            });
            output.no_tags();
        });
        output.no_tags();
    }

    fn end(
        &mut self,
        request: &Request,
        input: &mut Input<'_>,
        output: &mut Output<'_>,
        machine: &mut Machine,
    ) {
        let id = input.string().unwrap().to_owned();
        let named = Named {
            id: &id,
            producer: input.i64().unwrap(),
            epoch: input.i16().unwrap(),
        };
        let ending = match input.bool().unwrap() {
            true => Ending::Commit,
            false => Ending::Abort,
        };

        // The coordinator's log was not replicated in time, so it may or may not contain the end.
        let is_doubtful = request.fault == Some(Fault::Doubtful);
        let is_forgotten = is_doubtful && machine.is_one_in(2);
        let ended = match self.check_coordinator(request, machine) {
            Ok(()) if is_forgotten => Err(Code::COORDINATOR_NOT_AVAILABLE),
            Ok(()) => self.coordinator.end(named, ending, machine),
            Err(code) => Err(code),
        };
        let ended = match is_doubtful {
            true => ended.and(Err(Code::COORDINATOR_NOT_AVAILABLE)),
            false => ended,
        };

        output.i32(0);
        output.i16(ended.err().unwrap_or(Code::NONE).0);
        if self.coordinator.is_second_protocol {
            let identity = ended.unwrap_or((-1, -1));
            output.i64(identity.0);
            output.i16(identity.1);
        }
        output.no_tags();
    }

    fn list(&mut self, request: &Request, input: &mut Input<'_>, output: &mut Output<'_>) {
        input.i32().unwrap();
        let is_committed = input.i8().unwrap() == 1;
        let topics = input.array(|topic| {
            let name = topic.string()?.to_owned();
            let partitions = topic.array(|partition| {
                let asked = (partition.i32()?, partition.i32()?, partition.i64()?);
                partition.skip_tags()?;
                Ok(asked)
            })?;
            topic.skip_tags()?;
            Ok((name, partitions))
        });

        output.i32(0);
        output.array(topics.unwrap().iter(), |output, (name, partitions)| {
            let topic = self.topic(name).unwrap();
            output.string(name);
            output.array(partitions.iter(), |output, (number, epoch, time)| {
                let partition = self.partition((topic, *number as usize));
                let code = partition.check_leader(request.node, *epoch);
                let offset = match (time, is_committed) {
                    (-2, _) => 0,
                    (_, true) => partition.stable_end(),
                    (_, false) => partition.high_watermark,
                };
                output.i32(*number);
                output.i16(code.err().unwrap_or(Code::NONE).0);
                output.i64(-1);
                output.i64(offset);
                output.i32(partition.epoch);
                output.no_tags();
            });
            output.no_tags();
        });
        output.no_tags();
    }
}
