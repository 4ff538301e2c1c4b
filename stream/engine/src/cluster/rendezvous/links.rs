//! Links all processes of an attempt with each other.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::door::{CALL_EVERY, Door, Greeting};
use crate::cluster::line::{Line, Message, unexpected};
use crate::cluster::mesh::Mesh;
use crate::cluster::pulse::Pulse;
use crate::cluster::{ClusterError, Members, beyond_reach};

/// The interval at which the missing processes are logged.
pub const LOG_EVERY: Duration = Duration::from_secs(10);
/// The time limit for linking once all processes are there.
const LINKS_WITHIN: Duration = Duration::from_secs(15);

/// Connects to a process, and authenticates both sides.
///
/// # Errors
/// [`ClusterError`].
async fn call(members: &Members, process: u16) -> Result<Line, ClusterError> {
    let mut line = reach(members, process).await?;
    introduce(members, process, &mut line).await?;
    Ok(line)
}

/// Connects to a process, which may not answer yet.
///
/// # Errors
/// [`ClusterError::Line`], [`ClusterError::Membership`].
pub async fn reach(members: &Members, process: u16) -> Result<Line, ClusterError> {
    let broken = |source| ClusterError::Line { process, source };
    let address = &members.hosts[usize::from(process)];
    let line = Line::call(address).await.map_err(broken)?;

    if !members.trust.reaches(line.peer().map_err(broken)?.ip()) {
        return Err(ClusterError::Membership(beyond_reach(process, address)));
    }

    Ok(line)
}

/// Authenticates both sides of a line.
///
/// # Errors
/// [`ClusterError::Line`], [`ClusterError::Refused`].
pub async fn introduce(
    members: &Members,
    process: u16,
    line: &mut Line,
) -> Result<(), ClusterError> {
    let broken = |source| ClusterError::Line { process, source };
    let answer = line
        .introduce(&members.trust, members.process, process)
        .await
        .map_err(broken)?;
    answer.map_err(ClusterError::Refused)
}

/// Returns the numbers of all processes but this one.
pub fn others(members: &Members) -> impl Iterator<Item = u16> {
    let own = members.process;
    (0..)
        .take(members.processes())
        .filter(move |process| *process != own)
}

/// Links all processes: each calls those with lower numbers, and is called by those with higher
/// ones.
///
/// # Errors
/// [`ClusterError::Line`].
pub async fn link(
    members: &Members,
    attempt: u64,
    pulses: BTreeMap<u16, Pulse>,
) -> Result<Mesh, ClusterError> {
    let mut lines: BTreeMap<u16, Line> = BTreeMap::new();
    let linking = async {
        for process in 0..members.process {
            lines.insert(process, call_for_link(members, process, attempt).await);
        }

        let mut door = Door::open(members)?;
        while lines.len() + 1 < members.processes() {
            let Greeting {
                process,
                message,
                mut line,
            } = door.next().await;
            let is_above = process > members.process && usize::from(process) < members.processes();

            if is_above && message == (Message::Link { attempt }) {
                line.send(&message)
                    .await
                    .map_err(|source| ClusterError::Line { process, source })?;
                lines.insert(process, line);
            }
        }

        Ok(())
    };
    let outcome = timeout(LINKS_WITHIN, linking).await;
    let missing = others(members).find(|process| !lines.contains_key(process));

    match (outcome, missing) {
        (Err(late), Some(process)) => Err(ClusterError::Line {
            process,
            source: late.into(),
        }),
        (Ok(Err(error)), _) => Err(error),
        _ => Mesh::of(members, lines, pulses),
    }
}

/// Calls a process until it agrees to be linked in this attempt.
async fn call_for_link(members: &Members, process: u16, attempt: u64) -> Line {
    let own = Message::Link { attempt };
    let broken = |source| ClusterError::Line { process, source };
    let linked = || async {
        let mut line = call(members, process).await?;
        line.send(&own).await.map_err(broken)?;
        let answer = line.receive().await.map_err(broken)?;

        if answer == own {
            Ok(line)
        } else {
            Err(broken(unexpected(&answer)))
        }
    };

    loop {
        match linked().await {
            Ok(line) => return line,
            Err(error) => tracing::debug!(process, %error, "not linked yet"),
        }
        sleep(CALL_EVERY).await;
    }
}
