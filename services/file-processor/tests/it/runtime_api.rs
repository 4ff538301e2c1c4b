//! Runs the built binary as Lambda does: with events from the Runtime API, one after the other.
//!
//! `TIDEMARK_TEST_BOOTSTRAP` names another binary to be tested, such as the one in the zip that is deployed.
//! `TIDEMARK_TEST_EMULATOR` is the command that runs it if it is for another architecture.
//! See <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use chassis::Shutdown;
use chassis::auth::Auth;
use chassis::dynamodb::client;
use file_processor::{Config, FILES, Objects, Outcome, Parts, Program, RuntimeApi, Service};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The longest time that any step may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);
/// Linux's unit of CPU time.
const MS_A_TICK: u64 = 10;
/// The default time limit of the function for an event.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(300);

/// A running function, with a folder for its objects and an embedded DynamoDB for its table; killed with the test.
pub struct Function {
    child: Child,
    folder: TempDir,
    dynamodb: String,
    api: RuntimeApi,
    started: Instant,
    timeout: Duration,
}

/// The process's resources so far, as the system counts them.
pub struct Taken {
    /// User and system time.
    pub cpu: Duration,
    /// The peak of its memory.
    pub peak_memory_bytes: u64,
}

impl Function {
    /// Starts the binary over an empty folder and table. Imports go to the products service at this URL, which does
    /// not authenticate callers.
    pub async fn start(products_url: &str) -> Self {
        Self::start_with(products_url, &[]).await
    }

    /// Starts the binary over the bucket `uploads` of the S3 at this endpoint.
    pub async fn start_on_s3(endpoint: &str) -> Self {
        let settings = [
            ("TIDEMARK_OBJECTS", "s3://uploads"),
            ("AWS_ENDPOINT", endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
        ];
        Self::start_with("http://127.0.0.1:1", &settings).await
    }

    /// Starts the binary with further settings.
    pub async fn start_with(products_url: &str, settings: &[(&str, &str)]) -> Self {
        let dynamodb = testbed::endpoint().await;
        let api = RuntimeApi::start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let objects = format!("file://{}", folder.path().display());
        let dynamodb_client = client(Some(&dynamodb)).await;
        let opened = Objects::open(&objects).unwrap();
        let auth = Auth::open();

        let parts = Parts {
            dynamodb: dynamodb_client,
            objects: opened,
            auth,
            function: None,
        };

        Service::new(&Config::default(), parts)
            .prepare(&Shutdown::new())
            .await;

        let Program {
            path, arguments, ..
        } = bootstrap();
        let mut command = Command::new(path);

        command
            .args(arguments)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", api.address().to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "file-processor")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("TIDEMARK_DYNAMODB", &dynamodb)
            .env("TIDEMARK_OBJECTS", &objects)
            .env("TIDEMARK_PRODUCTS_URL", products_url)
            .envs(settings.iter().copied())
            .kill_on_drop(true);

        let started = Instant::now();
        let child = command.spawn().unwrap();
        Self {
            child,
            folder,
            dynamodb,
            api,
            started,
            timeout: FUNCTION_TIMEOUT,
        }
    }

    /// Returns the path of an object.
    pub fn path(&self, key: &str) -> PathBuf {
        self.folder.path().join(key)
    }

    /// Stores an object, and sends S3's event to the function.
    pub async fn upload(&mut self, key: &str, bytes: &[u8]) -> Outcome {
        let path = self.path(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        self.invoke(created(&json!({"key": key}))).await
    }

    /// Sets the time limit of the function for each event from now on.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Passes an event to the function, and returns its result.
    pub async fn invoke(&mut self, payload: Value) -> Outcome {
        let outcome = self.api.invoke(payload, self.timeout);
        tokio::select! {
            outcome = tokio::time::timeout(PATIENCE + self.timeout, outcome) => outcome.unwrap(),
            ended = self.child.wait() => panic!("the function ended: {ended:?}"),
        }
    }

    /// Returns the resources that the process has used, or none for an emulated process.
    pub fn taken(&self) -> Option<Taken> {
        if emulator().is_some() {
            return None;
        }

        let process = PathBuf::from(format!("/proc/{}", self.child.id().unwrap()));
        let status = std::fs::read_to_string(process.join("status")).unwrap();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        let peak_kib: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
        let stat = std::fs::read_to_string(process.join("stat")).unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;

        let ticks = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().unwrap());
        let cpu = Duration::from_millis(ticks.sum::<u64>() * MS_A_TICK);

        Some(Taken {
            cpu,
            peak_memory_bytes: peak_kib << 10,
        })
    }

    /// Returns the time from the start of the process to its first request for an event.
    pub fn cold_start(&self) -> Option<Duration> {
        self.api.first_asked().map(|asked| asked - self.started)
    }

    /// Returns the item in the table of the first file in an answer.
    pub async fn file(&self, outcome: &Outcome) -> Value {
        let answer = outcome.as_ref().unwrap();
        let id = answer["files"][0]["id"].as_str().unwrap();
        let dynamodb = client(Some(&self.dynamodb)).await;
        let key = aws_sdk_dynamodb::types::AttributeValue::S(id.to_owned());

        let got = dynamodb
            .get_item()
            .table_name(FILES)
            .key("id", key)
            .send()
            .await
            .unwrap();
        serde_dynamo::from_item(got.item.unwrap()).unwrap()
    }
}

/// Returns S3's event for a new object.
pub fn created(object: &Value) -> Value {
    json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "uploads"}, "object": object}}]})
}

/// Returns the binary that is tested, without settings.
pub fn bootstrap() -> Program {
    let named = std::env::var("TIDEMARK_TEST_BOOTSTRAP");
    let binary = named.unwrap_or_else(|_| env!("CARGO_BIN_EXE_bootstrap").to_owned());
    let words = emulator().unwrap_or_default();
    let mut words = words.split_whitespace().map(str::to_owned).chain([binary]);
    let path = words.next().unwrap().into();

    Program {
        path,
        arguments: words.collect(),
        environment: Vec::new(),
    }
}

fn emulator() -> Option<String> {
    std::env::var("TIDEMARK_TEST_EMULATOR").ok()
}
