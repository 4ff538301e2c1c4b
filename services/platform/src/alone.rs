//! One service alone, as in production: other replicas run beside it, and the settings name every store.

use std::fmt::Debug;
use std::time::Duration;

use chassis::auth::Auth;
use chassis::{Listeners, Shutdown};
use clap::Args;

use crate::RunError;
use crate::access;
use crate::addresses::Part;
use crate::config::AloneSettings;
use crate::running::{Failure, Running, Stage};
use crate::signals::StopSignals;
use crate::stores::Stores;

/// Time within which the service must stop. It is longer than the drain limit of the chassis, and shorter
/// than the grace period of Kubernetes.
const STOP_WITHIN: Duration = Duration::from_secs(12);

/// Runs `part` until a shutdown is requested or it ends. `equip` opens the stores of the service.
///
/// A store that is unavailable does not end the process: services retry and report it in their
/// health.
///
/// # Errors
/// [`RunError`], worded for the person who started the process.
pub async fn run<C, P, R, F, E>(
    part: Part,
    settings: AloneSettings<C>,
    equip: impl AsyncFnOnce(&mut Stores, &mut Running, Auth) -> Result<P, RunError>,
    service: R,
) -> Result<(), RunError>
where
    C: Args + Debug,
    R: FnOnce(C, P, Listeners, Shutdown) -> F,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<Failure> + 'static,
{
    let _traces = settings.process.start_telemetry(part.name())?;
    let signals = StopSignals::catch().map_err(RunError::Signals)?;
    let auth = access::of_one(&settings.process, part)?;
    let bound = settings.process.addresses.bind(part).await?;
    let mut stores = Stores::new(settings.process.stores);
    let mut running = Running::new(STOP_WITHIN);
    let equipment = equip(&mut stores, &mut running, auth).await?;

    tracing::info!(
        service = part.name(),
        address = %bound.address,
        operator_address = bound.operator_address.map(tracing::field::display),
        "listening"
    );

    // With --until-end, the job ends when it has read everything.
    if part == Part::StreamJob {
        running.let_end(part.name());
    }
    running.start(Stage::Services, part.name(), |shutdown| {
        service(settings.service, equipment, bound.into(), shutdown)
    });
    running.run_until_stopped(signals).await?;
    stores.close().await;

    Ok(())
}
