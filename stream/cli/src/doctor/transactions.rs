//! Transactions: their protocol and their time limit.

use std::time::Duration;

use super::finding::{Checked, Fault, Owner};

/// The level of `transaction.version` from which on late requests cannot reach a later transaction (KIP-890).
const SAFE: i16 = 2;

/// Checks the finalized level and the time limit of transactions. `fault` is the fault of the transaction that was
/// tried, if it failed.
pub fn check(version: i16, timeout: Duration, fault: Option<Fault>) -> Checked {
    let timeout = humantime::format_duration(timeout);
    let detail = format!("transaction.version {version}, open for at most {timeout}");
    let mut faults: Vec<Fault> = fault.into_iter().collect();
    if version < SAFE {
        let what = format!(
            "the cluster has transaction.version {version}: a request that arrives late can reach a later transaction of the \
             same publisher"
        );
        let fix = "with Kafka 4.0 or newer: kafka-features.sh --bootstrap-server BROKERS upgrade --feature transaction.version=2";
        faults
            .push(Fault::failure(Owner::Cluster, "transaction.version", what, fix).into_warning());
    }

    Checked { detail, faults }
}
