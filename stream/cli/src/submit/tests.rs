//! Tests of plans: the printed steps are those that would be carried out, and contain no secret.

use std::time::Duration;

use clap::Parser;

use super::google::{submit_dataproc, submit_gce};
use super::plan::Action;
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

/// Hands a job for Google Cloud to `with`.
fn of_cloud(with: impl FnOnce(&CloudJob<'_>) -> Plan) -> String {
    let arguments = [
        "local",
        "--checkpoints",
        "gs://shop-checkpoints/counts",
        "--property",
        "sasl.password=open sesame",
    ];
    let job = release("job");
    let run = release("run.sh");
    let cloud = cloud();
    let job = CloudJob {
        name: "counts",
        release: &job,
        run: &run,
        script: BOOTSTRAP.run,
        processes: 2,
        workers: 4,
        variables: variables(&arguments),
        cloud: &cloud,
    };
    with(&job).to_string()
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
    let plan = folder.replace(Some(&release("next")), &old, &new);

    let text = plan.to_string();
    assert_in_order(
        &text,
        &[
            "install -D -m 755 /bin/next",
            "kill -TERM $(cat /jobs/counts/process-0.pid)",
            "release hash-of-next, 3 processes",
            "hash-of-next supervise",
            "# if a step from 3 on fails:",
            "kill -TERM $(cat /jobs/counts/process-0.pid /jobs/counts/process-1.pid /jobs/counts/process-2.pid)",
            "release hash-of-job, 1 processes",
            "hash-of-job supervise",
        ],
    );
}

#[test]
fn machines_get_the_release_by_its_hash_and_the_start_up_script() {
    let machines = MachineFlags {
        zone: "europe-west3-a".to_owned(),
        machine_type: "n2d-standard-2".to_owned(),
        subnet: "job".to_owned(),
        service_account: "job@shop.iam.gserviceaccount.com".to_owned(),
    };
    let folder = PathBuf::from("/jobs/counts");
    let text = of_cloud(|job| submit_gce(job, &machines, &BOOTSTRAP, &folder));
    let program = "gs://shop-releases/hash-of-job/order-analytics";
    assert_in_order(
        &text,
        &[
            &format!(
                "gcloud storage objects describe {program} || gcloud storage cp --if-generation-match=0 /bin/job {program}"
            ),
            "--if-generation-match=0 /bin/run.sh",
            "fetch \"gs://shop-releases/hash-of-job/order-analytics\" \"gs://shop-releases/hash-of-run.sh/run.sh\"",
            "JOB_PROCESSES=2",
            "JOB_RENDEZVOUS=shop-checkpoints/counts-rendezvous",
            "TIDEMARK_LOG_FORMAT=json",
            "counts-0:5110,counts-1:5110",
            "path=${1#gs://}",
            "[Unit]",
            "gcloud compute instances create counts-0",
            "--metadata=process=0",
            "--metadata-from-file=startup-script=/jobs/counts/startup.sh",
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
fn dataproc_gets_the_arguments_that_terraform_gives() {
    let cluster = ClusterFlags {
        cluster: "tidemark".to_owned(),
        memory_mb: 4096,
    };
    let text = of_cloud(|job| submit_dataproc(job, &cluster));
    assert_in_order(
        &text,
        &[
            "gcloud dataproc jobs submit hadoop --project=shop --region=europe-west3 --cluster=tidemark",
            "--class=org.apache.hadoop.yarn.applications.distributedshell.Client",
            "--files=gs://shop-releases/hash-of-job/order-analytics,gs://shop-releases/hash-of-run.sh/run.sh",
            "--max-failures-per-hour=10",
            "-- -jar /usr/lib/hadoop-yarn/hadoop-yarn-applications-distributedshell.jar",
            "-num_containers 2 -container_memory 4096 -container_vcores 4",
            "-shell_command 'bash run.sh' -localize_files order-analytics,run.sh -timeout 2147483647",
            "-shell_env JOB_PROCESSES=2",
        ],
    );
}

#[test]
fn a_check_that_is_repeated_is_printed_as_a_shell_reads_it() {
    let action = Action::RunUntil {
        command: words(["test", "it's ready", "=", "it's ready"]),
        limit: Duration::from_secs(60),
    };

    let printed = action.to_string();
    let mut shell = Command::new("sh");
    let status = shell.args(["-c", &printed]).status().unwrap();
    assert!(status.success(), "{printed}");
}
