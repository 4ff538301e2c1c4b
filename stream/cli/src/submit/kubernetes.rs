//! A job on Kubernetes: a StatefulSet with a pod for each process, from an image whose entry point is the job's program.
//!
//! The pods find each other by the names of a headless service. A pod that is gone is created again, and the program's own
//! supervisor restarts the job within a pod. Secrets are in a Secret; the description of the job, which contains none, is an
//! annotation of the StatefulSet, so that any machine with access to the cluster can find the job again.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::plan::{Action, Plan, Rollback, Secret, Step, words};
use super::variables::Variables;

/// The port on which a process serves the job's status.
const STATUS_PORT: u16 = 5006;
/// The port on which the processes listen for each other.
const CLUSTER_PORT: u16 = 5110;
/// The label of all objects of a job.
const LABEL: &str = "tidemark-job";
/// The annotation with the description.
const DESCRIPTION: &str = "tidemark-description";
/// The longest time for pods to start and a job to be ready.
const READY_LIMIT: Duration = Duration::from_secs(600);
/// The time that a pod has to drain before it is killed.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

/// The cluster and namespace of a job.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, clap::Args)]
#[group(skip)]
pub struct ClusterPlace {
    /// Context of kubectl [default: the current one]
    #[arg(long, value_name = "CONTEXT")]
    pub context: Option<String>,

    /// Namespace
    #[arg(long, default_value = "default", value_name = "NAMESPACE")]
    pub namespace: String,
}

/// The pods of a job.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, clap::Args)]
#[group(skip)]
pub struct PodFlags {
    /// Image whose entry point is this program
    #[arg(long, value_name = "IMAGE")]
    pub image: String,

    /// Service account of the pods, with access to the checkpoints
    #[arg(long, default_value = "default", value_name = "ACCOUNT")]
    pub service_account: String,

    /// Memory of each pod in MiB
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    pub memory_mb: u32,
}

/// The description of a job. It contains no secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PodsJob {
    pub name: String,
    pub processes: u16,
    pub variables: Variables,
    pub at: ClusterPlace,
    pub pods: PodFlags,
}

impl ClusterPlace {
    fn kubectl<I: Into<String>>(&self, arguments: impl IntoIterator<Item = I>) -> Vec<String> {
        let mut command = words(["kubectl"]);
        let context = self.context.iter();
        command.extend(context.map(|context| format!("--context={context}")));
        command.push(format!("--namespace={}", self.namespace));
        command.extend(words(arguments));
        command
    }

    /// Returns a command that prints the names of the job's stateful set, if there is one.
    fn list(&self, job: &str) -> Vec<String> {
        self.kubectl(["get", "statefulset", "-l", &of(job), "-o", "name"])
    }

    /// Returns a command that prints the job's stateful sets as JSON.
    pub fn describe(&self, job: &str) -> Vec<String> {
        self.kubectl(["get", "statefulset", "-l", &of(job), "-o", "json"])
    }

    /// Returns a command that prints the job's pods as JSON.
    pub fn pods(&self, job: &str) -> Vec<String> {
        self.kubectl(["get", "pod", "-l", &of(job), "-o", "json"])
    }

    /// Returns a command that follows the logs of the job's pods.
    pub fn logs(&self, job: &str) -> Vec<String> {
        let flags = ["--prefix", "--tail=100", "--max-log-requests=100"];
        let mut command = self.kubectl(["logs", "-f", "-l", &of(job)]);
        command.extend(flags.map(str::to_owned));
        command
    }

    /// Drains the job and deletes its objects.
    pub fn cancel(&self, job: &str) -> Plan {
        let kinds = "statefulset,service,configmap,secret";
        let delete = self.kubectl(["delete", kinds, "-l", &of(job)]);
        let mut steps = self.drains(job).to_vec();
        steps.push(Step::run("deletes the objects of the job", delete));
        Plan {
            steps,
            rollback: Some(Rollback {
                from: 0,
                steps: Vec::new(),
                before: "",
                end: "`status kubernetes` shows the pods that are left, and `cancel kubernetes` again drains and deletes them",
                mend: String::new(),
            }),
            end: "the job has drained and ended; its next start goes on from its last checkpoint"
                .to_owned(),
            ..Plan::default()
        }
    }

