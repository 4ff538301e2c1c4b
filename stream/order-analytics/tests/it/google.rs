//! A job on Google Cloud, with a program in gcloud's place that keeps machines, objects and Dataproc's jobs in files, and that
//! accepts only the flags of gcloud's reference.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::submit::{assert_ends, said};

/// The commands of gcloud that are used, each with its flags in the reference, <https://cloud.google.com/sdk/gcloud/reference>. All
/// were looked up in the list of commands and flags that gcloud 528.0.0 installs as `data/cli/gcloud_completions.py`.
const REFERENCE: [(&str, &str); 17] = [
    ("storage objects describe", ""),
    ("storage cp", "--if-generation-match"),
    ("storage cat", ""),
    ("storage buckets describe", ""),
    (
        "storage buckets create",
        "--location --uniform-bucket-level-access --public-access-prevention",
    ),
    ("storage buckets update", "--versioning"),
    ("services enable", ""),
    ("beta services identity create", "--service"),
    ("compute instances list", "--zones --filter"),
    (
        "compute instances create",
        "--zone --machine-type --subnet --no-address --image-family --image-project --shielded-secure-boot \
         --service-account --scopes --labels --metadata --metadata-from-file",
    ),
    ("compute instances delete", "--zone"),
    ("compute ssh", "--zone --tunnel-through-iap --command"),
    ("dataproc clusters describe", "--region"),
    ("dataproc jobs list", "--region --filter"),
    ("dataproc jobs kill", "--region"),
    ("dataproc jobs wait", "--region"),
    (
        "dataproc jobs submit hadoop",
        "--region --cluster --class --jars --files --labels --max-failures-per-hour --max-failures-total --async",
    ),
];
/// The flags of all commands.
const OF_ALL: [&str; 3] = ["--project", "--format", "--quiet"];

/// Answers as gcloud does. `machines` and `jobs` have a line for each: its name, its state, and the URL of its description. `fails`
/// contains a pattern of the commands that fail.
const GCLOUD: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >>calls
if [ -s fails ] && echo "$*" | grep -q -f fails; then exit 255; fi
object() { echo "objects/$(echo "$1" | tr '/' '_')"; }
for last; do before=$now now=$last; done
mkdir -p objects
case "$*" in
  *'value(name)'*) cut -f 1 machines ;;
  *'value(name,status)'*) cut -f 1,2 machines ;;
  *'value(reference.jobId)'*) cut -f 1 jobs ;;
  *'value(reference.jobId,status.state)'*) cut -f 1,2 jobs ;;
  *'json(name,metadata.items)'*)
    sed -E 's/(.*)\t.*\t(.*)/{"name":"\1","metadata":{"items":[{"key":"process","value":"0"},{"key":"job","value":"\2"}]}}/' machines |
      paste -sd, | sed 's/.*/[&]/; s/^$/[]/' | grep . || echo '[]' ;;
  *'json(reference.jobId,hadoopJob.fileUris)'*)
    sed -E 's/(.*)\t.*\t(.*)/{"reference":{"jobId":"\1"},"hadoopJob":{"fileUris":["gs:\/\/run.sh","\2"]}}/' jobs |
      paste -sd, | sed 's/.*/[&]/' | grep . || echo '[]' ;;
  'compute instances create '*) printf '%s\tRUNNING\t%s\n' "$4" "$(echo "$*" | sed -E 's/.*,job=([^,]*),.*/\1/')" >>machines ;;
  'compute instances delete '*) sed -i "/^$4\t/d" machines ;;
  'dataproc jobs submit '*)
    printf 'id-1\tRUNNING\t%s\n' "$(echo "$*" | sed -E 's/.* --files=[^ ]*,([^ ]*) .*/\1/')" >>jobs ;;
  'dataproc jobs kill '*) sed -i "/^$4\t/d" jobs ;;
  'dataproc clusters describe '*) printf 'tidemark-m\thttps://www.googleapis.com/compute/v1/projects/shop/zones/europe-west3-b\n' ;;
  *GRACEFUL_SHUTDOWN*) : >jobs ;;
  'storage objects describe '*) [ -e "$(object "$4")" ] ;;
  'storage cat '*) cat "$(object "$3")" ;;
  'storage cp '*' gs://'*' /'*) cp "$(object "$before")" "$now" ;;
  'storage cp '*) cp "$before" "$(object "$now")" ;;
esac
"#;

struct Google {
    home: TempDir,
}

impl Google {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        let gcloud = home.path().join("gcloud");
        fs::write(&gcloud, GCLOUD).unwrap();
        fs::set_permissions(&gcloud, fs::Permissions::from_mode(0o755)).unwrap();
        for file in ["machines", "jobs", "calls", "fails"] {
            fs::write(home.path().join(file), "").unwrap();
        }
        Self { home }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn set(&self, name: &str, content: &str) {
        fs::write(self.file(name), content).unwrap();
    }

