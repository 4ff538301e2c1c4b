//! The Tidemark process: all services, the stream job and their stores together, or one service
//! alone for production.
//!
//! This crate contains no business logic. It opens the [stores] that the [command line](config)
//! names and embeds the others in a [data folder](data_folder). It binds the [addresses], then
//! starts the [parts](running), watches them and stops them in order. Whether callers must authenticate is
//! decided here, once for all services ([access]).

pub mod config;

pub mod access;
pub mod addresses;
pub mod data_folder;
pub mod dynamodb_endpoint;
mod equipment;
pub mod stores;

pub mod running;
pub mod signals;
pub mod stream_job;

pub mod all;
pub mod alone;
pub mod banner;
pub mod demo_load;
pub mod migrate;
pub mod replay;

use std::io;
use std::time::Duration;

use addresses::Part;
use config::{Cli, Command, NotificationsErrand};
use running::Running;
use stores::Stores;

/// The longest wait for threads that are still blocked after every part has stopped.
const LEFTOVERS: Duration = Duration::from_millis(100);

/// Runs the command that the command line names, until it ends.
///
/// # Errors
/// [`RunError`], worded for the person who started the process.
pub fn run(cli: Cli) -> Result<(), RunError> {
    let command = cli
        .command
        .unwrap_or_else(|| Command::All(Box::new(cli.all)));

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;

    let outcome = runtime.block_on(run_command(command));
    runtime.shutdown_timeout(LEFTOVERS);
    outcome
}

async fn run_command(command: Command) -> Result<(), RunError> {
    match command {
        Command::All(settings) => all::run(*settings).await,
        Command::Gateway(own) => {
            alone::run(Part::Gateway, *own, Stores::for_gateway, gateway::run).await
        }
        Command::Users(own) => alone::run(Part::Users, *own, Stores::for_users, users::run).await,
        Command::Products(own) => {
            alone::run(Part::Products, *own, Stores::for_products, products::run).await
        }
        Command::Orders(own) => {
            alone::run(Part::Orders, *own, Stores::for_orders, orders::run).await
        }
        Command::Notifications(own) => match own.errand {
            Some(NotificationsErrand::Replay(settings)) => Ok(replay::run(settings).await?),
            None => {
                alone::run(
                    Part::Notifications,
                    own.alone,
                    Stores::for_notifications,
                    notifications::run,
                )
                .await
            }
        },
        Command::Analytics(own) => {
            alone::run(Part::Analytics, *own, Stores::for_analytics, analytics::run).await
        }
        Command::Files(own) => {
            let access = own.process.access.clone();
            let equip = async |stores: &mut Stores, running: &mut Running, auth| {
                stores.for_files(running, auth, &access).await
            };
            alone::run(Part::Files, *own, equip, file_processor::run).await
        }
        Command::Function(settings) => file_processor::lambda::run(*settings)
            .await
            .map_err(RunError::Function),
        Command::OrderAnalytics(own) => {
            alone::run(
                Part::StreamJob,
                *own,
                Stores::for_stream_job,
                stream_job::run,
            )
            .await
        }
        Command::Migrate(settings) => migrate::run(*settings).await,
    }
}

/// The reason why a process of the platform could not start or ended with a failure.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The async runtime could not be created, for example because the system refused a thread.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// The signal handlers could not be installed.
    #[error("cannot listen for Ctrl-C: {0}")]
    Signals(#[source] io::Error),
    /// Standard output could not be written.
    #[error("cannot write to standard output: {0}")]
    Banner(#[source] io::Error),
    /// The access settings are unsafe or incomplete.
    #[error(transparent)]
    Access(#[from] access::AccessError),
    /// The trace settings cannot work.
    #[error(transparent)]
    Traces(#[from] chassis::TraceError),
    /// An address could not be bound.
    #[error(transparent)]
    Address(#[from] addresses::AddressError),
    /// A store could not be opened or does not answer.
    #[error(transparent)]
    Store(#[from] stores::StoreError),
    /// The path of the running program could not be determined.
    #[error("cannot find this program, which processes files as another process: {0}")]
    Itself(#[source] io::Error),
    /// The Lambda function ended.
    #[error("the function ended: {0}")]
    Function(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The address of the object store is not usable.
    #[error("{0}; is --objects right?")]
    Files(#[from] file_processor::AddressError),
    /// A migration of the SQL tables failed.
    #[error(transparent)]
    Migrate(#[from] chassis::sql::MigrateError),
    /// A database account could not be created.
    #[error(transparent)]
    Account(#[from] chassis::sql::AccountError),
    /// The settings of the stream job contradict each other, or its checkpoints cannot be opened.
    #[error("order-analytics cannot start: {0}")]
    StreamJob(#[source] stream::JobError),
    /// Messages could not be sent again.
    #[error(transparent)]
    Replay(#[from] replay::ReplayError),
    /// Simulated customers are not possible with these settings.
    #[error(transparent)]
    DemoLoad(#[from] demo_load::NeedsOpenAccess),
    /// A part ended or failed.
    #[error(transparent)]
    Part(#[from] running::PartError),
}
