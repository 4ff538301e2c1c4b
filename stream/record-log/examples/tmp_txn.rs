//! tmp
use record_log::kafka::KafkaLog;
use record_log::{Delivery, NewRecord, PublishError, RecordLog, Signal};
use std::time::{Duration, Instant};
fn main() {
    let log = KafkaLog::new("127.0.0.1:19392", &[]).unwrap();
    let topic = std::env::args().nth(1).unwrap();
    log.ensure_topics(&[record_log::TopicSpec {
        name: topic.clone(),
        partitions: 2,
        cleanup: record_log::Cleanup::Delete,
        retention: Duration::from_secs(3600),
    }])
    .unwrap();
    let total = 300u64;
    let log2 = std::sync::Arc::new(log);
    let l = log2.clone();
    let t = topic.clone();
    let h = std::thread::spawn(move || {
        let start = Instant::now();
        let mut p = loop {
            match l.publisher(&format!("{t}-p"), Delivery::Transactional) {
                Ok(p) => break p,
                Err(e) => eprintln!("open {e}"),
            }
        };
        while p.progress().unwrap_or(0) < total {
            let n = p.progress().unwrap_or(0) + 1;
            let r = (0..10u64)
                .try_for_each(|i| {
                    p.send(NewRecord {
                        topic: &t,
                        partition: Some((i % 2) as u32),
                        key: None,
                        value: Some(format!("{n}:{i}").as_bytes()),
                        headers: &[],
                    })
                })
                .and_then(|()| p.commit(n));
            match r {
                Ok(()) => std::thread::sleep(Duration::from_millis(50)),
                Err(PublishError::NotPublished(e)) => {
                    eprintln!("{:?} not published {n}: {e}", start.elapsed());
                    std::thread::sleep(Duration::from_millis(200))
                }
                Err(e) => {
                    eprintln!("{:?} {n}: {e}", start.elapsed());
                    p = loop {
                        match l.publisher(&format!("{t}-p"), Delivery::Transactional) {
                            Ok(p) => break p,
                            Err(e) => eprintln!("{:?} reopen {e}", start.elapsed()),
                        }
                    };
                    eprintln!("{:?} reopened at {:?}", start.elapsed(), p.progress());
                }
            }
        }
    });
    let start = Instant::now();
    let mut r = log2.reader(&topic, &[(0, 0), (1, 0)]).unwrap();
    let s = Signal::default();
    r.on_readable(s.wake());
    let mut got: [Vec<String>; 2] = [vec![], vec![]];
    let mut ends = [false; 2];
    while got[0].len() + got[1].len() < (total * 10) as usize {
        for q in 0..2u32 {
            match r
                .poll(q, 1000, &mut |rec| got[q as usize].push(String::from_utf8(rec.value.unwrap().to_vec()).unwrap()))
            {
                Ok(pp) => {
                    if ends[q as usize] != pp.at_end && start.elapsed().as_millis() % 7 == 0 {}
                    ends[q as usize] = pp.at_end;
                }
                Err(e) => eprintln!("{:?} poll {q}: {e} (got {})", start.elapsed(), got[q as usize].len()),
            }
        }
        s.wait(Duration::from_millis(200));
    }
    h.join().unwrap();
    for q in 0..2u64 {
        let exp: Vec<String> =
            (1..=total).flat_map(|n| (0..10u64).filter(move |i| i % 2 == q).map(move |i| format!("{n}:{i}"))).collect();
        assert_eq!(got[q as usize], exp);
    }
    let t0 = Instant::now();
    while !(r.poll(0, 1, &mut |_| panic!()).unwrap().at_end) {
        s.wait(Duration::from_millis(100));
    }
    eprintln!("all right; at_end known after {:?}", t0.elapsed());
}
