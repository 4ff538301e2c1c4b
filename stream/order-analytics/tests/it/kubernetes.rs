//! A job on Kubernetes, with a program in kubectl's place that keeps the applied manifests in files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::submit::{assert_ends, said};

/// Answers as kubectl does. `fails` contains a pattern of the commands that fail. The job's objects are the manifest.
const KUBECTL: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >>calls
if [ -s fails ] && echo "$*" | grep -q -f fails; then exit 1; fi
for last; do :; done
case "$*" in
  *' get statefulset '*' -o name') if [ -e manifest ]; then echo statefulset.apps/counts; fi ;;
  *' get statefulset '*' -o json') if [ -e manifest ]; then cat manifest; else echo '{"items":[]}'; fi ;;
  *' get pod '*' -o json') cat pods ;;
  *' apply -f '*secret.json) cp "$last" secret ;;
  *' apply -f '*) cp "$last" manifest ;;
  *' delete '*) rm manifest secret ;;
esac
"#;

struct Kubernetes {
    home: TempDir,
}

impl Kubernetes {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        let kubectl = home.path().join("kubectl");
        fs::write(&kubectl, KUBECTL).unwrap();
        fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).unwrap();
        for (file, content) in [("calls", ""), ("fails", ""), ("pods", r#"{"items": []}"#)] {
            fs::write(home.path().join(file), content).unwrap();
        }
        Self { home }
    }

    fn set(&self, name: &str, content: &str) {
        fs::write(self.home.path().join(name), content).unwrap();
    }

    fn json(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.home.path().join(name)).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn run(&self, verb: &str, more: &[&str]) -> Output {
        let path = std::env::var("PATH").unwrap();
        Command::new(env!("CARGO_BIN_EXE_order-analytics"))
            .args([verb, "kubernetes", "--job", "counts", "--namespace", "shop"])
            .args(more)
            .env("PATH", format!("{}:{path}", self.home.path().display()))
            .env("XDG_STATE_HOME", self.home.path())
            .output()
            .unwrap()
    }

    fn submit(&self, more: &[&str]) -> Output {
        let common = [
            "--image=shop/counts:1",
            "--brokers=kafka-1:9092",
            "--checkpoints=s3://shop/counts",
            "--processes=2",
            "--property=sasl.password=open sesame",
        ];
        self.run("submit", &[&common[..], more].concat())
    }

    /// Returns the verbs of kubectl that were used, and forgets them.
    fn verbs(&self) -> Vec<String> {
        let path = self.home.path().join("calls");
        let calls = fs::read_to_string(&path).unwrap();
        fs::write(&path, "").unwrap();
        let verb = |call: &str| {
            assert!(call.starts_with("--namespace=shop "), "{call}");
            call.split(' ').nth(1).unwrap().to_owned()
        };
        calls.lines().map(verb).collect()
    }

    /// Returns the number of replicas, the image, and the variables of the pods.
    fn form(&self) -> (u64, String, Value) {
        let items = self.json("manifest")["items"].clone();
        let spec = &items[2]["spec"];
        let image = &spec["template"]["spec"]["containers"][0]["image"];
        (
            spec["replicas"].as_u64().unwrap(),
            image.as_str().unwrap().to_owned(),
            items[0]["data"].clone(),
        )
    }
}

