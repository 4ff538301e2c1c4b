//! The function without AWS Lambda: a process of its own, controlled through the [Runtime
//! API](RuntimeApi).
//!
//! As on AWS, the process is started for the first file and requests one event after another. It is
//! killed when an event takes too long, and ended after an idle period. It is a process because
//! Lambda's runtime changes the environment for each event, which is unsafe in a process with other
//! threads. Also, a file that crashes the process affects nothing else.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::runtime_api::RuntimeApi;

/// Time limit of an invocation, as on AWS.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Idle time after which the process is ended.
const IDLE: Duration = Duration::from_secs(300);

/// The command that starts a process of the function. The process reads its
/// [settings](crate::lambda::Settings) from its environment, as `bootstrap` does.
#[derive(Clone)]
pub struct Program {
    /// The path of the executable.
    pub path: PathBuf,
    /// The arguments.
    pub arguments: Vec<String>,
    /// Environment variables, in addition to those of this process.
    pub environment: Vec<(&'static str, String)>,
}

/// The function.
pub struct Function {
    program: Program,
    warm: Option<Environment>,
}

/// An execution environment in Lambda's terms: a process and its Runtime API.
struct Environment {
    api: RuntimeApi,
    process: Child,
    last_used: Instant,
}

/// The reason why an invocation failed.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// The process could not be started.
    #[error("the function cannot be started: {0}")]
    Start(#[source] io::Error),
    /// The process ended.
    #[error("the function ended: {0}")]
    Ended(ExitStatus),
    /// The invocation exceeded its time limit, and the process was killed.
    #[error("the function took longer than {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// The function reported an error.
    #[error("{0}")]
    Failed(String),
}

impl Function {
    /// Creates a function whose process is not started yet.
    pub fn new(program: Program) -> Self {
        Self {
            program,
            warm: None,
        }
    }

    /// Invokes the function with an event and starts its process if necessary. A process that
    /// crashed or exceeded the time limit is not reused.
    ///
    /// # Errors
    /// [`InvocationError`]; the invocation may be repeated.
    pub async fn invoke(&mut self, event: Value) -> Result<(), InvocationError> {
        let warm = self
            .warm
            .take()
            .and_then(|mut warm| warm.is_alive().then_some(warm));

        let mut environment = match warm {
            Some(warm) => warm,
            None => Environment::start(&self.program)
                .await
                .map_err(InvocationError::Start)?,
        };

        let outcome = tokio::select! {
            outcome = environment.api.invoke(event, TIMEOUT) => outcome,
            ended = environment.process.wait() => {
                return Err(ended.map_or_else(InvocationError::Start, InvocationError::Ended));
            }
            () = sleep(TIMEOUT) => return Err(InvocationError::TimedOut),
        };

        environment.last_used = Instant::now();
        self.warm = Some(environment);
        outcome
            .map(drop)
            .map_err(|error| InvocationError::Failed(message_of(&error)))
    }

    /// Ends the process after an idle period.
    pub fn rest(&mut self) {
        self.warm.take_if(|warm| warm.last_used.elapsed() > IDLE);
    }
}

impl Environment {
    /// Starts a process. It is killed when the returned value is dropped, and exits by itself when
    /// its Runtime API is gone.
    async fn start(program: &Program) -> io::Result<Self> {
        let api = RuntimeApi::start().await?;
        let process = Command::new(&program.path)
            .args(&program.arguments)
            .envs(
                program
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .env("AWS_LAMBDA_RUNTIME_API", api.address().to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "file-processor")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;

        Ok(Self {
            api,
            process,
            last_used: Instant::now(),
        })
    }

    fn is_alive(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }
}

/// Returns the message in an error document of the function.
fn message_of(error: &Value) -> String {
    error["errorMessage"]
        .as_str()
        .map_or_else(|| error.to_string(), str::to_owned)
}
