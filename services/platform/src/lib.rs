//! Tidemark in one process: every service, the stream job and their stores, or one service alone for production.
//!
//! This crate owns no behaviour of the shop. It opens the [stores] that the [command line](config) names and embeds the
//! others in a [data folder](data_folder); binds the [addresses]; starts the [parts], watches them, and stops them in
//! order. Who is asked who they are, it decides once for all of them ([access]).

pub mod config;

pub mod access;
pub mod addresses;
pub mod data_folder;
pub mod dynamodb_endpoint;
mod equipment;
pub mod stores;

pub mod parts;
pub mod signals;
pub mod stream_job;

pub mod all;
pub mod alone;
pub mod banner;
pub mod migrate;
pub mod replay;

use std::io;
use std::time::Duration;

use addresses::Part;
use config::{Cli, Command, NotificationsErrand};
use parts::Parts;
use stores::Stores;

/// What is still blocked on a thread after everything has stopped is not worth a longer wait.
const LEFTOVERS: Duration = Duration::from_millis(100);

/// Runs what the command line asks for, until it ends.
///
/// # Errors
/// [`RunError`], in words for the person who started it.
pub fn run(cli: Cli) -> Result<(), RunError> {
    let command = cli
        .command
        .unwrap_or_else(|| Command::All(Box::new(cli.all)));

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;

    let outcome = runtime.block_on(async {
        match command {
            Command::All(settings) => all::run(*settings).await,
            Command::Gateway(own) => {
                alone::run(Part::Gateway, *own, Stores::for_gateway, gateway::run).await
            }
            Command::Users(own) => {
                alone::run(Part::Users, *own, Stores::for_users, users::run).await
            }
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
                let equip = async |stores: &mut Stores, parts: &mut Parts, auth| {
                    stores.for_files(parts, auth, &access).await
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
    });

    runtime.shutdown_timeout(LEFTOVERS);
    outcome
}

/// Why a process of the platform could not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The system gives no threads.
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    /// The system does not let signals be caught.
    #[error("cannot listen for Ctrl-C: {0}")]
    Signals(#[source] io::Error),
    /// Standard output is closed.
    #[error("cannot write to standard output: {0}")]
    Banner(#[source] io::Error),
    /// Nobody, or not everybody, should be let in like this.
    #[error(transparent)]
    Access(#[from] access::AccessError),
    /// Nobody would get the traces.
    #[error(transparent)]
    Traces(#[from] chassis::TraceError),
    /// An address is taken.
    #[error(transparent)]
    Address(#[from] addresses::AddressError),
    /// A store cannot be had.
    #[error(transparent)]
    Store(#[from] stores::StoreError),
    /// The system does not say which program this is.
    #[error("cannot find this program, which processes files as another process: {0}")]
    Itself(#[source] io::Error),
    /// The function cannot be told what to do any more.
    #[error("the function ended: {0}")]
    Function(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no place for files.
    #[error("{0}; is --objects right?")]
    Files(#[from] file_processor::AddressError),
    /// The tables cannot be brought up to date.
    #[error(transparent)]
    Migrate(#[from] chassis::sql::MigrateError),
    /// An account of the database cannot be made.
    #[error(transparent)]
    Account(#[from] chassis::sql::AccountError),
    /// What was given up is not on its way again.
    #[error(transparent)]
    Replay(#[from] replay::ReplayError),
    /// A part ended.
    #[error(transparent)]
    Part(#[from] parts::PartError),
}
