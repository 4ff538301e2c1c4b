//! Members of a group share the partitions of a topic: on the simulated log and on Kafka.

use std::collections::BTreeSet;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use record_log::{LogError, Membership, Owned, RecordLog, Signal};

use crate::subject::{Subject, kafka, native, publish, simulated, topic, unique};

/// A time limit that is longer than any assignment takes. A session in Kafka is 10 s.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two calls. Each call shows the group that its member is alive.
const CALL_AGAIN: Duration = Duration::from_millis(50);
/// The variable with the topic and the group of a member in a process of its own.
const MEMBER: &str = "RECORD_LOG_TEST_MEMBER";

fn subjects() -> impl Iterator<Item = Subject> {
    [simulated(), kafka(), native()].into_iter().flatten()
}

fn join(log: &dyn RecordLog, group: &str, topic: &str, signal: &Signal) -> Box<dyn Membership> {
    let mut member = log.join(group, topic).unwrap();
    member.on_change(signal.wake());
    member
}

fn owned(member: &mut dyn Membership) -> BTreeSet<u32> {
    match member.owned().unwrap() {
        Owned::Only(partitions) => partitions,
        Owned::All => panic!("this log has groups"),
    }
}

/// Calls all members until `is_settled` returns `true` for the partitions that they own, in the order of the members.
fn settle(
    members: &mut [Box<dyn Membership>],
    signal: &Signal,
    is_settled: impl Fn(&[BTreeSet<u32>]) -> bool,
) -> Vec<BTreeSet<u32>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shares: Vec<_> = members
            .iter_mut()
            .map(|member| owned(&mut **member))
            .collect();
        if is_settled(&shares) {
            return shares;
        }
        assert!(Instant::now() < deadline, "the members own {shares:?}");
        signal.wait(CALL_AGAIN);
    }
}

/// Returns `true` if each partition has one owner, and no member owns two more than another.
fn are_fair(shares: &[BTreeSet<u32>], partitions: u32) -> bool {
    let all: Vec<u32> = shares.iter().flatten().copied().collect();
    let distinct: BTreeSet<u32> = all.iter().copied().collect();
    let sizes = shares.iter().map(BTreeSet::len);
    let least = sizes.clone().min().unwrap();

    all.len() == distinct.len()
        && distinct == (0..partitions).collect()
        && sizes.max().unwrap() <= least + 1
}

#[test]
fn members_that_come_and_go_share_all_partitions() {
    for subject in subjects() {
        let log = &*subject.log;
        let topic = topic(log, 5);
        let group = unique("sharing");
        let signal = Signal::default();
        let mut members = Vec::new();

        for _ in 0..3 {
            members.push(join(log, &group, &topic, &signal));
            settle(&mut members, &signal, |shares| are_fair(shares, 5));
        }
        while members.len() > 1 {
            members.remove(0);
            settle(&mut members, &signal, |shares| are_fair(shares, 5));
        }
    }
}

#[test]
fn no_partition_has_two_owners_while_members_that_live_join() {
    for subject in [kafka(), native()].into_iter().flatten() {
        hand_over(&*subject.log);
    }
}

fn hand_over(log: &dyn RecordLog) {
    let topic = topic(log, 6);
    let group = unique("handing over");
    let signal = Signal::default();
    let mut members = vec![join(log, &group, &topic, &signal)];
    settle(&mut members, &signal, |shares| are_fair(shares, 6));

    // The members are called one after another, so two owners of a partition would show within one
    // round.
    for _ in 0..2 {
        members.push(join(log, &group, &topic, &signal));
        settle(&mut members, &signal, |shares| {
            let all: Vec<u32> = shares.iter().flatten().copied().collect();
            let distinct: BTreeSet<u32> = all.iter().copied().collect();
            assert_eq!(all.len(), distinct.len(), "{shares:?}");
            are_fair(shares, 6)
        });
    }
}

