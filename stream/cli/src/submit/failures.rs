//! Tests of plans that fail on this machine, with scripts for programs: the former job runs again whichever step fails, or
//! the message names the processes that are left and the remedy.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use stream::Stop;

use super::carry_out::{PlanError, carry_out};
use super::installed::Installed;
use super::local::{Folder, Replacement};
use super::plan::{Action, Plan, Rollback, Step};
use super::processes::pid_of;
use super::release::Release;
use super::terminal::Terminal;
use super::variables::Variables;

/// A program that works until SIGTERM.
const WORKS: &str = "#!/bin/sh\nexec sleep 600\n";
/// A program whose process 1 and its child do not drain.
const STUBBORN: &str = "#!/bin/sh
if [ $TIDEMARK_PROCESS = 1 ]; then trap '' TERM; sleep 600 & echo deaf; wait; fi
exec sleep 600
";
/// A program whose process 1 ends at once.
const BROKEN: &str =
    "#!/bin/sh\n[ $TIDEMARK_PROCESS = 1 ] && echo no topic && exit 1\nexec sleep 600\n";

/// A folder of jobs, and a server that answers as ready jobs do.
struct Place {
    home: tempfile::TempDir,
    ready: SocketAddr,
}

impl Place {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ready = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 512];
                let read = stream.read(&mut request).unwrap();
                assert!(read > 0);
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            }
        });
        let home = tempfile::tempdir().unwrap();
        Self { home, ready }
    }

    fn folder(&self) -> Folder {
        Folder(self.home.path().join("job"))
    }

    fn release(&self, name: &str, script: &str) -> Release {
        let program = self.home.path().join(name);
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Release {
            program,
            hash: name.to_owned(),
        }
    }

    /// Starts a job without the doctor.
    fn submit(&self, script: &str) -> Result<Installed, PlanError> {
        let release = self.release("old", script);
        let mut job = installed("old", 2);
        job.variables
            .set("PLACE", self.home.path().display().to_string());
        let mut plan = self.hastened(self.folder().submit(&release, &job));
        plan.steps
            .retain(|step| !matches!(step.action, Action::RunWith { .. }));
        plan.rollback.as_mut().unwrap().from -= 1;
        carry_out(&plan, &Stop::default(), &mut |_| ())?;
        Ok(job)
    }

    fn replacement(&self, old: &Installed, new: &Installed) -> Plan {
        let plan = self.folder().replace(&Replacement {
            release: Some(&self.release("new", WORKS)),
            old,
            new,
            running: old.processes,
        });
        self.hastened(plan)
    }

    /// Shortens the limits, and lets the server answer for the programs.
    fn hastened(&self, mut plan: Plan) -> Plan {
        let back = plan.rollback.iter_mut().flat_map(|back| &mut back.steps);
        for step in plan.steps.iter_mut().chain(back) {
            match &mut step.action {
                Action::Stop { limit, .. } | Action::End { limit, .. } => {
                    *limit = Duration::from_millis(300);
                }
                Action::Ready { address, .. } => *address = self.ready,
                // The usual port may be in use on this machine.
                Action::Free { addresses } => addresses.clear(),
                _ => {}
            }
        }
        plan
    }

    fn record(&self) -> Installed {
        let text = fs::read_to_string(self.folder().record()).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until process 1 of [`STUBBORN`] has started so many times.
    fn await_deaf(&self, times: usize) {
        let log = self.folder().log(1);
        while fs::read_to_string(&log).unwrap().matches("deaf").count() < times {
            thread::yield_now();
        }
    }

    /// Returns the number of living processes of the place, with their children.
    fn count(&self) -> usize {
        let mine = format!("PLACE={}\0", self.home.path().display());
        let all = fs::read_dir("/proc").unwrap();
        let environments =
            all.filter_map(|entry| fs::read(entry.unwrap().path().join("environ")).ok());
        environments
            .filter(|environment| String::from_utf8_lossy(environment).contains(&mine))
            .count()
    }

    /// Returns the releases of the living processes, in order.
    fn living(&self) -> Vec<String> {
        let pids = (0..8).filter_map(|process| pid_of(&self.folder().pid(process)));
        let command = |pid: rustix::process::Pid| {
            let text = environment(pid.as_raw_nonzero().get());
            let of = text.split('\0').find(|line| line.starts_with("RELEASE="));
            of.unwrap_or_default().to_owned()
        };
        pids.map(command).collect()
    }
}

/// Returns the environment of a process, in which lines end with a zero byte. It is empty for a moment while the process
/// begins to run another program.
fn environment(pid: i32) -> String {
    loop {
        let text = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
        if !text.is_empty() {
            return text;
        }
        thread::yield_now();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let pids = (0..8).map(|process| self.folder().pid(process)).collect();
        let limit = Duration::from_millis(100);
        let plan = Plan {
            steps: vec![Step::new("ends all", Action::End { pids, limit })],
            ..Plan::default()
        };
        // A test that fails has its own message.
        let _ = carry_out(&plan, &Stop::default(), &mut |_| ());
    }
}

fn installed(release: &str, processes: u16) -> Installed {
    let mut variables = Variables::default();
    variables.set("TIDEMARK_JOB", "counts");
    variables.set("RELEASE", release);
    Installed {
        release: release.to_owned(),
        processes,
        variables,
        terminal: Terminal {
            folder: PathBuf::from("/usr"),
            inherited: ["CARGO_PKG_NAME".to_owned()].into(),
        },
    }
}