    /// Returns the steps that end all pods, each with a last checkpoint.
    fn drains(&self, job: &str) -> [Step; 2] {
        let scale = Action::Each {
            list: self.list(job),
            command: self.kubectl(["scale", "{}", "--replicas=0"]),
            none: Some(format!(
                "job {job} is not in namespace {}: `submit kubernetes` starts it",
                self.namespace
            )),
        };
        let gone = Action::Gone {
            list: self.kubectl(["get", "pod", "-l", &of(job), "-o", "name"]),
            limit: DRAIN_LIMIT * 2,
        };
        [
            Step::new("drains the job in its pods, with a last checkpoint", scale),
            Step::new("waits until the pods have ended", gone),
        ]
    }
}

impl PodsJob {
    /// Submits the job. `secrets` are the variables that may contain secrets.
    pub fn submit(&self, secrets: &Variables, folder: &Path) -> Plan {
        let absent = Action::Absent {
            list: self.at.list(&self.name),
            reason: format!(
                "job {} runs already as {{}}; `cancel kubernetes` ends it",
                self.name
            ),
        };

        let mut steps = vec![Step::new("checks that the job is not there", absent)];
        steps.push(self.writes_secret(secrets, folder));
        let from = steps.len();
        let file = secret_file(folder);
        let apply = self.at.kubectl(["apply", "-f", &file]);
        steps.push(Step::run("creates the secret", apply));
        steps.extend(self.starts(folder));

        Plan {
            steps,
            rollback: Some(Rollback {
                from,
                steps: Vec::new(),
                before: "nothing was created",
                end: "`status kubernetes` shows the pods, and `cancel kubernetes` deletes what was created",
                mend: String::new(),
            }),
            end: "the job runs".to_owned(),
            look: self.look(),
        }
    }

    /// Drains the job and starts it in another form. If it does not drain, or is not ready then, the rollback starts it in its
    /// former one.
    pub fn replace(&self, new: &Self, folder: &Path) -> Plan {
        let mut steps = self.at.drains(&self.name).to_vec();
        steps.extend(new.starts(folder));

        let mut back = self.at.drains(&self.name).to_vec();
        back.extend(self.starts(folder));

        Plan {
            steps,
            rollback: Some(Rollback {
                from: 0,
                steps: back,
                before: "",
                end: "the former job runs again",
                mend: format!(
                    "`rescale kubernetes --job {} --namespace {}` with the former size starts the job again from its last checkpoint",
                    self.name, self.at.namespace
                ),
            }),
            end: "the job goes on from its last checkpoint".to_owned(),
            look: new.look(),
        }
    }

