//! The requests that this client sends, each in one version, and the errors that brokers answer with.
//!
//! One version of each request keeps the codec small. Kafka 3.7 to 4.1 understand the chosen versions. A broker that
//! does not offer one is refused with a sentence when its connection opens.

use std::fmt;

/// A kind of request in the version that this client speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Api {
    pub key: i16,
    pub version: i16,
    pub name: &'static str,
    /// Its header has tagged fields.
    pub is_flexible: bool,
}

const fn api(key: i16, version: i16, name: &'static str) -> Api {
    Api {
        key,
        version,
        name,
        is_flexible: true,
    }
}

/// Produce under the first protocol of transactions: each partition is added by a request of its own.
pub(super) const PRODUCE_1: Api = api(0, 9, "Produce");
/// Produce under the second protocol of transactions (KIP-890): a batch adds its partition.
pub(super) const PRODUCE_2: Api = api(0, 12, "Produce");
/// Fetch with topic ids (KIP-516), sessions (KIP-227) and leader epochs (KIP-320).
pub(super) const FETCH: Api = api(1, 13, "Fetch");
pub(super) const LIST_OFFSETS: Api = api(2, 6, "ListOffsets");
pub(super) const METADATA: Api = api(3, 12, "Metadata");
pub(super) const OFFSET_COMMIT: Api = api(8, 8, "OffsetCommit");
pub(super) const OFFSET_FETCH: Api = api(9, 7, "OffsetFetch");
pub(super) const FIND_COORDINATOR: Api = api(10, 3, "FindCoordinator");
/// The handshake's header and body have their old form, which is not flexible.
pub(super) const SASL_HANDSHAKE: Api = Api {
    is_flexible: false,
    ..api(17, 1, "SaslHandshake")
};
pub(super) const API_VERSIONS: Api = api(18, 3, "ApiVersions");
/// CreateTopics that brokers refuse while a quota is used up; before, they created the topics and then fell silent (KIP-599).
pub(super) const CREATE_TOPICS: Api = api(19, 6, "CreateTopics");
/// InitProducerId with the epoch that the publisher has (KIP-360).
pub(super) const INIT_PRODUCER_ID: Api = api(22, 4, "InitProducerId");
pub(super) const ADD_PARTITIONS: Api = api(24, 3, "AddPartitionsToTxn");
pub(super) const END_TXN_1: Api = api(26, 3, "EndTxn");
/// EndTxn whose answer has the epoch of the next transaction (KIP-890).
pub(super) const END_TXN_2: Api = api(26, 5, "EndTxn");
pub(super) const DESCRIBE_CONFIGS: Api = api(32, 4, "DescribeConfigs");
pub(super) const SASL_AUTHENTICATE: Api = api(36, 2, "SaslAuthenticate");

/// A broker's refusal of a request: an error code of the protocol.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct Code(pub i16);

