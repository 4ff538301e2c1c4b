//! Tests of a publisher's decisions after a failure. They need no broker.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::session::more_telling;
use super::*;
use crate::native::NativeLog;
use crate::native::api::Code;
use crate::native::network::{Address, Network, Socket};

/// A network on which no broker can be reached. It counts the tries.
#[derive(Clone, Default)]
struct Away(Arc<AtomicUsize>);

impl Network for Away {
    fn connect(&self, _: &Address, _: Duration) -> io::Result<Box<dyn Socket>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(ErrorKind::ConnectionRefused.into())
    }
}

/// Returns a publisher with an open transaction.
fn publisher(away: &Away) -> NativePublisher {
    let patience = Patience {
        request: Duration::from_millis(1),
        call: Duration::from_millis(1),
    };
    let log = NativeLog::over(Box::new(away.clone()), "broker:1", patience);
    let opening = Opening {
        cluster: &log.cluster,
        admin: &log.admin,
        delivery: Delivery::Transactional,
        timeout: Duration::from_secs(60),
        patience,
    };
    let mut publisher = NativePublisher::new(&opening, "id");
    publisher.state = State::Open;
    publisher
}

fn send(publisher: &mut NativePublisher) -> PublishError {
    let sent = publisher.send(NewRecord {
        topic: "counts",
        partition: Some(0),
        key: None,
        value: None,
        headers: &[],
    });
    sent.unwrap_err()
}

#[test]
fn a_publisher_in_doubt_or_fenced_sends_nothing_more() {
    type Ending = fn(&mut NativePublisher) -> PublishError;
    let endings: [(Ending, bool); 4] = [
        (
            |publisher| publisher.not_committed(Stop::Unknown("no answer".into())),
            true,
        ),
        (
            |publisher| {
                publisher.session.note_end(false, true);
                publisher.failed(Stop::Fenced)
            },
            true,
        ),
        (
            |publisher| publisher.failed(Stop::ProgressLost("no topic".into())),
            true,
        ),
        (|publisher| publisher.failed(Stop::Fenced), false),
    ];

    for (place, (end, is_in_doubt)) in endings.into_iter().enumerate() {
        let away = Away::default();
        let mut publisher = publisher(&away);
        let ended = end(&mut publisher);
        assert_eq!(ended.may_have_happened(), is_in_doubt, "{place}: {ended}");

        for refused in [send(&mut publisher), publisher.commit(&[]).unwrap_err()] {
            match refused {
                PublishError::NotPublished(cause) if is_in_doubt => {
                    let cause = cause.to_string();
                    assert!(cause.contains("open it again"), "{place}: {cause}");
                }
                PublishError::Fenced { .. } => assert!(!is_in_doubt, "{place}"),
                other => panic!("{place}: {other:?}"),
            }
        }
        assert_eq!(away.0.load(Ordering::SeqCst), 0, "{place}");
    }
}

/// Each case: the ends of the transaction, of each if it was done and if it may have been; and if a refusal of the
/// epoch then means a newer holder.
#[test]
fn an_end_without_an_answer_is_in_doubt_until_one_is_done() {
    let cases: [(&[(bool, bool)], bool); 5] = [
        (&[], true),
        (&[(false, false)], true),
        (&[(false, true)], false),
        (&[(false, true), (false, false)], false),
        (&[(false, true), (true, false)], true),
    ];

    for (ends, is_fenced) in cases {
        let mut publisher = publisher(&Away::default());
        for (is_done, is_unknown) in ends {
            publisher.session.note_end(*is_done, *is_unknown);
        }
        let refused = publisher.failed(Stop::Fenced);
        let found = matches!(refused, PublishError::Fenced { .. });
        assert_eq!(found, is_fenced, "{ends:?}: {refused}");
    }
}

#[test]
fn a_cut_answer_does_not_hide_the_refusal_before_it() {
    let broker = || Address {
        host: "broker".to_owned(),
        port: 1,
    };
    let refused = || WireError::Refused {
        broker: broker(),
        request: "EndTxn",
        subject: "publisher \"id\"".to_owned(),
        code: Code::CONCURRENT_TRANSACTIONS,
    };
    let silent = || WireError::Silent {
        broker: broker(),
        request: "EndTxn",
        limit: Duration::from_millis(1),
    };
    let runtime = NativeLog::over(Box::new(Away::default()), "broker:1", Patience::default());
    let runtime = runtime.cluster.runtime();
    let over = Deadline::after(Duration::ZERO, runtime);
    let hour = Deadline::after(Duration::from_secs(3600), runtime);

    let sentence = more_telling(Some(refused()), silent(), &over).to_string();
    for named in [
        "CONCURRENT_TRANSACTIONS",
        "min.insync.replicas",
        "start the brokers",
    ] {
        assert!(sentence.contains(named), "{named} in {sentence}");
    }
    let is_silent = |error| matches!(error, WireError::Silent { .. });
    assert!(is_silent(more_telling(Some(refused()), silent(), &hour)));
    assert!(is_silent(more_telling(None, silent(), &over)));
    assert!(!is_silent(more_telling(Some(silent()), refused(), &over)));
}
