//! A follower behind a group passes each record on once the group has consumed it.

use super::*;

fn behind(log: &SimulatedLog) -> Follower {
    Follower {
        scope: Scope::Behind,
        ..follower(log)
    }
}

/// Stores the position of the group, as a member does.
fn store(log: &SimulatedLog, partition: u32, next: Offset) {
    log.commit(GROUP, TOPIC, &[(partition, next)]).unwrap();
}

/// Waits until the follower has read the group's positions: it skips records that the group consumed before that.
async fn is_open(seen: &Seen) {
    until("it is open", || !seen.opened.lock().unwrap().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_passed_on_once_its_position_is_stored() {
    let log = log(2);
    let seen = Seen::default();
    let shutdown = Ending(Shutdown::new());
    let task = behind(&log).start(seen.clone(), shutdown.0.clone());
    is_open(&seen).await;

    (0..2).for_each(|partition| publish(&log, partition, 30));
    store(&log, 0, 4);
    seen.wait_for(4, &shutdown.0).await;
    // The other partition does not hold this one up, nor does a batch that is stored in part.
    store(&log, 0, 30);
    seen.wait_for(30, &shutdown.0).await;
    let before = seen.distinct();
    store(&log, 1, 30);
    seen.wait_for(60, &shutdown.0).await;

    shutdown.0.request();
    task.await.unwrap();
    assert!(
        before.iter().all(|(partition, _)| *partition == 0),
        "{before:?}"
    );
    assert_eq!(seen.records.lock().unwrap().len(), 60, "each once");
    assert_eq!(
        log.committed(GROUP, TOPIC).unwrap(),
        [(0, 30), (1, 30)],
        "it stores nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_begins_where_the_group_stands() {
    let log = log(1);
    publish(&log, 0, 10);
    store(&log, 0, 7);

    let seen = Seen::default();
    let shutdown = Ending(Shutdown::new());
    let task = behind(&log).start(seen.clone(), shutdown.0.clone());
    is_open(&seen).await;
    store(&log, 0, 10);
    seen.wait_for(3, &shutdown.0).await;

    shutdown.0.request();
    task.await.unwrap();
    assert_eq!(seen.distinct().first(), Some(&(0, 7)));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failure_it_goes_on_from_its_own_position() {
    let log = log(1);
    let is_away = Arc::new(AtomicBool::new(false));
    let away = Arc::clone(&is_away);
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&failures);
    let failing = log.process(move |_| {
        if away.load(Ordering::SeqCst) {
            counted.fetch_add(1, Ordering::SeqCst);
            Fault::Unavailable
        } else {
            Fault::None
        }
    });

    let seen = Seen::default();
    let shutdown = Ending(Shutdown::new());
    let task = behind(&failing).start(seen.clone(), shutdown.0.clone());
    is_open(&seen).await;
    publish(&log, 0, 5);
    store(&log, 0, 5);
    seen.wait_for(5, &shutdown.0).await;

    is_away.store(true, Ordering::SeqCst);
    publish(&log, 0, 20);
    store(&log, 0, 25);
    until("it has failed", || failures.load(Ordering::SeqCst) > 1).await;
    is_away.store(false, Ordering::SeqCst);
    seen.wait_for(25, &shutdown.0).await;

    shutdown.0.request();
    task.await.unwrap();
    assert_eq!(seen.records.lock().unwrap().len(), 25, "each once");
}
