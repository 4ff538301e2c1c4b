//! Several processes run one job. The job continues with any number of them, and any of them may
//! die: the committed results equal those of a plain recount, each once. The processes are threads
//! here; their links are real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt;
use record_log::simulated::{Call, Fault, SimulatedLog};
use stream::internals::Trust;
use stream::{Aggregate, ClusterError, JobError, Key, Members, Run, Settings, Stop};

use crate::fallback::{damage_newest, lenient};
use crate::lives::beside;
use crate::oracle::{World, random, settings, windows};

/// The processes of a job, with their listeners and addresses.
pub struct Processes {
    listeners: Vec<TcpListener>,
    hosts: Vec<String>,
    silence_limit: Duration,
    /// The errors that ended attempts.
    ends: Mutex<Vec<String>>,
}

/// The fault of a process, if any: the process, the number of the call on the log, and the fault at
/// that call.
type Death = Option<(usize, u64, Fault)>;

impl Processes {
    pub fn new(count: usize) -> Self {
        let listeners: Vec<_> = (0..count)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();

        let hosts = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap().to_string())
            .collect();

        Self {
            listeners,
            hosts,
            silence_limit: Duration::from_secs(10),
            ends: Mutex::default(),
        }
    }

    pub fn members(&self, process: usize) -> Option<Members> {
        let listener = self.listeners[process].try_clone().unwrap();
        let mut members = Members::new(
            u16::try_from(process).unwrap(),
            self.hosts.clone(),
            listener,
        );
        members.silence_limit = self.silence_limit;

        (self.listeners.len() > 1).then_some(members)
    }

    /// Runs all processes of the world's job until everything published is read. Returns the number
    /// of starts.
    fn run(&self, world: &World, settings: &Settings, death: Death) -> u64 {
        self.run_jobs(&world.log, |_, log| world.job(log, settings), death)
    }

    /// Runs all processes of another job, which is made for each start of a process. Each process
    /// is restarted when its attempt is over, as its supervisor would do, until one of them
    /// finishes: then everything is committed.
    pub fn run_jobs<K: Key, A: Aggregate>(
        &self,
        log: &SimulatedLog,
        job: impl Fn(usize, SimulatedLog) -> Run<K, A> + Sync,
        death: Death,
    ) -> u64 {
        let stop = Stop::default();
        let starts = AtomicU64::new(0);
        thread::scope(|scope| {
            for process in 0..self.listeners.len() {
                let stop = &stop;
                let starts = &starts;
                let job = &job;

                scope.spawn(move || {
                    let mut mortal = mortal(log, death.filter(|(victim, ..)| *victim == process));
                    loop {
                        starts.fetch_add(1, Ordering::SeqCst);
                        let job = Run {
                            members: self.members(process),
                            ..job(process, mortal.clone())
                        };
                        let outcome = catch_unwind(AssertUnwindSafe(|| job.run(stop)));

                        match outcome {
                            Ok(Ok(())) if !mortal.is_dead() => return stop.request(),
                            Ok(Err(error)) if !mortal.is_dead() => {
                                if !error.is_for_a_new_start() {
                                    // The others would wait for this process.
                                    stop.request();
                                    panic!("process {process} ended for good: {error}");
                                }
                                self.ends.lock().unwrap().push(error.to_string());
                            }
                            _ => {}
                        }
                        mortal = mortal_no_more(log);
                    }
                });
            }
        });

        starts.into_inner()
    }
}

fn mortal(log: &SimulatedLog, death: Death) -> SimulatedLog {
    let calls = Arc::new(AtomicU64::new(0));
    log.process(move |call: &Call<'_>| {
        // Readers poll all the time, so only calls that open, send or commit something are counted.
        let matters = !matches!(call, Call::Poll { .. } | Call::Offsets { .. });
        let number = if matters {
            calls.fetch_add(1, Ordering::SeqCst)
        } else {
            u64::MAX
        };

        death
            .filter(|(_, at, _)| number == *at)
            .map_or(Fault::None, |(.., fault)| fault)
    })
}

fn mortal_no_more(log: &SimulatedLog) -> SimulatedLog {
    mortal(log, None)
}

