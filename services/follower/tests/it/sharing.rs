//! Members of a group share the partitions: each record has one consumer, while members join, leave, die and are paused.

use std::collections::BTreeMap;
use std::sync::{Condvar, PoisonError};

use record_log::Offset;

use super::*;

/// A replica: a process that follows as a member of the group.
struct Replica {
    process: SimulatedLog,
    seen: Seen,
    lag: Lag,
    shutdown: Ending,
    task: tokio::task::JoinHandle<()>,
}

impl Replica {
    fn start(log: &SimulatedLog) -> Self {
        Self::of(log.process(|_| Fault::None), Seen::default())
    }

    /// Starts a replica and waits until it owns its share. The simulated log shares the partitions in the order in
    /// which replicas join; without the wait, that order would be random.
    async fn join(log: &SimulatedLog) -> Self {
        let replica = Self::start(log);
        until("it has joined", || !replica.owned().is_empty()).await;

        replica
    }

    fn of(process: SimulatedLog, seen: Seen) -> Self {
        let shutdown = Shutdown::new();
        let followed = follower(&process);
        let lag = followed.lag.clone();
        let task = followed.start(seen.clone(), shutdown.clone());

        Self {
            process,
            seen,
            lag,
            shutdown: Ending(shutdown),
            task,
        }
    }

    fn owned(&self) -> Vec<u32> {
        self.seen.opened.lock().unwrap().clone()
    }

    async fn stop(self) -> Seen {
        self.shutdown.0.request();
        self.task.await.unwrap();
        self.seen
    }
}

fn stored(log: &SimulatedLog) -> BTreeMap<u32, Offset> {
    let stored = log.committed(GROUP, TOPIC).unwrap();
    stored.into_iter().collect()
}

fn is_stored_to_the_ends(log: &SimulatedLog) -> bool {
    let stored = stored(log);
    let ends = log.offsets(TOPIC).unwrap();
    (0..)
        .zip(ends)
        .all(|(partition, range)| stored.get(&partition) == Some(&range.end))
}

fn number_of_all(seen: &[&Seen]) -> usize {
    let each = seen.iter().map(|seen| seen.records.lock().unwrap().len());
    each.sum()
}