#[test]
fn a_job_on_kubernetes_is_applied_once_and_shown() {
    let kubernetes = Kubernetes::new();
    for verb in ["cancel", "rescale"] {
        let absent = ["is not in namespace shop", "`submit kubernetes`"];
        assert_ends(&kubernetes.run(verb, &[]), 1, &absent);
    }
    let own = kubernetes.run("submit", &["--image=shop/counts:1"]);
    assert_ends(&own, 1, &["pods cannot share checkpoints", "s3://"]);
    kubernetes.verbs();

    let planned = kubernetes.submit(&["--dry-run"]);
    assert_ends(&planned, 0, &["apply -f", "\"kind\": \"StatefulSet\""]);
    assert!(!said(&planned).contains("sesame"), "{planned:?}");
    assert!(kubernetes.verbs().is_empty(), "a plan does nothing");

    let submitted = kubernetes.submit(&[]);
    assert_ends(&submitted, 0, &["the job runs", "port-forward"]);
    let expected = ["get", "apply", "apply", "rollout"];
    assert_eq!(kubernetes.verbs(), expected);
    let (replicas, image, variables) = kubernetes.form();
    assert_eq!((replicas, &*image), (2, "shop/counts:1"));
    let hosts = "counts-0.counts.shop.svc:5110,counts-1.counts.shop.svc:5110";
    assert_eq!(variables["TIDEMARK_HOSTS"], hosts);
    assert!(!variables.to_string().contains("sesame"), "{variables}");
    let secret = kubernetes.json("secret");
    let password = &secret["stringData"]["TIDEMARK_PROPERTIES"];
    assert_eq!(password, "sasl.password=open sesame");
    let shared = secret["stringData"]["TIDEMARK_CLUSTER_SECRET"].as_str();
    assert_eq!(shared.unwrap().len(), 64);

    let again = kubernetes.submit(&[]);
    assert_ends(&again, 1, &["runs already as statefulset.apps/counts"]);

    let pod = |name: &str, ready: &str| {
        format!(
            r#"{{"metadata": {{"name": "{name}"}}, "status": {{"phase": "Running", "conditions": [{{"type": "Ready", "status": "{ready}"}}]}}}}"#
        )
    };
    let pods = |ready: &str| {
        format!(
            r#"{{"items": [{}, {}]}}"#,
            pod("a", "True"),
            pod("b", ready)
        )
    };
    kubernetes.set("pods", &pods("True"));
    let works = ["pod a works", "pod b works"];
    assert_ends(&kubernetes.run("status", &[]), 0, &works);
    kubernetes.set("pods", &pods("False"));
    let named = ["pod a works", "pod b is not ready, its phase is Running"];
    assert_ends(&kubernetes.run("status", &[]), 1, &named);
}

#[test]
fn a_job_on_kubernetes_is_resized_replaced_restored_and_drained() {
    let kubernetes = Kubernetes::new();
    assert_ends(&kubernetes.submit(&[]), 0, &["the job runs"]);
    kubernetes.verbs();

    let resized = kubernetes.run("rescale", &["--processes", "3", "--workers", "4"]);
    assert_ends(&resized, 0, &["goes on from its last checkpoint"]);
    let expected = ["get", "get", "scale", "get", "apply", "rollout"];
    assert_eq!(kubernetes.verbs(), expected);
    let larger = kubernetes.form();
    assert_eq!((larger.0, &larger.2["TIDEMARK_WORKERS"]), (3, &"4".into()));

    // Pods of an image that does not exist are never ready; the rollback waits for those of the former one.
    kubernetes.set("pods", r#"{"items": []}"#);
    kubernetes.set("fails", "--namespace=shop apply .*upgraded");
    let folder = kubernetes.home.path().join("upgraded");
    let broken = [
        "--image=shop/counts:2",
        "--folder",
        folder.to_str().unwrap(),
    ];
    let failed = kubernetes.run("upgrade", &broken);
    assert_ends(&failed, 1, &["apply -f", "to restore the former state"]);
    assert_ends(&failed, 1, &["`rescale kubernetes --job counts"]);
    kubernetes.set("fails", "");
    assert_eq!(kubernetes.form(), larger);

    let upgraded = kubernetes.run("upgrade", &["--image=shop/counts:2"]);
    assert_ends(&upgraded, 0, &["goes on from its last checkpoint"]);
    assert_eq!(kubernetes.form().1, "shop/counts:2");

    let copy = kubernetes.run("savepoint", &["--to=s3://other/counts", "--dry-run"]);
    let command = "--checkpoints s3://shop/counts --job counts copy --to s3://other/counts";
    assert_ends(&copy, 0, &[command]);

    kubernetes.verbs();
    assert_ends(
        &kubernetes.run("cancel", &[]),
        0,
        &["has drained and ended"],
    );
    assert_eq!(kubernetes.verbs(), ["get", "scale", "get", "delete"]);
}