#[test]
fn several_processes_count_as_one_and_may_change_in_number() {
    for seed in 1..=25 {
        let mut random = random(seed);
        let mut world = World::new(windows(&mut random), random.random_range(1..=5));
        let first = settings(&mut random);

        for _ in 0..random.random_range(1..=3) {
            world.publish(random.random_range(0..200), &mut random);
            let settings = Settings {
                workers: random.random_range(1..=2),
                ..first.clone()
            };

            let processes = random.random_range(1..=3);
            println!(
                "seed {seed}: {} records, {processes} processes, {settings:?}",
                world.records.len()
            );

            Processes::new(processes).run(&world, &settings, None);
            world.check();
        }
    }
}

#[test]
fn records_count_once_wherever_any_process_dies() {
    let mut restarts = 0;
    for seed in 1..=40 {
        let mut random = random(seed);
        let mut world = World::new(windows(&mut random), random.random_range(1..=4));
        let settings = Settings {
            workers: random.random_range(1..=2),
            ..settings(&mut random)
        };

        world.publish(random.random_range(50..150), &mut random);
        let count = random.random_range(2..=3);
        let fault = [
            Fault::CrashBefore,
            Fault::CrashAfter,
            Fault::LoseReply,
            Fault::Unavailable,
        ][random.random_range(0..4)];

        let victim = random.random_range(0..count);
        let at = random.random_range(0..25);
        println!(
            "seed {seed}: {fault:?} at call {at} of process {victim} of {count}, {settings:?}"
        );

        let starts = Processes::new(count).run(&world, &settings, Some((victim, at, fault)));
        world.check();
        restarts += u64::from(starts > count as u64);
    }

    assert!(restarts > 10, "processes die in this test: {restarts}");
}

#[test]
fn the_progress_of_any_process_shows_that_a_checkpoint_is_lost() {
    let mut replaced = 0;
    for seed in 1..=20 {
        let mut random = random(seed);
        let mut world = World::new(windows(&mut random), 3);
        let first = lenient(settings(&mut random));

        for _ in 0..3 {
            world.publish(100, &mut random);
            let settings = Settings {
                workers: random.random_range(1..=2),
                ..first.clone()
            };
            println!("seed {seed}: {} records, {settings:?}", world.records.len());
            Processes::new(random.random_range(2..=3)).run(&world, &settings, None);
            world.check_but_for_repeated_side_outputs();
            damage_newest(&world, &mut random);
        }
        replaced += u64::from(world.highest_revision() >= 1_000_000);
    }

    assert!(replaced > 5, "{replaced} jobs replaced results");
}

#[test]
fn a_process_with_other_settings_is_told_so_and_not_taken() {
    let world = World::new(windows(&mut random(1)), 1);
    let processes = Processes::new(2);
    let settings = settings(&mut random(1));
    let stop = Stop::default();

    let other = Settings {
        disorder: settings.disorder + Duration::from_secs(1),
        ..settings.clone()
    };

    let lead = Run {
        members: processes.members(0),
        ..world.job(world.log.clone(), &settings)
    };
    let run = || lead.run(&stop).unwrap();
    beside(&stop, run, |_| {
        let follower = Run {
            members: processes.members(1),
            ..world.job(world.log.clone(), &other)
        };

        match follower.run(&Stop::default()) {
            Err(error @ JobError::Cluster(ClusterError::Refused(_))) => {
                assert!(error.to_string().contains("disorder_ms: "), "{error}");
                assert!(!error.is_for_a_new_start());
            }
            outcome => panic!("the process was taken: {outcome:?}"),
        }

        stop.request();
    });
}

/// A proxy between two processes that stops forwarding once, so that each appears to the other to
/// hang.
struct Between {
    /// Lines with lower numbers hang.
    hanging: AtomicUsize,
    /// The number of lines so far.
    lines: AtomicUsize,
}

/// The number of bytes that the second line (the link) carries before all lines hang, in the middle
/// of an attempt.
const HANGS_AFTER_BYTES: usize = 1500;

impl Between {
    /// Starts a proxy that forwards its callers to `host`, and returns its address.
    fn stand_before(host: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let between = Arc::new(Self {
            hanging: AtomicUsize::new(0),
            lines: AtomicUsize::new(0),
        });

        thread::spawn(move || {
            for caller in listener.incoming() {
                let caller = caller.unwrap();
                let callee = TcpStream::connect(&host).unwrap();
                let number = between.lines.fetch_add(1, Ordering::SeqCst);
                let back = (callee.try_clone().unwrap(), caller.try_clone().unwrap());

                for (from, to) in [(caller, callee), back] {
                    let between = Arc::clone(&between);
                    thread::spawn(move || between.carry(number, from, to));
                }
            }
        });

        address
    }

