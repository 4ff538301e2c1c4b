//! The function where no Lambda runs it: a process of its own, which the [Runtime API](RuntimeApi) tells what to do.
//!
//! As on AWS it is started by the first file, asks for one event after the other, is killed when one takes it too long, and
//! ended when none has come for a while. A process it is since Lambda's runtime reads its settings from the environment
//! and changes it for each event, which a process with other threads must not; and a file that it dies of takes nothing
//! else with it.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::runtime_api::RuntimeApi;

/// How long it has for an event: as on AWS.
const TIMEOUT: Duration = Duration::from_secs(300);
/// It is ended when there was nothing to do for so long.
const IDLE: Duration = Duration::from_secs(300);

/// How a process of the function is started: one that reads its [settings](crate::lambda::Settings) from its environment,
/// as `bootstrap` does.
#[derive(Clone)]
pub struct Program {
    /// What is executed.
    pub path: PathBuf,
    /// With these arguments.
    pub arguments: Vec<String>,
    /// And these variables beside those of this process.
    pub environment: Vec<(&'static str, String)>,
}

/// The function.
pub struct Function {
    program: Program,
    warm: Option<Environment>,
}

/// What Lambda calls an execution environment: a process, and the API that it asks.
struct Environment {
    api: RuntimeApi,
    process: Child,
    last_used: Instant,
}

/// Why the function did not do its work on an event.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// There is no process of it.
    #[error("the function cannot be started: {0}")]
    Start(#[source] io::Error),
    /// The process is gone.
    #[error("the function ended: {0}")]
    Ended(ExitStatus),
    /// The process was killed.
    #[error("the function took longer than {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// It says so itself.
    #[error("{0}")]
    Failed(String),
}

impl Function {
    /// A function of which no process runs yet.
    pub fn new(program: Program) -> Self {
        Self {
            program,
            warm: None,
        }
    }

    /// Has it do its work on an event; starts it where it does not run. What dies or hangs is not asked again.
    ///
    /// # Errors
    /// [`InvocationError`]: the event may be told again.
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

    /// Ends the process when it had nothing to do for a while.
    pub fn rest(&mut self) {
        self.warm.take_if(|warm| warm.last_used.elapsed() > IDLE);
    }
}

impl Environment {
    /// The process is killed when this is dropped, and ends by itself when nobody is there any more to be asked.
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

/// What an error document of the function says.
fn message_of(error: &Value) -> String {
    error["errorMessage"]
        .as_str()
        .map_or_else(|| error.to_string(), str::to_owned)
}
