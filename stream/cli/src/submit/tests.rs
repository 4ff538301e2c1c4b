//! Tests of plans: the printed steps are those that would be carried out, and contain no secret.

use std::time::Duration;

use clap::Parser;

use super::applications::ClusterReplacement;
use super::applications::Master;
use super::google::{CloudFlags, CloudJob, ClusterFlags, MachineFlags};
use super::machines::{MachinesReplacement, with_startup};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::installed::Installed;
use super::local::{Folder, Replacement};
use super::plan::{Action, words};
use super::release::Release;
use super::terminal::Terminal;
use super::*;
use crate::job::NoFlags;

const BOOTSTRAP: Bootstrap = Bootstrap {
    run: "echo run",
    startup: "fetch \"${release}\" \"${run}\"\n${environment}\n${hosts}\npath=$${1#gs://}\n${unit}\n",
    unit: "[Unit]",
};

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    to: SubmitTo<NoFlags>,
}

/// The variables of a command line.
fn variables(arguments: &[&str]) -> Variables {
    let command = <Line as clap::CommandFactory>::command();
    let matches = command
        .clone()
        .get_matches_from(["submit"].iter().chain(arguments));
    let (name, matches) = matches.subcommand().unwrap();
    Variables::of(command.find_subcommand(name).unwrap(), matches)
}

fn release(name: &str) -> Release {
    Release {
        program: PathBuf::from(format!("/bin/{name}")),
        hash: format!("hash-of-{name}"),
    }
}

fn installed(processes: u16, given: &[&str]) -> Installed {
    let given = [
        &["local", "--property", "sasl.password=open sesame"][..],
        given,
    ]
    .concat();
    Installed {
        release: "hash-of-job".to_owned(),
        processes,
        variables: Folder(PathBuf::from("/jobs/counts")).complete(variables(&given)),
        terminal: Terminal {
            folder: PathBuf::from("/shop"),
            inherited: ["AWS_SECRET_ACCESS_KEY".to_owned()].into(),
        },
    }
}

fn cloud() -> CloudFlags {
    CloudFlags {
        project: "shop".to_owned(),
        region: "europe-west3".to_owned(),
        releases: "gs://shop-releases/".to_owned(),
        secret: "projects/shop/secrets/kafka".to_owned(),
        kafka_user: "stream".to_owned(),
    }
}

/// A job for Google Cloud.
fn of_cloud<P>(place: P) -> CloudJob<P> {
    let arguments = [
        "local",
        "--checkpoints",
        "gs://shop-checkpoints/counts",
        "--workers",
        "4",
        "--property",
        "sasl.password=open sesame",
    ];

    CloudJob {
        name: "counts".to_owned(),
        release: release("job").hash,
        run: release("run.sh").hash,
        startup: None,
        processes: 2,
        variables: google::described(variables(&arguments)),
        cloud: cloud(),
        place,
    }
}

fn on_machines() -> CloudJob<MachineFlags> {
    let job = of_cloud(MachineFlags {
        zone: "europe-west3-a".to_owned(),
        machine_type: "n2d-standard-2".to_owned(),
        subnet: "job".to_owned(),
        service_account: "job@shop.iam.gserviceaccount.com".to_owned(),
    });
    with_startup(job, &BOOTSTRAP)
}

fn on_cluster() -> CloudJob<ClusterFlags> {
    of_cloud(ClusterFlags {
        cluster: "tidemark".to_owned(),
        memory_mb: 4096,
    })
}

fn master() -> Master {
    Master::parse(
        "tidemark-m\thttps://www.googleapis.com/compute/v1/projects/shop/zones/europe-west3-b\n",
    )
    .unwrap()
}

#[track_caller]
fn assert_in_order(text: &str, expected: &[&str]) {
    let mut rest = text;
    for part in expected {
        let at = rest.find(part);
        let at = at.unwrap_or_else(|| panic!("{part:?} is missing, or comes too early, in {text}"));
        rest = &rest[at + part.len()..];
    }
    assert!(!text.contains("sesame"), "{text}");
}

#[test]
fn only_what_is_set_becomes_a_variable() {
    let set = variables(&[
        "local",
        "--workers",
        "3",
        "--property",
        "a=1",
        "--property",
        "b=2",
        "--allow-compaction",
    ]);

    assert_eq!(set.get("TIDEMARK_WORKERS"), Some("3"));
    assert_eq!(set.get("TIDEMARK_PROPERTIES"), Some("a=1\nb=2"));
    assert_eq!(set.get("TIDEMARK_ALLOW_COMPACTION"), Some("true"));
    assert_eq!(set.get("TIDEMARK_DISORDER"), None, "it is a default");
}