    fn get(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    fn run(&self, verb: &str, place: &str, more: &[&str]) -> Output {
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.home.path().display());
        let output = Command::new(env!("CARGO_BIN_EXE_order-analytics"))
            .args([verb, place, "--job", "counts", "--project", "shop"])
            .args(more)
            .env("PATH", path)
            .env("XDG_STATE_HOME", self.home.path())
            .output()
            .unwrap();
        self.assert_in_the_reference();
        output
    }

    fn submit(&self, place: &str, more: &[&str]) -> Output {
        let common = [
            "--releases=gs://shop-releases",
            "--secret=projects/shop/secrets/kafka",
            "--brokers=kafka-1:9092",
            "--checkpoints=gs://shop-checkpoints/counts",
            "--processes=2",
        ];
        self.run("submit", place, &[&common[..], more].concat())
    }

    /// Returns the calls so far that contain this text, and forgets all.
    fn calls(&self, of: &str) -> Vec<String> {
        let calls = self.get("calls");
        self.set("calls", "");
        let calls = calls.lines().filter(|call| call.contains(of));
        calls.map(str::to_owned).collect()
    }

    #[track_caller]
    fn assert_in_the_reference(&self) {
        for call in self.get("calls").lines() {
            let known = REFERENCE.iter().find(|(name, _)| call.starts_with(name));
            let (_, flags) = known.unwrap_or_else(|| panic!("no such command: {call}"));
            // The client's arguments follow two dashes, and those of a machine's command are one word that begins with --command.
            let own = call.split(" -- ").next().unwrap();
            let own = own.split("--command=").next().unwrap();
            let used = own.split(' ').filter(|word| word.starts_with("--"));
            for flag in used.map(|word| word.split('=').next().unwrap()) {
                let is_known =
                    flags.split(' ').any(|known| known == flag) || OF_ALL.contains(&flag);
                assert!(is_known, "{flag} in {call}");
            }
        }
    }
}

const MACHINES: [&str; 2] = [
    "--subnet=job",
    "--service-account=job@shop.iam.gserviceaccount.com",
];

#[test]
fn the_machines_of_a_job_are_created_shown_drained_and_deleted() {
    let google = Google::new();
    assert_ends(&google.run("status", "gce", &[]), 1, &["has no machines"]);
    assert_ends(&google.run("cancel", "gce", &[]), 1, &["has no machines"]);

    assert_ends(&google.submit("gce", &MACHINES), 0, &["the job runs"]);
    assert_eq!(google.calls("instances create").len(), 2);
    let again = google.submit("gce", &MACHINES);
    assert_ends(
        &again,
        1,
        &["has machines already: counts-0 counts-1", "`cancel gce`"],
    );
    assert_eq!(google.calls("instances create").len(), 0);

    let works = ["machine counts-0 works", "machine counts-1 works"];
    assert_ends(&google.run("status", "gce", &[]), 0, &works);
    google.set("fails", "ssh counts-0.*curl");
    google.set("machines", "counts-0\tRUNNING\ncounts-1\tTERMINATED\n");
    let named = [
        "counts-0 runs and cannot be reached",
        "its state is TERMINATED",
    ];
    assert_ends(&google.run("status", "gce", &[]), 1, &named);
    google.calls("");

    assert_ends(&google.run("logs", "gce", &[]), 0, &[]);
    assert_eq!(google.calls("journalctl").len(), 2);

    let planned = google.run("cancel", "gce", &["--dry-run"]);
    assert_ends(
        &planned,
        0,
        &["for each in $(gcloud compute instances list"],
    );
    assert_eq!(google.get("calls"), "", "a plan does nothing");

    assert_ends(
        &google.run("cancel", "gce", &[]),
        0,
        &["has drained and ended"],
    );
    let calls = google.calls("counts-");
    for (call, beginning) in calls.iter().zip([
        "compute ssh counts-0",
        "compute ssh counts-1",
        "compute instances delete counts-0",
        "compute instances delete counts-1",
    ]) {
        assert!(call.starts_with(beginning), "{calls:?}");
    }
    assert_eq!(calls.len(), 4, "{calls:?}");
    assert_eq!(google.get("machines"), "");
}