    fn carry(&self, number: usize, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 512];
        let mut carried = 0;
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            carried += count;
            if number == 1 && carried > HANGS_AFTER_BYTES {
                self.hanging
                    .fetch_max(self.lines.load(Ordering::SeqCst), Ordering::SeqCst);
            }

            while number < self.hanging.load(Ordering::SeqCst) {
                thread::park();
            }

            if to.write_all(&buffer[..count]).is_err() {
                return;
            }
        }

        // A line whose other end is already gone needs no shutdown.
        let _ = to.shutdown(Shutdown::Write);
    }
}

#[test]
fn a_hung_process_ends_the_attempt_and_records_count_once() {
    let mut random = random(5);
    let mut world = World::new(windows(&mut random), 3);
    world.publish(300, &mut random);

    let mut processes = Processes::new(2);
    processes.silence_limit = Duration::from_secs(2);
    processes.hosts[0] = Between::stand_before(processes.hosts[0].clone());

    let starts = processes.run(&world, &settings(&mut random), None);
    world.check();
    let ends = processes.ends.into_inner().unwrap();

    assert!(
        starts > 2
            && ends
                .iter()
                .any(|end| end.contains("has sent nothing for 2s")),
        "{ends:?}"
    );
}

/// A place that starts the whole job again, such as YARN, must see an end if one process is gone for good.
#[test]
fn processes_that_wait_in_vain_end_for_good_after_the_limit() {
    const LIMIT: Duration = Duration::from_millis(500);
    let mut random = random(7);
    let world = World::new(windows(&mut random), 2);
    let mut processes = Processes::new(3);
    let settings = settings(&mut random);

    let wait = |mut members: Members| {
        members.join_limit = Some(LIMIT);
        let job = Run {
            members: Some(members),
            ..world.job(world.log.clone(), &settings)
        };
        job.run(&Stop::default()).unwrap_err()
    };
    let [lead, follower] = [0, 1].map(|process| processes.members(process).unwrap());

    let (lead, follower, waited) = thread::scope(|scope| {
        let follower = scope.spawn(|| wait(follower));
        let lead = wait(lead);
        let closed_at = Instant::now();
        processes.listeners.remove(0);
        (lead, follower.join().unwrap(), closed_at.elapsed())
    });

    for end in [lead, follower] {
        assert!(end.to_string().contains("joined within 500ms"), "{end}");
        assert!(!end.is_for_a_new_start(), "{end}");
    }
    assert!(
        waited > LIMIT / 2,
        "while process 0 waits, its port is open, and the time does not count: {waited:?}"
    );
}

#[test]
fn a_process_without_the_secret_cannot_join_or_end_an_attempt() {
    let mut random = random(6);
    let mut world = World::new(windows(&mut random), 2);
    world.publish(100, &mut random);

    let processes = Processes::new(2);
    let settings = settings(&mut random);
    let run = |process, trust: Trust| {
        let mut members = processes.members(process).unwrap();
        members.trust = Arc::new(trust);
        Run {
            members: Some(members),
            ..world.job(world.log.clone(), &settings)
        }
    };

    let trust = |secret: &str| Trust::by(&secret.repeat(32).as_str().into()).unwrap();
    let stop = Stop::default();
    let lead = run(0, trust("a"));
    let lead = || lead.run(&stop).unwrap();
    beside(&stop, lead, |_| {
        for stranger in [trust("b"), Trust::anybody()] {
            let error = run(1, stranger).run(&Stop::default()).unwrap_err();
            assert!(
                matches!(error, JobError::Cluster(ClusterError::Refused(_))),
                "{error}"
            );

            assert!(
                error.to_string().contains("TIDEMARK_CLUSTER_SECRET")
                    && !error.is_for_a_new_start(),
                "{error}"
            );
        }

        let mut caller = TcpStream::connect(&processes.hosts[0]).unwrap();
        caller.write_all(b"\0\0\0\x06\"Beat\"").unwrap();
        run(1, trust("a")).run(&Stop::default()).unwrap();
    });
    world.check();
}

#[test]
fn processes_that_cannot_share_their_checkpoints_are_refused() {
    let world = World::new(windows(&mut random(1)), 1);
    let job = world.job(world.log.clone(), &settings(&mut random(1)));
    let refusal = job
        .together(Processes::new(2).members(0))
        .err()
        .unwrap()
        .to_string();
    assert!(refusal.contains("--checkpoints"), "{refusal}");
}