    fn writes_secret(&self, secrets: &Variables, folder: &Path) -> Step {
        let data: Map<String, Value> = secrets
            .iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let manifest = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": self.metadata(), "stringData": data,
        });
        let names: Vec<&str> = secrets.names().collect();
        let action = Action::Hidden {
            path: folder.join("secret.json"),
            content: Secret(manifest.to_string()),
            shown: format!("a Secret with {}", names.join(", ")),
        };
        Step::new("writes the secret to a file", action)
    }

    /// Returns the steps that apply the manifest and wait until all processes work.
    fn starts(&self, folder: &Path) -> [Step; 3] {
        let file = folder.join("job-manifest.json");
        let content = serde_json::to_string_pretty(&self.manifest()).unwrap_or_default();
        let write = Action::Script {
            path: file.clone(),
            content: content + "\n",
        };
        let apply = self
            .at
            .kubectl(["apply", "-f", &file.display().to_string()]);
        let set = format!("statefulset/{}", self.name);
        let limit = format!("--timeout={}s", READY_LIMIT.as_secs());
        let wait = self.at.kubectl(["rollout", "status", &set, &limit]);
        [
            Step::new("writes the manifest of the job", write),
            Step::run("applies it", apply),
            Step::run("waits until all processes work", wait),
        ]
    }

    fn metadata(&self) -> Value {
        json!({"name": self.name, "namespace": self.at.namespace, "labels": {LABEL: self.name}})
    }

    /// Returns the objects of the job, apart from the secret.
    fn manifest(&self) -> Value {
        let data: Map<String, Value> = self
            .environment()
            .iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let settings = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": self.metadata(), "data": data,
        });

        // A process is ready when all have found each other, so their names must resolve before.
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": self.metadata(),
            "spec": {
                "clusterIP": "None", "publishNotReadyAddresses": true, "selector": {LABEL: self.name},
                "ports": [{"name": "http", "port": STATUS_PORT}, {"name": "links", "port": CLUSTER_PORT}],
            },
        });

        json!({"apiVersion": "v1", "kind": "List", "items": [settings, service, self.stateful_set()]})
    }

    fn stateful_set(&self) -> Value {
        let mut metadata = self.metadata();
        let description = serde_json::to_string(self).unwrap_or_default();
        metadata["annotations"] = json!({DESCRIPTION: description});

        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata,
            "spec": {
                "serviceName": self.name, "replicas": self.processes, "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": {LABEL: self.name}},
                "template": {"metadata": {"labels": {LABEL: self.name}}, "spec": self.pod()},
            },
        })
    }

    fn pod(&self) -> Value {
        let number = "metadata.labels['apps.kubernetes.io/pod-index']";
        let probe = |path: &str, failures: u16| json!({"httpGet": {"path": path, "port": "http"}, "periodSeconds": 10, "failureThreshold": failures});
        let memory = format!("{}Mi", self.pods.memory_mb);

        json!({
            "serviceAccountName": self.pods.service_account,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": DRAIN_LIMIT.as_secs(),
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "job",
                "image": self.pods.image,
                "args": ["supervise"],
                "envFrom": [{"configMapRef": {"name": self.name}}, {"secretRef": {"name": self.name}}],
                "env": [{"name": "TIDEMARK_PROCESS", "valueFrom": {"fieldRef": {"fieldPath": number}}}],
                "ports": [{"name": "http", "containerPort": STATUS_PORT}, {"name": "links", "containerPort": CLUSTER_PORT}],
                "livenessProbe": probe("/health/live", 6),
                "readinessProbe": probe("/health/ready", 1),
                "resources": {"requests": {"memory": memory}, "limits": {"memory": memory}},
                "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
            }],
            "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "64Mi"}}],
        })
    }

    /// Returns the variables of all processes.
    fn environment(&self) -> Variables {
        let service = format!("{}.{}.svc", self.name, self.at.namespace);
        let host = |process: u16| format!("{}-{process}.{service}:{CLUSTER_PORT}", self.name);
        let hosts: Vec<String> = (0..self.processes).map(host).collect();

        let mut variables = self.variables.clone();
        variables.set("TIDEMARK_JOB", &self.name);
        variables.set("TIDEMARK_STATUS_ADDRESS", format!("0.0.0.0:{STATUS_PORT}"));
        variables.set("TIDEMARK_LOG_FORMAT", "json");
        variables.set_default("TIDEMARK_LOG", "info");
        variables.set("TIDEMARK_PROCESSES", self.processes.to_string());
        if self.processes > 1 {
            variables.set("TIDEMARK_HOSTS", hosts.join(","));
        }
        variables
    }

    /// Returns the URL of the job's checkpoints.
    pub fn checkpoints(&self) -> &str {
        let set = self.variables.get("TIDEMARK_CHECKPOINTS");
        set.unwrap_or_default()
    }

    fn look(&self) -> Vec<(&'static str, String)> {
        let pod = format!("pod/{}-0", self.name);
        let forward = self.at.kubectl(["port-forward", &pod, "5006"]);
        vec![
            (
                "status",
                format!("{}, then http://localhost:5006", forward.join(" ")),
            ),
            ("logs", self.at.logs(&self.name).join(" ")),
            ("checkpoints", self.checkpoints().to_owned()),
        ]
    }
}

/// Reads the description of a job from the answer to [`ClusterPlace::describe`].
pub fn parse(answer: &str) -> Option<PodsJob> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    let mut items = answer["items"].as_array()?.iter();
    let description = items.find_map(|item| item["metadata"]["annotations"][DESCRIPTION].as_str());
    serde_json::from_str(description?).ok()
}

/// Returns a line for each pod in the answer to [`ClusterPlace::pods`], and whether all are ready.
pub fn states(answer: &str) -> Option<(Vec<String>, bool)> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    let pods = answer["items"].as_array()?;
    let is_ready = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    };
    let line = |pod: &Value| {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        match is_ready(pod) {
            true => format!("pod {name} works"),
            false => {
                let phase = pod["status"]["phase"].as_str().unwrap_or_default();
                format!("pod {name} is not ready, its phase is {phase}")
            }
        }
    };
    let works = !pods.is_empty() && pods.iter().all(is_ready);
    Some((pods.iter().map(line).collect(), works))
}

fn of(job: &str) -> String {
    format!("{LABEL}={job}")
}

fn secret_file(folder: &Path) -> String {
    folder.join("secret.json").display().to_string()
}