#[test]
fn positions_under_the_name_of_a_group_with_members_are_refused_with_the_reason() {
    let subjects = [kafka(), native()];
    for subject in subjects.into_iter().flatten() {
        let log = &*subject.log;
        let topic = topic(log, 1);
        let joined = unique("taken");
        // The name that the members of a follower's group have at the brokers.
        let group = format!("{joined}.{topic}.members");
        log.commit(&group, &topic, &[(0, 0)]).unwrap();

        let signal = Signal::default();
        let mut members = vec![join(log, &joined, &topic, &signal)];
        settle(&mut members, &signal, |shares| are_fair(shares, 1));

        let refused = log.commit(&group, &topic, &[(0, 1)]).unwrap_err();
        let sentence = refused.to_string();
        assert!(!matches!(refused, LogError::Unavailable(_)), "{sentence}");
        for named in [&*group, "another application is a member", "rename"] {
            assert!(sentence.contains(named), "{sentence}");
        }
    }
}

#[test]
fn a_member_more_than_partitions_owns_none() {
    for subject in subjects() {
        let log = &*subject.log;
        let topic = topic(log, 1);
        let group = unique("waiting");
        let signal = Signal::default();
        let mut members = vec![join(log, &group, &topic, &signal)];
        settle(&mut members, &signal, |shares| are_fair(shares, 1));

        members.push(join(log, &group, &topic, &signal));
        let shares = settle(&mut members, &signal, |shares| are_fair(shares, 1));
        assert_eq!(shares.iter().filter(|share| share.is_empty()).count(), 1);
    }
}

#[test]
fn positions_are_stored_while_the_group_has_members() {
    for subject in subjects() {
        let log = &*subject.log;
        let topic = topic(log, 2);
        let group = unique("storing");
        publish(log, &topic, 0, &[b"a", b"b"]);
        let signal = Signal::default();
        let mut members = vec![join(log, &group, &topic, &signal)];
        settle(&mut members, &signal, |shares| are_fair(shares, 2));

        log.commit(&group, &topic, &[(0, 1)]).unwrap();
        assert_eq!(log.committed(&group, &topic).unwrap(), [(0, 1)]);
        assert_eq!(owned(&mut *members[0]).len(), 2, "it is a member still");
    }
}

#[test]
fn a_log_without_groups_gives_each_member_all() {
    let folder = tempfile::TempDir::new().unwrap();
    let log = crate::subject::open_embedded(folder.path()).unwrap();
    let topic = topic(&*log, 3);
    for _ in 0..2 {
        let mut member = log.join("group", &topic).unwrap();
        assert_eq!(member.owned().unwrap(), Owned::All);
    }
}

/// A member in a process of its own, for the test below.
struct Process(Child);

impl Process {
    fn start(group: &str, topic: &str) -> Self {
        let test = "membership::a_killed_member_is_replaced_within_its_session";
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test]);
        command.env(MEMBER, format!("{group} {topic}"));
        Self(command.stdout(std::process::Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Stays a member until the process is killed.
fn be_a_member(log: &dyn RecordLog, place: &str) -> ! {
    let mut place = place.split(' ');
    let group = place.next().unwrap();
    let topic = place.next().unwrap();
    let signal = Signal::default();
    let mut member = join(log, group, topic, &signal);
    loop {
        owned(&mut *member);
        signal.wait(CALL_AGAIN);
    }
}

#[test]
fn a_killed_member_is_replaced_within_its_session() {
    // The members of both clients are the same.
    let Some(subject) = native() else { return };
    let log = &*subject.log;
    if let Ok(place) = std::env::var(MEMBER) {
        be_a_member(log, &place);
    }

    let topic = topic(log, 4);
    let group = unique("killed");
    let signal = Signal::default();
    let mut members = vec![join(log, &group, &topic, &signal)];
    settle(&mut members, &signal, |shares| are_fair(shares, 4));
    let other = Process::start(&group, &topic);
    settle(&mut members, &signal, |shares| shares[0].len() == 2);

    let killed = Instant::now();
    drop(other);
    settle(&mut members, &signal, |shares| shares[0].len() == 4);
    let waited = killed.elapsed();
    assert!(waited < Duration::from_secs(20), "{waited:?}");
    eprintln!("the partitions of a killed member had another owner after {waited:?}");
}