#[test]
fn machines_that_a_failure_leaves_are_named() {
    let google = Google::new();
    google.set("fails", "create counts-1");
    let failed = google.submit("gce", &MACHINES);
    assert_ends(
        &failed,
        1,
        &["create counts-1", "`status gce` lists", "`cancel gce`"],
    );

    google.set("machines", "counts-0\tRUNNING\ncounts-1\tRUNNING\n");
    google.set("fails", "systemctl stop");
    let failed = google.run("cancel", "gce", &[]);
    assert_ends(
        &failed,
        1,
        &[
            "compute ssh counts-0",
            "`status gce` lists",
            "`cancel gce` again",
        ],
    );
    assert_eq!(
        google.calls("instances delete").len(),
        0,
        "it has not drained"
    );
    assert!(google.get("machines").contains("counts-1"));

    google.set("fails", "instances list");
    assert_ends(
        &google.run("status", "gce", &[]),
        1,
        &["instances list", "ended with"],
    );
}

#[test]
fn a_job_in_dataproc_is_submitted_once_shown_and_ended() {
    let google = Google::new();
    assert_ends(
        &google.run("status", "dataproc", &[]),
        1,
        &["is not active"],
    );
    assert_ends(
        &google.run("cancel", "dataproc", &[]),
        1,
        &["is not active"],
    );

    let cluster = ["--cluster=tidemark"];
    let submitted = google.submit("dataproc", &cluster);
    assert_ends(&submitted, 0, &["the job runs"]);
    let again = google.submit("dataproc", &cluster);
    assert_ends(
        &again,
        1,
        &["active in Dataproc already: id-1", "`cancel dataproc`"],
    );
    assert!(!said(&again).contains("no process"), "{again:?}");

    let shown = google.run("status", "dataproc", &[]);
    assert_ends(&shown, 0, &["job id-1 in Dataproc is RUNNING"]);
    google.set("jobs", "id-1\tRUNNING\tx\nid-2\tRUNNING\tx\n");
    let twice = google.run("status", "dataproc", &[]);
    assert_ends(&twice, 1, &["active more than once"]);
    google.calls("");
    assert_ends(&google.run("logs", "dataproc", &[]), 0, &[]);
    assert_eq!(google.calls("jobs wait id-").len(), 2);

    google.set("fails", "kill id-2");
    let failed = google.run("cancel", "dataproc", &["--kill"]);
    assert_ends(&failed, 1, &["kill id-2", "`status dataproc` shows"]);
    google.set("fails", "");
    let ended = google.run("cancel", "dataproc", &["--kill"]);
    assert_ends(&ended, 0, &["without a drain"]);
    assert_eq!(google.get("jobs"), "");
}

#[test]
fn a_job_in_dataproc_is_resized_replaced_and_drained() {
    let google = Google::new();
    let cluster = ["--cluster=tidemark", "--workers=2"];
    assert_ends(&google.submit("dataproc", &cluster), 0, &["the job runs"]);
    google.calls("");

    let resized = google.run(
        "rescale",
        "dataproc",
        &["--processes", "3", "--workers", "4"],
    );
    assert_ends(&resized, 0, &["goes on from its last checkpoint"]);
    let calls = google.calls("");
    let position = |of: &str| calls.iter().position(|call| call.contains(of)).unwrap();
    let submit = position("jobs submit hadoop");
    assert!(position("GRACEFUL_SHUTDOWN") < submit && submit < position("/health/ready"));
    for argument in [
        "-num_containers 3",
        "-container_vcores 4",
        "TIDEMARK_WORKERS=4",
        "JOB_PROCESSES=3",
    ] {
        assert!(calls[submit].contains(argument), "{calls:?}");
    }

    // Another program that cannot be submitted gives way to the former.
    let next = google.file("next");
    fs::write(&next, "another program").unwrap();
    let next = next.to_str().unwrap();
    google.set("fails", "submit hadoop.*/60f787c0");
    let failed = google.run("upgrade", "dataproc", &["--program", next]);
    assert_ends(&failed, 1, &["submit hadoop", "the former job runs again"]);
    let last = google.calls("submit hadoop").pop().unwrap();
    assert!(last.contains("-num_containers 3"), "{last}");

    google.set("fails", "tidemark-m.*GRACEFUL");
    let failed = google.run("cancel", "dataproc", &[]);
    assert_ends(&failed, 1, &["GRACEFUL", "`cancel dataproc --kill`"]);
    google.set("fails", "");
    assert_ends(
        &google.run("cancel", "dataproc", &[]),
        0,
        &["has drained and ended"],
    );
    assert_eq!(google.get("jobs"), "");
}

