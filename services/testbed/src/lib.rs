//! Support for the services' contract tests. It has a DynamoDB for each test, a client for routers, a
//! server in place of called services, topics, the record log of a replica, captured log lines, and
//! callers with valid tokens.
//!
//! A suite runs on two back ends that must not differ: the embedded DynamoDB of the laptop, and
//! DynamoDB Local when `TIDEMARK_TEST_DYNAMODB` names its URL. [`on_both_dynamodbs!`] makes two
//! tests out of each scenario; without the variable the second reports loudly that it was skipped.

pub mod description;
mod dynamodb;
mod faulty_kafka;
mod http;
mod identities;
mod log;
mod replica;
mod server;
mod topic;
mod writes;

pub use dynamodb::{embedded, endpoint, real};
pub use faulty_kafka::{Fault, FaultyKafka};
pub use http::{Events, Reply, ServerSentEvent, TestClient};
pub use identities::{Identities, PublishedKeys, Signer, claims};
pub use log::CapturedLog;
pub use replica::{OwnTopics, broker_addresses, brokers};
pub use server::serve;
pub use topic::{failing_now_and_then, is_consumed};
pub use writes::Writes;

/// Makes two tests out of each `async fn scenario(client: aws_sdk_dynamodb::Client)` named: one on
/// the embedded DynamoDB and one on a real one.
#[macro_export]
macro_rules! on_both_dynamodbs {
    ($($scenario:ident),+ $(,)?) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    super::$scenario($crate::embedded().await).await;
                }
            )+
        }

        mod real {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    if let Some(client) = $crate::real(concat!(module_path!(), "::", stringify!($scenario))).await {
                        super::$scenario(client).await;
                    }
                }
            )+
        }
    };
}