/// Defines the codes that this client decides by or shows by name.
macro_rules! codes {
    ($($name:ident = $number:literal)*) => {
        impl Code {
            $(
                #[allow(dead_code, reason = "a name is shown also where nothing is decided by it")]
                pub const $name: Self = Self($number);
            )*

            fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    UNKNOWN_SERVER_ERROR = -1
    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC_OR_PARTITION = 3
    LEADER_NOT_AVAILABLE = 5
    NOT_LEADER_OR_FOLLOWER = 6
    REQUEST_TIMED_OUT = 7
    BROKER_NOT_AVAILABLE = 8
    REPLICA_NOT_AVAILABLE = 9
    MESSAGE_TOO_LARGE = 10
    NETWORK_EXCEPTION = 13
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_COORDINATOR = 16
    INVALID_TOPIC_EXCEPTION = 17
    RECORD_LIST_TOO_LARGE = 18
    NOT_ENOUGH_REPLICAS = 19
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
    UNKNOWN_MEMBER_ID = 25
    TOPIC_AUTHORIZATION_FAILED = 29
    GROUP_AUTHORIZATION_FAILED = 30
    CLUSTER_AUTHORIZATION_FAILED = 31
    INVALID_TIMESTAMP = 32
    UNSUPPORTED_SASL_MECHANISM = 33
    ILLEGAL_SASL_STATE = 34
    UNSUPPORTED_VERSION = 35
    TOPIC_ALREADY_EXISTS = 36
    INVALID_PARTITIONS = 37
    INVALID_REPLICATION_FACTOR = 38
    INVALID_CONFIG = 40
    NOT_CONTROLLER = 41
    INVALID_REQUEST = 42
    POLICY_VIOLATION = 44
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    DUPLICATE_SEQUENCE_NUMBER = 46
    INVALID_PRODUCER_EPOCH = 47
    INVALID_TXN_STATE = 48
    INVALID_PRODUCER_ID_MAPPING = 49
    INVALID_TRANSACTION_TIMEOUT = 50
    CONCURRENT_TRANSACTIONS = 51
    TRANSACTION_COORDINATOR_FENCED = 52
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
    SECURITY_DISABLED = 54
    OPERATION_NOT_ATTEMPTED = 55
    KAFKA_STORAGE_ERROR = 56
    SASL_AUTHENTICATION_FAILED = 58
    UNKNOWN_PRODUCER_ID = 59
    FETCH_SESSION_ID_NOT_FOUND = 70
    INVALID_FETCH_SESSION_EPOCH = 71
    FENCED_LEADER_EPOCH = 74
    UNKNOWN_LEADER_EPOCH = 75
    UNSUPPORTED_COMPRESSION_TYPE = 76
    OFFSET_NOT_AVAILABLE = 78
    INVALID_RECORD = 87
    UNSTABLE_OFFSET_COMMIT = 88
    THROTTLING_QUOTA_EXCEEDED = 89
    PRODUCER_FENCED = 90
    UNKNOWN_TOPIC_ID = 100
    INCONSISTENT_TOPIC_ID = 103
    FETCH_SESSION_TOPIC_ID_ERROR = 106
    TRANSACTION_ABORTABLE = 120
}

impl Code {
    /// Returns `true` if the same request may succeed a moment later, perhaps at another broker: leaders and
    /// coordinators move.
    pub fn is_passing(self) -> bool {
        matches!(
            self,
            Self::UNKNOWN_TOPIC_OR_PARTITION
                | Self::LEADER_NOT_AVAILABLE
                | Self::NOT_LEADER_OR_FOLLOWER
                | Self::REQUEST_TIMED_OUT
                | Self::BROKER_NOT_AVAILABLE
                | Self::REPLICA_NOT_AVAILABLE
                | Self::NETWORK_EXCEPTION
                | Self::COORDINATOR_LOAD_IN_PROGRESS
                | Self::COORDINATOR_NOT_AVAILABLE
                | Self::NOT_COORDINATOR
                | Self::NOT_ENOUGH_REPLICAS
                | Self::NOT_ENOUGH_REPLICAS_AFTER_APPEND
                | Self::NOT_CONTROLLER
                | Self::CONCURRENT_TRANSACTIONS
                | Self::KAFKA_STORAGE_ERROR
                | Self::FENCED_LEADER_EPOCH
                | Self::UNKNOWN_LEADER_EPOCH
                | Self::OFFSET_NOT_AVAILABLE
                | Self::UNSTABLE_OFFSET_COMMIT
                | Self::UNKNOWN_TOPIC_ID
                | Self::INCONSISTENT_TOPIC_ID
        )
    }

    /// Returns `true` if too few replicas are in sync. This lasts until their brokers are back.
    pub fn is_short_of_replicas(self) -> bool {
        matches!(
            self,
            Self::NOT_ENOUGH_REPLICAS | Self::NOT_ENOUGH_REPLICAS_AFTER_APPEND
        )
    }

    /// Returns this code as an error, unless it is the code of success.
    pub fn check(self) -> Result<(), Self> {
        if self == Self::NONE {
            Ok(())
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(formatter, "{name} ({})", self.0),
            None => write!(formatter, "error code {}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