#[test]
fn a_job_on_this_machine_is_copied_examined_started_and_awaited() {
    let folder = Folder(PathBuf::from("/jobs/counts"));
    let plan = folder.submit(
        &release("job"),
        &installed(2, &["--status-address", "127.0.0.1:7000"]),
    );

    assert_in_order(
        &plan.to_string(),
        &[
            "[ -e /jobs/counts/releases/hash-of-job ] || install -D -m 755 /bin/job",
            "/jobs/counts/releases/hash-of-job doctor",
            "install -D -m 600 /dev/stdin /jobs/counts/job.json",
            "TIDEMARK_CHECKPOINTS=file:///jobs/counts/checkpoints",
            "TIDEMARK_PROPERTIES=(not shown)",
            "setsid /jobs/counts/releases/hash-of-job supervise >>/jobs/counts/process-0.log",
            "# in /shop, with ",
            ", from the terminal AWS_SECRET_ACCESS_KEY, and no other variable",
            "process-1.log",
            "http://127.0.0.1:7000/health/ready",
            "http://127.0.0.1:7001/health/ready",
        ],
    );
}

#[test]
fn a_job_that_is_replaced_drains_first_and_has_a_way_back() {
    let folder = Folder(PathBuf::from("/jobs/counts"));
    let old = installed(1, &[]);
    let new = Installed {
        release: "hash-of-next".to_owned(),
        ..installed(3, &[])
    };

    let plan = folder.replace(&Replacement {
        release: Some(&release("next")),
        old: &old,
        new: &new,
        running: 1,
    });

    let text = plan.to_string();
    assert_in_order(
        &text,
        &[
            "install -D -m 755 /bin/next",
            "kill -TERM $(head -qn 1 /jobs/counts/process-0.pid)",
            "release hash-of-next, processes: 3",
            "hash-of-next supervise",
            "# if a step from 2 on fails:",
            "release hash-of-job, processes: 1",
            "for pid in $(head -qn 1 /jobs/counts/process-0.pid /jobs/counts/process-1.pid /jobs/counts/process-2.pid)",
            "kill -KILL -- -$pid",
            "hash-of-job supervise",
        ],
    );
}

#[test]
fn machines_get_the_release_by_its_hash_and_the_start_up_script() {
    let folder = PathBuf::from("/jobs/counts");
    let job = on_machines();
    let text = machines::submit(&job, &release("job"), &BOOTSTRAP, &folder).to_string();
    let program = "gs://shop-releases/hash-of-job/order-analytics";
    let startup = job.startup.unwrap();
    assert_in_order(
        &text,
        &[
            &format!(
                "gcloud storage objects describe {program} --project=shop || \
                 gcloud storage cp --if-generation-match=0 --project=shop /bin/job {program}"
            ),
            "/jobs/counts/scripts/run.sh gs://shop-releases/hash-of-run.sh/run.sh",
            "fetch \"gs://shop-releases/hash-of-job/order-analytics\" \"gs://shop-releases/hash-of-run.sh/run.sh\"",
            "JOB_PROCESSES=2",
            "JOB_RENDEZVOUS=shop-checkpoints/counts-rendezvous",
            "TIDEMARK_LOG_FORMAT=json",
            "TIDEMARK_WORKERS=4",
            "counts-0:5110,counts-1:5110",
            "path=${1#gs://}",
            "[Unit]",
            &format!("gs://shop-releases/{startup}/startup.sh"),
            "gcloud compute instances create counts-0",
            "--metadata=process=0,job=gs://shop-releases/",
            "--metadata-from-file=startup-script=/jobs/counts/scripts/startup.sh",
            "gcloud compute instances create counts-1",
            "gcloud compute ssh counts-0",
        ],
    );

    assert!(
        !text.contains("TIDEMARK_PROPERTIES"),
        "run.sh makes it: {text}"
    );
}

#[test]
fn machines_are_drained_deleted_and_created_with_a_way_back() {
    let old = on_machines();
    let new = with_startup(old.resized(Some(3), Some(2)), &BOOTSTRAP);
    let text = machines::replace(&MachinesReplacement {
        release: None,
        old: &old,
        new: &new,
        bootstrap: &BOOTSTRAP,
        folder: Path::new("/jobs/counts"),
    })
    .to_string();

    let startup = |job: &CloudJob<MachineFlags>| {
        let hash = job.startup.clone().unwrap();
        format!("gs://shop-releases/{hash}/startup.sh")
    };
    let former = format!(
        "gcloud storage cp --project=shop {} /jobs/counts/scripts/startup.sh",
        startup(&old)
    );
    assert_in_order(
        &text,
        &[
            "TIDEMARK_WORKERS=2",
            "counts-0:5110,counts-1:5110,counts-2:5110",
            &startup(&new),
            "'--command=sudo -n true'",
            "sudo systemctl stop order-analytics",
            "gcloud compute instances delete \"$each\"",
            "gcloud compute instances create counts-2",
            "gcloud compute ssh counts-2",
            "# if a step from 6 on fails:",
            "gcloud compute instances delete \"$each\"",
            &former,
            "gcloud compute instances create counts-1",
            "gcloud compute ssh counts-1",
        ],
    );
}

