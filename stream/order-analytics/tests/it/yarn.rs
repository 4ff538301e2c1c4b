//! A job on a Hadoop cluster, with programs in the place of `yarn`, `hadoop` and `curl`: an application is a file that its client
//! waits for. The doctor examines a real Kafka.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::kafka::Shop;
use crate::submit::{assert_ends, said, without};

/// Answers as Hadoop's own commands do, with the columns of Hadoop 3.4.2. `fails` contains a pattern of the commands that fail.
const YARN: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$*" >>"$here/calls"
if [ -s "$here/fails" ] && echo "$*" | grep -q -f "$here/fails"; then echo refused; exit 1; fi
runs=$here/runs
case "$*" in
  'application -list '*)
    printf '                Application-Id\t    Application-Name\n'
    if [ -e "$runs" ]; then printf 'application_1_0001\t%20s\t                YARN\n' "$(cat "$runs")"; fi ;;
  'applicationattempt -list application_1_0001')
    printf 'appattempt_1_0001_000001\t             RUNNING\tcontainer_1_0001_01_000001\n' ;;
  'container -list appattempt_1_0001_000001')
    for number in 1 2 3; do
      printf 'container_1_0001_01_00000%s\tMon Nov 30 17:23:49 +0000 2026\t  N/A\t  RUNNING\t  node:53891\thttp://node:1\thttp://node:1/l\n' $number
    done ;;
  'container -signal '*' GRACEFUL_SHUTDOWN' | 'application -kill application_1_0001') rm -f "$runs" ;;
  *distributedshell.Client*)
    cp job.env "$here/variables"
    echo "$*" | sed -E 's/.* -appname ([^ ]+) .*/\1/' >"$runs"
    while [ -e "$runs" ]; do sleep 0.05; done ;;
esac
"#;

struct Cluster<'a> {
    shop: &'a Shop,
    home: TempDir,
}

impl<'a> Cluster<'a> {
    fn new(shop: &'a Shop) -> Self {
        let home = TempDir::new().unwrap();
        for (name, script) in [
            ("yarn", YARN),
            ("hadoop", "#!/bin/sh\n"),
            ("curl", "#!/bin/sh\n"),
        ] {
            let path = home.path().join(name);
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(home.path().join("fails"), "").unwrap();
        Self { shop, home }
    }

    fn get(&self, name: &str) -> String {
        fs::read_to_string(self.home.path().join(name)).unwrap()
    }

    fn run(&self, verb: &str, more: &[&str]) -> Output {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_order-analytics"));
        command.args([verb, "yarn", "--job", &self.shop.name]);
        command.arg("--folder").arg(self.home.path().join("job"));
        command.env("PATH", format!("{}:{path}", self.home.path().display()));
        command.args(more).output().unwrap()
    }

    fn submit(&self, more: &[&str]) -> Output {
        let left_out = ["--until-end", "--job"];
        let own = without(self.shop.arguments(&[]), &left_out);
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let common = [
            "--brokers",
            &self.shop.brokers,
            "--processes=2",
            "--property=client.id=open sesame",
        ];
        self.run("submit", &[&own[..], &common, more].concat())
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        // The client waits for it.
        let _ = fs::remove_file(self.home.path().join("runs"));
    }
}

#[test]
fn a_job_on_yarn_is_submitted_resized_restored_and_drained() {
    let Some(shop) = Shop::open() else {
        return;
    };
    let cluster = Cluster::new(&shop);
    let absent = ["no job was submitted from", "--folder"];
    assert_ends(&cluster.run("rescale", &[]), 1, &absent);
    let planned = cluster.submit(&["--dry-run"]);
    assert_ends(&planned, 0, &["job.env", "distributedshell.Client"]);
    assert!(!said(&planned).contains("sesame"), "{planned:?}");

    assert_ends(&cluster.submit(&[]), 0, &["the job runs"]);
    let again = cluster.submit(&[]);
    assert_ends(&again, 1, &["runs already: application_1_0001"]);
    let client = cluster.get("calls");
    let client = client.lines().find(|call| call.contains("Client")).unwrap();
    assert!(client.contains("-num_containers 2") && client.contains("exec bash hadoop.sh"));
    assert!(!client.contains("sesame"), "{client}");
    let variables = cluster.get("variables");
    for line in [
        "TIDEMARK_PROPERTIES='client.id=open sesame'",
        "TIDEMARK_PROCESSES=2",
    ] {
        assert!(variables.contains(line), "{variables}");
    }

    let works = ["application_1_0001 works"];
    assert_ends(&cluster.run("status", &[]), 0, &works);
    let resized = cluster.run("rescale", &["--processes", "3"]);
    assert_ends(&resized, 0, &["goes on from its last checkpoint"]);
    assert!(cluster.get("variables").contains("TIDEMARK_PROCESSES=3"));
    is_restored_and_drained(&cluster);
}

fn is_restored_and_drained(cluster: &Cluster<'_>) {
    let next = cluster.home.path().join("next");
    fs::write(&next, "another program").unwrap();
    let fails = cluster.home.path().join("fails");
    // The hash of the other program.
    fs::write(&fails, "Client.*60f787c0").unwrap();
    let failed = cluster.run("upgrade", &["--program", next.to_str().unwrap()]);
    assert_ends(&failed, 1, &["refused", "the former job runs again"]);
    assert!(!cluster.get("variables").contains("60f787c0"));
    fs::write(&fails, "").unwrap();

    let drained = cluster.run("cancel", &[]);
    assert_ends(&drained, 0, &["has drained and ended"]);
    let signalled = cluster.get("calls");
    assert!(signalled.contains("-signal container_1_0001_01_000002 GRACEFUL_SHUTDOWN"));
    assert!(
        !signalled.contains("-signal container_1_0001_01_000001"),
        "the application's master has no process of the job"
    );
    assert_ends(&cluster.run("status", &[]), 1, &["does not run"]);
}