#[test]
fn a_port_of_another_program_is_named_and_nothing_starts() {
    let place = Place::new();
    let release = place.release("old", WORKS);
    let mut job = installed("old", 1);
    // The server of the place listens there.
    job.variables
        .set("TIDEMARK_STATUS_ADDRESS", place.ready.to_string());
    job.variables
        .set("PLACE", place.home.path().display().to_string());

    let mut plan = place.folder().submit(&release, &job);
    plan.steps
        .retain(|step| !matches!(step.action, Action::RunWith { .. }));
    plan.rollback.as_mut().unwrap().from -= 1;

    let error = carry_out(&plan, &Stop::default(), &mut |_| ())
        .unwrap_err()
        .to_string();
    let named = format!("another program listens at {}", place.ready);
    assert!(error.contains(&named), "{error}");
    assert!(error.contains("--status-address"), "{error}");
    assert_eq!(place.count(), 0);
}

#[test]
fn a_process_gets_the_variables_of_its_job_and_no_other() {
    let place = Place::new();
    place.submit(WORKS).unwrap();
    let pid = pid_of(&place.folder().pid(1)).unwrap().as_raw_nonzero();

    let environment = environment(pid.get());
    let names = environment
        .split_terminator('\0')
        .map(|line| line.split('=').next().unwrap());
    let mut names: Vec<&str> = names
        .filter(|name| !["_", "OLDPWD", "PWD"].contains(name))
        .collect();
    names.sort_unstable();

    let expected = [
        "CARGO_PKG_NAME",
        "PLACE",
        "RELEASE",
        "TIDEMARK_JOB",
        "TIDEMARK_PROCESS",
        "TIDEMARK_PROCESSES",
        "TIDEMARK_STATUS_ADDRESS",
    ];
    assert_eq!(names, expected);
    let folder = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(folder, PathBuf::from("/usr"));
}

#[test]
fn the_former_job_runs_again_whichever_step_fails() {
    let place = Place::new();
    let old = place.submit(WORKS).unwrap();
    let new = installed("new", 3);

    for at in 0..place.replacement(&old, &new).steps.len() {
        let mut plan = place.replacement(&old, &new);
        plan.steps[at] = Step::run("fails", ["false"]);

        let said = carry_out(&plan, &Stop::default(), &mut |_| ())
            .unwrap_err()
            .to_string();
        let state = match at {
            0 => "; the job runs as before",
            _ => "; the former job runs again",
        };
        assert!(said.ends_with(state), "step {at}: {said}");
        assert_eq!(place.living(), ["RELEASE=old"; 2], "step {at}: {said}");
        assert_eq!(place.record(), old, "step {at}");
    }

    carry_out(
        &place.replacement(&old, &new),
        &Stop::default(),
        &mut |_| (),
    )
    .unwrap();
    assert_eq!(place.living(), ["RELEASE=new"; 3]);
}

#[test]
fn a_job_that_drains_in_part_is_killed_and_runs_again() {
    let place = Place::new();
    let old = place.submit(STUBBORN).unwrap();
    let before = pid_of(&place.folder().pid(1));
    place.await_deaf(1);

    let plan = place.replacement(&old, &installed("new", 1));
    let said = carry_out(&plan, &Stop::default(), &mut |_| ())
        .unwrap_err()
        .to_string();

    assert!(said.contains("the drain of the job took longer"), "{said}");
    assert!(said.ends_with("; the former job runs again"), "{said}");
    place.await_deaf(2);
    assert_eq!(place.living(), ["RELEASE=old"; 2]);
    assert_eq!(place.count(), 3, "no child of the killed process is left");
    assert_ne!(pid_of(&place.folder().pid(1)), before, "it is another one");
    assert_eq!(place.record(), old);
}

#[test]
fn a_rollback_that_fails_names_what_is_left_and_the_remedy() {
    let place = Place::new();
    let old = place.submit(WORKS).unwrap();
    let mut plan = place.replacement(&old, &installed("new", 3));
    let last = plan.steps.len() - 1;
    plan.steps[last] = Step::run("fails", ["false"]);
    let Some(Rollback { steps, .. }) = &mut plan.rollback else {
        panic!("no rollback");
    };
    steps[1] = Step::run("fails", ["no-such-program"]);

    let said = carry_out(&plan, &Stop::default(), &mut |_| ())
        .unwrap_err()
        .to_string();

    let living = (0..3).map(|process| pid_of(&place.folder().pid(process)).unwrap());
    let living: Vec<String> = living.map(|pid| pid.as_raw_nonzero().to_string()).collect();
    let named = format!("`kill -KILL -- -{}`", living.join(" -"));
    assert!(said.contains(&named), "{said}");
    let remedy = format!("--job counts --folder {}`", place.folder().0.display());
    assert!(said.contains(&format!("`rescale local {remedy}")), "{said}");
    assert_eq!(place.record(), old, "`rescale` starts the former job");
}

#[test]
fn a_job_that_does_not_start_leaves_no_process() {
    let mut place = Place::new();
    // Nothing answers for this job.
    place.ready = SocketAddr::from(([127, 0, 0, 1], 1));

    let said = place.submit(BROKEN).unwrap_err().to_string();

    assert!(said.contains("no topic"), "{said}");
    assert!(
        said.ends_with("the processes that had started are ended"),
        "{said}"
    );
    assert_eq!(place.living(), [""; 0]);
}

#[test]
fn a_job_that_does_not_drain_on_cancel_is_named() {
    let place = Place::new();
    let job = place.submit(STUBBORN).unwrap();
    place.await_deaf(1);

    let plan = place.hastened(place.folder().cancel(&job, 2));
    let said = carry_out(&plan, &Stop::default(), &mut |_| ())
        .unwrap_err()
        .to_string();

    let left = pid_of(&place.folder().pid(1)).unwrap().as_raw_nonzero();
    assert!(
        said.contains(&format!("with the ids {left} still run")),
        "{said}"
    );
    assert!(
        said.contains(&format!("`kill -KILL -- -{left}` ends them")),
        "{said}"
    );
}