#[test]
fn a_job_on_machines_is_resized_replaced_and_restored() {
    let google = Google::new();
    assert_ends(
        &google.run("rescale", "gce", &[]),
        1,
        &["has no machines", "`submit gce`"],
    );
    let machines = [&MACHINES[..], &["--workers=2"]].concat();
    assert_ends(&google.submit("gce", &machines), 0, &["the job runs"]);
    google.calls("");
    let larger = ["--processes", "3", "--workers", "4"];

    let planned = google.run("rescale", "gce", &[&larger[..], &["--dry-run"]].concat());
    let parts = ["create counts-2", "# if a step from", "TIDEMARK_WORKERS=4"];
    assert_ends(&planned, 0, &parts);
    let calls = google.calls("");
    assert_eq!(calls.len(), 2, "a plan only reads: {calls:?}");

    google.set("fails", "sudo -n true");
    let refused = google.run("rescale", "gce", &larger);
    assert_ends(&refused, 1, &["ssh counts-0", "the job runs as before"]);
    assert_eq!(google.calls("systemctl").len(), 0);
    google.set("fails", "");

    assert_ends(
        &google.run("rescale", "gce", &larger),
        0,
        &["goes on from its last checkpoint"],
    );
    assert_eq!(google.get("machines").lines().count(), 3);
    let calls = google.calls("counts-");
    let kinds = [
        ("sudo -n true", 2),
        ("systemctl stop", 2),
        ("delete", 2),
        ("create", 3),
        ("/health/ready", 3),
    ];
    let expected = kinds.iter().flat_map(|(kind, count)| vec![*kind; *count]);
    assert!(
        calls
            .iter()
            .zip(expected)
            .all(|(call, kind)| call.contains(kind))
            && calls.len() == 12,
        "{calls:?}"
    );

    is_restored_and_upgraded(&google);
}

fn is_restored_and_upgraded(google: &Google) {
    let startup = || google.get("tidemark/counts/scripts/startup.sh");
    let former = startup();
    assert!(former.contains("JOB_PROCESSES=3") && former.contains("TIDEMARK_WORKERS=4"));

    google.set("fails", "create counts-3");
    let failed = google.run("rescale", "gce", &["--processes", "4"]);
    assert_ends(
        &failed,
        1,
        &["create counts-3", "the former job runs again"],
    );
    assert_eq!(startup(), former);
    assert_eq!(google.get("machines").lines().count(), 3);
    google.set("fails", "");

    let next = google.file("next");
    fs::write(&next, "another program").unwrap();
    let upgrade = ["--program", next.to_str().unwrap()];
    let planned = google.run("savepoint", "gce", &["--to", "counts-2", "--dry-run"]);
    let copy =
        "checkpoints --checkpoints gs://shop-checkpoints/counts --job counts copy --to counts-2";
    assert_ends(&planned, 0, &[copy]);
    let upgraded = google.run("upgrade", "gce", &upgrade);
    assert_ends(&upgraded, 0, &["goes on from its last checkpoint"]);
    assert!(startup().contains("/60f787c0"), "{}", startup());
    let again = google.run("upgrade", "gce", &upgrade);
    assert_ends(&again, 0, &["runs this program already"]);
}

#[test]
fn a_clean_project_gets_a_running_job_by_one_script() {
    let google = Google::new();
    google.set("fails", "buckets describe");
    let values = google.file("kafka.tfvars");
    fs::write(&values, "region = \"europe-west4\"\n").unwrap();
    let terraform = google.file("terraform");
    fs::write(&terraform, "#!/bin/sh\necho \"$*\" >>\"$0.calls\"\n").unwrap();
    fs::set_permissions(&terraform, fs::Permissions::from_mode(0o755)).unwrap();

    let run = |password: Option<&str>| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra-gcp/alone.sh");
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(script);
        command.arg("shop").arg(&values).arg("-auto-approve");
        command.env("PATH", format!("{}:{path}", google.home.path().display()));
        command.envs(password.map(|password| ("TF_VAR_kafka_password", password)));
        command.output().unwrap()
    };

    assert_ends(&run(None), 1, &["TF_VAR_kafka_password"]);
    assert_eq!(google.get("calls"), "");
    assert_ends(&run(Some("sesame")), 0, &[]);
    google.assert_in_the_reference();
    let created = google.calls("buckets create gs://shop-terraform");
    assert!(
        created[0].contains("--location=europe-west4"),
        "{created:?}"
    );
    let terraform = google.get("terraform.calls");
    let last = terraform.lines().last().unwrap();
    let values = format!("-var-file={}", values.display());
    for part in [
        "apply",
        "-var-file=env/prod.tfvars",
        &values,
        "-var project=shop",
        "-auto-approve",
    ] {
        assert!(last.contains(part), "{terraform}");
    }
    assert!(!terraform.contains("sesame"), "{terraform}");

    // A second run finds the bucket.
    google.set("fails", "");
    assert_ends(&run(Some("sesame")), 0, &[]);
    assert_eq!(google.calls("buckets create").len(), 0);
}
