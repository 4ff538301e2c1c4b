//! The whole platform in one process.

use std::io::Write;
use std::time::Duration;

use chassis::auth::AuthSettings;
use stream::AnyRun;

use crate::RunError;
use crate::access::{self, AccessError};
use crate::addresses::{AllListening, Listening};
use crate::banner::{Banner, Callers};
use crate::config::AllSettings;
use crate::demo_load;
use crate::running::{Running, Stage};
use crate::signals::StopSignals;
use crate::stores::Stores;
use crate::stream_job;

/// Time within which all parts must stop. It is short because a person waits at the terminal.
const STOP_WITHIN: Duration = Duration::from_millis(4200);

/// Poll interval of the relay when no other process uses the database. Orders of this process wake the
/// relay at once.
const ALONE_POLL: Duration = Duration::from_secs(1);

/// Runs the platform until a signal stops it or one of its parts ends.
///
/// Settings are checked before any part is started: first ports, then stores.
///
/// # Errors
/// [`RunError`], worded for the person who started the process.
pub async fn run(mut settings: AllSettings) -> Result<(), RunError> {
    let _traces = settings.process.start_telemetry("tidemark")?;
    let signals = StopSignals::catch().map_err(RunError::Signals)?;

    access::refuse_exposed(&settings.process)?;
    let demo_load = settings
        .demo_load
        .clone()
        .wanted(settings.process.access.auth)?;

    let listening = settings.process.addresses.bind_all().await?;
    let access = access::of_all(&settings.process, &listening.users.url());
    connect(&mut settings, &listening);

    let mut stores = Stores::new(settings.process.stores.clone());
    let mut running = Running::new(STOP_WITHIN);
    let equipment = Equipment::of(&mut stores, &mut running, &access).await?;

    settings.stream_job.settings.checkpoints = format!("{}/checkpoints", stores.objects_url()?);

    if stores.has_database_alone() {
        settings.orders.orders_relay_poll = ALONE_POLL;
    }
    stores.check().await?;

    let job = settings
        .stream_job
        .on(equipment.stream_job.log.clone())
        .map_err(RunError::StreamJob)?;
    let admin = settings.users.users_admin_email.as_ref();
    let callers = Callers::of(settings.process.access.auth, admin.is_some());
    let banner = Banner::new(&listening.in_order(), stores.data_folder(), callers);

    let gateway_url = listening.gateway.url();
    start(&mut running, settings, equipment, job, listening);

    if let Some(demo_load) = demo_load {
        running.start(Stage::Gateway, "demo load", |shutdown| {
            demo_load::run(demo_load, gateway_url, shutdown)
        });
    }

    std::io::stdout()
        .write_all(banner.to_string().as_bytes())
        .map_err(RunError::Banner)?;

    running.run_until_stopped(signals).await?;
    stores.close().await;

    Ok(())
}

/// The stores and the authentication of each service.
struct Equipment {
    gateway: gateway::Parts,
    users: users::Parts,
    products: products::Parts,
    orders: orders::Parts,
    notifications: notifications::Parts,
    analytics: analytics::Parts,
    files: file_processor::Parts,
    stream_job: stream_job::Parts,
}

impl Equipment {
    async fn of(
        stores: &mut Stores,
        running: &mut Running,
        access: &AuthSettings,
    ) -> Result<Self, RunError> {
        let auth = access.to_auth().map_err(AccessError::Settings)?;
        Ok(Self {
            gateway: stores.for_gateway(running, auth.clone()).await?,
            users: stores.for_users(running, auth.clone()).await?,
            products: stores.for_products(running, auth.clone()).await?,
            orders: stores.for_orders(running, auth.clone()).await?,
            notifications: stores.for_notifications(running, auth.clone()).await?,
            analytics: stores.for_analytics(running, auth.clone()).await?,
            files: stores.for_files(running, auth.clone(), access).await?,
            stream_job: stores.for_stream_job(running, auth.clone()).await?,
        })
    }
}

/// Sets in each part's settings the addresses on which the parts that it calls listen.
fn connect(settings: &mut AllSettings, listening: &AllListening) {
    settings
        .users
        .users_shop_url
        .get_or_insert_with(|| listening.gateway.url());

    settings.orders.products_url = listening.products.url();
    settings.files.products_url = listening.products.url();
    settings.notifications.users_url = listening.users.url();
    settings.analytics.orders_url = listening.orders.url();

    let address = |part: &Listening| {
        let url = part.url();
        url.parse().expect("a listener's URL is a base address")
    };
    let gateway = &mut settings.gateway;
    gateway.users_url = address(&listening.users);
    gateway.products_url = address(&listening.products);
    gateway.orders_url = address(&listening.orders);
    gateway.notifications_url = address(&listening.notifications);
    gateway.analytics_url = address(&listening.analytics);
    gateway.files_url = address(&listening.files);
}

fn start(
    running: &mut Running,
    settings: AllSettings,
    equipment: Equipment,
    job: AnyRun,
    on: AllListening,
) {
    running.start(Stage::Gateway, "gateway", |shutdown| {
        gateway::run(settings.gateway, equipment.gateway, on.gateway, shutdown)
    });

    running.start(Stage::Services, "users", |shutdown| {
        users::run(settings.users, equipment.users, on.users, shutdown)
    });

    running.start(Stage::Services, "products", |shutdown| {
        products::run(settings.products, equipment.products, on.products, shutdown)
    });

    running.start(Stage::Services, "orders", |shutdown| {
        orders::run(settings.orders, equipment.orders, on.orders, shutdown)
    });

    running.start(Stage::Services, "notifications", |shutdown| {
        let config = settings.notifications;
        notifications::run(config, equipment.notifications, on.notifications, shutdown)
    });

    running.start(Stage::Services, "analytics", |shutdown| {
        let config = settings.analytics;
        analytics::run(config, equipment.analytics, on.analytics, shutdown)
    });

    running.start(Stage::Services, "files", |shutdown| {
        file_processor::run(settings.files, equipment.files, on.files, shutdown)
    });

    running.start(Stage::StreamJob, "order-analytics", |shutdown| {
        stream_job::run_prepared(job, on.stream_job, shutdown)
    });
}
