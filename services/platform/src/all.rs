//! The whole platform in one process.

use std::io::Write;
use std::time::Duration;

use chassis::Listeners;
use chassis::auth::AuthSettings;
use stream::AnyRun;

use crate::RunError;
use crate::access::{self, AccessError};
use crate::addresses::{Listening, Part};
use crate::banner::{Asked, Banner};
use crate::config::AllSettings;
use crate::demo_load;
use crate::running::{Running, Stage};
use crate::signals::StopSignals;
use crate::stores::Stores;
use crate::stream_job;

/// Time within which all parts must stop. It is short because a person waits at the terminal.
const STOP_WITHIN: Duration = Duration::from_millis(4200);

/// Poll interval of the relay when no other replica uses the database. The relay is woken at once
/// for orders of this process.
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
    let access = access::of_all(&settings.process, &listening[Part::Users as usize].url());
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
    let asked = Asked::of(settings.process.access.auth, admin.is_some());
    let banner = Banner::new(&listening, stores.data_folder(), asked);

    let gateway_url = listening[Part::Gateway as usize].url();
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

fn start(
    running: &mut Running,
    settings: AllSettings,
    equipment: Equipment,
    job: AnyRun,
    listening: [Listening; 8],
) {
    let urls = listening.each_ref().map(Listening::url);
    let upstreams = reaching(settings.gateway, &urls);
    let [gateway_url, users_url, products_url, orders_url, ..] = urls;

    let [
        gateway,
        users,
        products,
        orders,
        notifications,
        analytics,
        stream_job,
        files,
    ] = listening.map(Listeners::from);

    let files_config = file_processor::Config {
        products_url: products_url.clone(),
        ..settings.files
    };

    running.start(Stage::Gateway, "gateway", |shutdown| {
        gateway::run(upstreams, equipment.gateway, gateway, shutdown)
    });
    running.start(Stage::Services, "users", |shutdown| {
        let config = users::Config {
            users_shop_url: settings.users.users_shop_url.or(Some(gateway_url)),
            ..settings.users
        };
        users::run(config, equipment.users, users, shutdown)
    });
    running.start(Stage::Services, "products", |shutdown| {
        products::run(settings.products, equipment.products, products, shutdown)
    });

    running.start(Stage::Services, "orders", |shutdown| {
        orders::run(
            orders::Config {
                products_url,
                ..settings.orders
            },
            equipment.orders,
            orders,
            shutdown,
        )
    });

    running.start(Stage::Services, "notifications", |shutdown| {
        let config = notifications::Config {
            users_url,
            ..settings.notifications
        };
        notifications::run(config, equipment.notifications, notifications, shutdown)
    });

    running.start(Stage::Services, "analytics", |shutdown| {
        let config = analytics::Config {
            orders_url,
            ..settings.analytics
        };
        analytics::run(config, equipment.analytics, analytics, shutdown)
    });

    running.start(Stage::Services, "files", |shutdown| {
        file_processor::run(files_config, equipment.files, files, shutdown)
    });

    running.start(Stage::StreamJob, "order-analytics", |shutdown| {
        stream_job::run_prepared(job, stream_job, shutdown)
    });
}

/// Returns the gateway's settings with the addresses on which its upstreams listen.
fn reaching(settings: gateway::Config, urls: &[String; 8]) -> gateway::Config {
    let [
        _,
        users,
        products,
        orders,
        notifications,
        analytics,
        _,
        files,
    ] = urls;

    let address = |url: &String| url.parse().expect("a listener's URL is a base address");
    gateway::Config {
        users_url: address(users),
        products_url: address(products),
        orders_url: address(orders),
        notifications_url: address(notifications),
        analytics_url: address(analytics),
        files_url: address(files),
        ..settings
    }
}