#[test]
fn dataproc_gets_the_arguments_that_terraform_gives() {
    let folder = PathBuf::from("/jobs/counts");
    let job = on_cluster();
    let plan = applications::submit(&job, &release("job"), &master(), &BOOTSTRAP, &folder);
    let files = format!(
        "--files=gs://shop-releases/hash-of-job/order-analytics,gs://shop-releases/hash-of-run.sh/run.sh,{} ",
        job.description_url()
    );
    assert_in_order(
        &plan.to_string(),
        &[
            "gcloud dataproc jobs submit hadoop --project=shop --region=europe-west3 --cluster=tidemark",
            "--class=org.apache.hadoop.yarn.applications.distributedshell.Client",
            &files,
            "--max-failures-per-hour=10",
            "-- -jar /usr/lib/hadoop-yarn/hadoop-yarn-applications-distributedshell.jar",
            "-num_containers 2 -container_memory 4096 -container_vcores 4",
            "-shell_command 'exec bash run.sh' -localize_files order-analytics,run.sh -timeout 2147483647",
            "-shell_env JOB_PROCESSES=2",
            "gcloud compute ssh tidemark-m --quiet --project=shop --zone=europe-west3-b",
            "/health/ready",
        ],
    );
}

#[test]
fn an_application_is_drained_and_submitted_with_a_way_back() {
    let old = on_cluster();
    let next = release("next");
    let new = CloudJob {
        release: next.hash.clone(),
        ..old.clone()
    };
    let text = applications::replace(&ClusterReplacement {
        release: Some(&next),
        old: &old,
        new: &new,
        master: &master(),
        bootstrap: &BOOTSTRAP,
        folder: Path::new("/jobs/counts"),
    })
    .to_string();

    assert_in_order(
        &text,
        &[
            "/bin/next gs://shop-releases/hash-of-next/order-analytics",
            "GRACEFUL_SHUTDOWN",
            "timeout 300 sh -c 'until found=$(gcloud dataproc jobs list",
            "--files=gs://shop-releases/hash-of-next/order-analytics",
            "# if a step from 7 on fails:",
            "gcloud dataproc jobs kill \"$each\"",
            "--files=gs://shop-releases/hash-of-job/order-analytics",
            "/health/ready",
        ],
    );
}

#[test]
fn a_check_that_is_repeated_is_printed_as_a_shell_reads_it() {
    let action = Action::RunUntil {
        command: words(["test", "it's ready", "=", "it's ready"]),
        limit: Duration::from_secs(60),
    };

    assert_succeeds(&action);
}

#[test]
fn commands_for_each_line_are_printed_as_a_shell_reads_them() {
    let list = words(["printf", "a\\nb\\n"]);
    let each = |command: &[&str]| Action::Each {
        list: list.clone(),
        command: words(command.iter().copied()),
        none: None,
    };
    assert_succeeds(&each(&["test", "it's {}", "!=", "{}"]));
    let fails = shell_of(&each(&["test", "a", "=", "{}"]));
    assert!(!fails.success(), "b is another");

    let absent = |list: &[&str]| Action::Absent {
        list: words(list.iter().copied()),
        reason: String::new(),
    };
    assert_succeeds(&absent(&["true"]));
    assert!(!shell_of(&absent(&["echo", "one"])).success());
    let says_nothing = shell_of(&absent(&["false"]));
    assert!(!says_nothing.success(), "it is not known whether there are");

    let gone = |list: &[&str]| Action::Gone {
        list: words(list.iter().copied()),
        limit: Duration::from_secs(1),
    };
    assert_succeeds(&gone(&["true"]));
    assert!(!shell_of(&gone(&["echo", "one"])).success());
    assert!(!shell_of(&gone(&["false"])).success());
}

fn shell_of(action: &Action) -> std::process::ExitStatus {
    let mut shell = Command::new("sh");
    shell.args(["-c", &action.to_string()]).status().unwrap()
}

#[track_caller]
fn assert_succeeds(action: &Action) {
    assert!(shell_of(action).success(), "{action}");
}