fn distinct_of_all(seen: &[&Seen]) -> BTreeSet<(u32, u64)> {
    seen.iter().flat_map(|seen| seen.distinct()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_is_consumed_by_one_of_three_members() {
    let log = log(5);
    let first = Replica::join(&log).await;
    let second = Replica::join(&log).await;
    let replicas = [first, second, Replica::join(&log).await];
    until("each has its share", || {
        let shares = replicas.iter().map(Replica::owned);
        shares.eq([vec![0, 3], vec![1, 4], vec![2]])
    })
    .await;

    (0..5).for_each(|partition| publish(&log, partition, 25));
    until("all is consumed", || is_stored_to_the_ends(&log)).await;

    let seen: Vec<&Seen> = replicas.iter().map(|replica| &replica.seen).collect();
    assert_eq!(distinct_of_all(&seen).len(), 125);
    assert_eq!(number_of_all(&seen), 125, "each once");
    for (replica, seen) in replicas.iter().zip(&seen) {
        let owned = replica.owned();
        let read = seen.distinct();
        assert!(
            read.iter().all(|(partition, _)| owned.contains(partition)),
            "{read:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_joins_takes_its_share_where_the_other_stopped() {
    let log = log(4);
    let first = Replica::start(&log);
    (0..4).for_each(|partition| publish(&log, partition, 15));
    until("the first consumes", || is_stored_to_the_ends(&log)).await;

    let second = Replica::start(&log);
    until("they share", || {
        first.owned() == [0, 2] && second.owned() == [1, 3]
    })
    .await;
    (0..4).for_each(|partition| publish(&log, partition, 15));
    until("all is consumed", || is_stored_to_the_ends(&log)).await;

    let first = first.stop().await;
    let second = second.stop().await;
    assert_eq!(number_of_all(&[&first, &second]), 120, "each once");
    let taken = second.distinct();
    assert!(
        taken
            .iter()
            .all(|(partition, offset)| partition % 2 == 1 && *offset >= 15)
    );
    assert_eq!(taken.len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_leaves_gives_its_share_up_at_once() {
    let log = log(2);
    let first = Replica::join(&log).await;
    let second = Replica::join(&log).await;
    until("they share", || {
        first.owned() == [0] && second.owned() == [1]
    })
    .await;

    (0..2).for_each(|partition| publish(&log, partition, 10));
    until("all is consumed", || is_stored_to_the_ends(&log)).await;
    let second = second.stop().await;
    (0..2).for_each(|partition| publish(&log, partition, 10));
    until("the other goes on", || is_stored_to_the_ends(&log)).await;

    let first = first.stop().await;
    assert_eq!(number_of_all(&[&first, &second]), 40, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_member_owned_is_read_on_from_its_positions() {
    let log = log(2);
    let is_dying = Arc::new(AtomicBool::new(false));
    let dies = Arc::clone(&is_dying);
    let dying = log.process(move |call| match call {
        Call::CommitPositions { .. } if dies.load(Ordering::SeqCst) => Fault::CrashBefore,
        _ => Fault::None,
    });

    let killed = Replica::of(dying, Seen::default());
    until("the first owns all", || killed.owned() == [0, 1]).await;
    let other = Replica::start(&log);
    until("they share", || {
        killed.owned() == [0] && other.owned() == [1]
    })
    .await;

    publish(&log, 0, 10);
    until("a batch is stored", || stored(&log).get(&0) == Some(&10)).await;
    // Records are consumed, and their position is not stored.
    is_dying.store(true, Ordering::SeqCst);
    publish(&log, 0, 10);
    until("it is dead", || killed.process.is_dead()).await;
    publish(&log, 0, 10);
    publish(&log, 1, 10);
    until("its partition waits", || other.lag.records() == Some(20)).await;

    killed.process.expel();
    until("all is consumed", || is_stored_to_the_ends(&log)).await;

    let other = other.stop().await;
    let moved: Vec<u64> = other
        .distinct()
        .iter()
        .filter(|(number, _)| *number == 0)
        .map(|(_, offset)| *offset)
        .collect();
    assert_eq!(
        moved,
        (10..30).collect::<Vec<_>>(),
        "from the stored position, and no other"
    );
    assert_eq!(distinct_of_all(&[&killed.seen, &other]).len(), 40);
}

/// A point at which a thread waits while a test pauses it.
#[derive(Clone, Default)]
struct Pause(Arc<(Mutex<(bool, bool)>, Condvar)>);

impl Pause {
    /// Waits until the pause ends, if one has begun.
    fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut held = state.lock().unwrap_or_else(PoisonError::into_inner);
        if held.0 {
            held.1 = true;
            drop(changed.wait_while(held, |held| held.0).unwrap());
        }
    }

    fn begin(&self) {
        self.0.0.lock().unwrap().0 = true;
    }

    fn has_one(&self) -> bool {
        self.0.0.lock().unwrap().1
    }

    fn end(&self) {
        self.0.0.lock().unwrap().0 = false;
        self.0.1.notify_all();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_member_that_wakes_moves_nothing_past_a_record() {
    let log = log(1);
    let pause = Pause::default();
    let passed = pause.clone();
    let slow = log.process(move |call| {
        if let Call::CommitPositions { .. } = call {
            passed.pass();
        }
        Fault::None
    });

    let paused = Replica::of(slow, Seen::default());
    publish(&log, 0, 5);
    until("it consumes", || is_stored_to_the_ends(&log)).await;
    pause.begin();
    publish(&log, 0, 5);
    until("it is paused before it stores", || pause.has_one()).await;

    // Its session expires, and another member takes over.
    paused.process.expel();
    let other = Replica::start(&log);
    publish(&log, 0, 5);
    until("the other consumes all", || is_stored_to_the_ends(&log)).await;

    pause.end();
    until("it owns nothing", || paused.owned().is_empty()).await;
    until("the owner's position stands", || {
        is_stored_to_the_ends(&log)
    })
    .await;
    publish(&log, 0, 5);
    until("all is consumed", || is_stored_to_the_ends(&log)).await;

    let paused = paused.stop().await;
    let other = other.stop().await;
    assert_eq!(distinct_of_all(&[&paused, &other]).len(), 20);
    let twice = number_of_all(&[&paused, &other]) - 20;
    assert!(
        (1..=5).contains(&twice),
        "{twice}: the batch of the pause, and no other"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_a_partition_shows_what_waits() {
    let log = log(1);
    let stuck = Seen::default();
    let owner = Replica::of(log.process(|_| Fault::None), stuck.clone());
    until("it owns all", || owner.owned() == [0]).await;

    let looks = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&looks);
    let process = log.process(move |call| {
        if let Call::Owned { .. } = call {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        Fault::None
    });
    let idle = Replica::of(process, Seen::default());
    until("it is there", || idle.lag.records() == Some(0)).await;
    stuck.failures_left.store(usize::MAX, Ordering::SeqCst);
    publish(&log, 0, 10);
    until("it shows the other's records", || {
        idle.lag.records() == Some(10)
    })
    .await;

    // It must keep showing them, although it owns no partition and so is always at the end.
    let enough = looks.load(Ordering::SeqCst) + 3;
    until("it looks again", || {
        assert_eq!(idle.lag.records(), Some(10));
        looks.load(Ordering::SeqCst) >= enough
    })
    .await;

    stuck.failures_left.store(0, Ordering::SeqCst);
    until("it shows that they are consumed", || {
        idle.lag.records() == Some(0)
    })
    .await;
    assert!(idle.owned().is_empty() && idle.seen.distinct().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_and_go_and_each_record_is_consumed() {
    let log = log(3);
    let mut replicas = vec![Replica::start(&log)];
    let mut gone: Vec<Seen> = Vec::new();

    for round in 0..12_usize {
        (0..3).for_each(|partition| publish(&log, partition, 7));
        match round % 3 {
            0 => replicas.push(Replica::start(&log)),
            1 => gone.push(replicas.remove(0).stop().await),
            // A member that is expelled while it works joins again.
            _ => replicas[0].process.expel(),
        }
    }

    until("all is consumed", || is_stored_to_the_ends(&log)).await;
    for replica in replicas {
        gone.push(replica.stop().await);
    }
    assert_eq!(
        distinct_of_all(&gone.iter().collect::<Vec<_>>()).len(),
        3 * 7 * 12
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_moves_on_meanwhile_is_not_beyond_the_end() {
    let log = log(1);
    publish(&log, 0, 5);
    let others = log.clone();
    let has_moved = AtomicBool::new(false);
    let process = log.process(move |call| {
        // Another member consumes and stores between the calls that open a topic.
        if let Call::Committed { .. } = call
            && !has_moved.swap(true, Ordering::SeqCst)
        {
            publish(&others, 0, 5);
            others.commit(GROUP, TOPIC, &[(0, 10)]).unwrap();
        }
        Fault::None
    });

    let replica = Replica::of(process, Seen::default());
    until("it is open", || replica.owned() == [0]).await;
    publish(&log, 0, 5);
    until("all is consumed", || is_stored_to_the_ends(&log)).await;
    let read = replica.stop().await.distinct();
    assert_eq!(read, (10..15).map(|offset| (0, offset)).collect());
}
