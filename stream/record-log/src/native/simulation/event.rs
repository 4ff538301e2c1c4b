//! The messages in flight between clients and brokers, and the other planned events.

use super::partition::Ending;
use crate::native::api::Code;
use crate::native::codec::Input;

/// A partition: the topic's place, and its number.
pub(super) type Place = (usize, usize);

/// A marker that is going to be written.
#[derive(Clone, Debug)]
pub(super) struct Marker {
    pub id: String,
    pub place: Place,
    pub producer: i64,
    pub epoch: i16,
    pub ending: Ending,
}

/// The fate of a request and of its answer.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Fault {
    /// The stream ends before it.
    Lost,
    /// It arrives, and the stream ends before its answer.
    Unanswered,
    /// It arrives, and the stream ends within its answer.
    Cut,
    /// It arrives, and its answer never comes.
    Silent,
    /// It arrives, and its answer comes late: the client may have sent another request since.
    Slow,
    /// The stream ends, and it arrives some time later.
    Late,
    /// The stream ends, and it arrives after the next Produce has been handled.
    HeldBack,
    /// It arrives, and arrives once more some time later.
    Repeated,
    /// The broker answers with a code that leaves open if it did it, whether it did or not.
    Doubtful,
}

pub(super) const FAULTS: [Fault; 9] = [
    Fault::Lost,
    Fault::Unanswered,
    Fault::Cut,
    Fault::Silent,
    Fault::Slow,
    Fault::Late,
    Fault::HeldBack,
    Fault::Repeated,
    Fault::Doubtful,
];

/// A planned event.
pub(super) enum Event {
    Arrive(Request),
    /// Bytes of an answer arrive, and perhaps the end of the stream behind them.
    Deliver {
        link: usize,
        bytes: Vec<u8>,
        is_last: bool,
    },
    /// The broker reads the next request of the stream.
    ReadOn(usize),
    /// The broker handles a request again that had to wait.
    Again(Request),
    /// The followers have the appended batches.
    Replicated(Appended),
    /// Requests that were held back arrive.
    Release,
    /// A Fetch has waited long enough.
    FetchOver(u64),
    Marker(Marker),
    TimeOut {
        id: String,
        begun_us: u64,
    },
    /// Brokers stop and come back, leaders and coordinators move.
    Trouble,
    NodeBack(usize),
    /// Another broker becomes the leader, without the batches that not all followers have.
    LeaderLost(Place),
}

/// A request on its way or at a broker.
#[derive(Clone)]
pub(super) struct Request {
    /// The stream; none if no client waits for the answer.
    pub link: Option<usize>,
    pub node: usize,
    pub incarnation: u64,
    pub frame: Vec<u8>,
    pub fault: Option<Fault>,
    /// The number of times that it had to wait.
    pub waits: u32,
}

/// Batches that wait for the followers.
pub(super) struct Appended {
    pub request: Request,
    pub outcomes: Vec<Outcome>,
}

/// The outcome of a batch so far.
pub(super) struct Outcome {
    pub topic: String,
    pub partition: i32,
    pub place: Option<Place>,
    /// The end of the batch and the leader's epoch when it was appended.
    pub result: Result<(i64, i32), Code>,
}

impl Request {
    pub fn key(&self) -> i16 {
        i16::from_be_bytes([self.frame[4], self.frame[5]])
    }

    /// Returns the bytes behind its header.
    pub fn body(&self) -> &[u8] {
        let mut input = Input::new(&self.frame[12..]);
        let name = input.i16().unwrap();
        input.take(usize::try_from(name).unwrap()).unwrap();
        input.skip_tags().unwrap();
        input.rest()
    }
}
