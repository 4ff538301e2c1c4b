//! The command line: the parts to run, their addresses, and the places of their state.
//!
//! Every setting is a flag and an environment variable. All settings of the whole platform have a
//! default, so `platform` without arguments starts a complete platform.

use std::ffi::OsString;
use std::path::PathBuf;

use chassis::auth::{AuthMode, AuthSettings, Secret};
use chassis::sql::{DEFAULT_CONNECTIONS, Password};
use chassis::{LogSettings, TraceError, TraceSettings, Traces};
use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use order_analytics::OrderAnalytics;
use stream_cli::{Client, exit_with_usage};
use uuid::Uuid;

use crate::addresses::Addresses;
use crate::data_folder;
use crate::demo_load::DemoLoad;

/// Tidemark: an e-commerce platform with a native stream processor.
///
/// Without a command it runs the whole platform in one process, on embedded stores or on those that
/// the flags name.
#[derive(Debug, Parser)]
#[command(name = "platform", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// The part to run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings of the whole platform, when no command is given.
    #[command(flatten)]
    pub all: AllSettings,
}

/// Settings for parts that run as separate processes, such as the addresses of other parts. The
/// help of the whole platform in one process omits them.
const KNOWN_IN_ONE_PROCESS: [&str; 14] = [
    "checkpoints",
    "until_end",
    "jwks_url",
    "service_secret",
    "gateway-users-url",
    "gateway-products-url",
    "gateway-orders-url",
    "gateway-notifications-url",
    "gateway-analytics-url",
    "gateway-files-url",
    "orders-products-url",
    "notifications-users-url",
    "analytics-orders-url",
    "files-products-url",
];

impl Cli {
    /// Parses the command line and the environment. Exits with an error line on standard error, or
    /// after printing the requested help.
    pub fn read() -> Self {
        let command = Self::command_shown();
        let arguments: Vec<OsString> = std::env::args_os().collect();
        let matches = command.clone().try_get_matches_from(&arguments);
        let cli = matches.and_then(|matches| Self::from_arg_matches(&matches));
        cli.unwrap_or_else(|error| exit_with_usage(&error, &command, &arguments))
    }

    fn command_shown() -> clap::Command {
        let hide = |argument: Arg| {
            let known = KNOWN_IN_ONE_PROCESS.contains(&argument.get_id().as_str());
            argument.hide(known)
        };
        Self::command()
            .mut_args(hide)
            .mut_subcommand("all", |all| all.mut_args(hide))
    }
}

/// The part to run: the whole platform, or one service.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Everything in one process (the default command).
    All(Box<AllSettings>),
    /// The gateway alone.
    Gateway(Box<AloneSettings<gateway::Config>>),
    /// The users service alone.
    Users(Box<AloneSettings<users::Config>>),
    /// The products service alone.
    Products(Box<AloneSettings<products::Config>>),
    /// The orders service alone.
    Orders(Box<AloneSettings<orders::Config>>),
    /// The notifications service alone.
    Notifications(Box<NotificationsSettings>),
    /// The analytics service alone.
    Analytics(Box<AloneSettings<analytics::Config>>),
    /// The files service alone.
    Files(Box<AloneSettings<file_processor::Config>>),
    /// The Lambda function that processes files. The files service starts it when files are kept in
    /// a folder.
    #[command(hide = true)]
    Function(Box<file_processor::lambda::Settings>),
    /// The stream job alone.
    OrderAnalytics(Box<AloneSettings<OrderAnalytics>>),
    /// Brings the SQL tables up to date, and ends.
    Migrate(Box<MigrateSettings>),
}

/// The settings of one service that runs alone.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct AloneSettings<C: Args> {
    /// The settings that every process of the platform has.
    #[command(flatten)]
    pub process: ProcessSettings,
    /// The settings of the service itself.
    #[command(flatten, next_help_heading = "Service")]
    pub service: C,
}

/// The settings of the notifications service alone, or of a command to a running one.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct NotificationsSettings {
    /// A command to a running service.
    #[command(subcommand)]
    pub errand: Option<NotificationsErrand>,
    /// The settings of the service, if there is no command.
    #[command(flatten)]
    pub alone: AloneSettings<notifications::Config>,
}

/// A command to a running notifications service.
#[derive(Clone, Debug, Subcommand)]
pub enum NotificationsErrand {
    /// Sends messages again whose delivery was given up, and ends.
    Replay(ReplaySettings),
}

/// The notifications to send again, and the credentials for the request.
#[derive(Args, Clone, Debug)]
pub struct ReplaySettings {
    /// Only the notifications of these events, including skipped ones [default: all that were given
    /// up].
    #[arg(value_name = "EVENT_ID")]
    pub events: Vec<Uuid>,
    /// Base address of the notifications service.
    #[arg(
        long,
        env = "TIDEMARK_NOTIFICATIONS_URL",
        default_value = "http://127.0.0.1:5004",
        value_name = "URL"
    )]
    pub url: String,
    /// Secret that authenticates services to each other; needed where callers authenticate.
    #[arg(
        long,
        env = "TIDEMARK_SERVICE_SECRET",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub service_secret: Option<Secret>,
}

/// The settings of the whole platform in one process.
#[derive(Args, Clone, Debug)]
pub struct AllSettings {
    /// The settings that every process of the platform has.
    #[command(flatten)]
    pub process: ProcessSettings,
    /// The gateway. The addresses of its upstreams are set internally.
    #[command(flatten, next_help_heading = "Gateway")]
    pub gateway: gateway::Config,
    /// The users service.
    #[command(flatten, next_help_heading = "Users")]
    pub users: users::Config,
    /// The products service.
    #[command(flatten, next_help_heading = "Products")]
    pub products: products::Config,
    /// The orders service. The address of the products service is set internally.
    #[command(flatten, next_help_heading = "Orders")]
    pub orders: orders::Config,
    /// The notifications service.
    #[command(flatten, next_help_heading = "Notifications")]
    pub notifications: notifications::Config,
    /// The analytics service.
    #[command(flatten, next_help_heading = "Analytics")]
    pub analytics: analytics::Config,
    /// The files service. The address of the products service is set internally.
    #[command(flatten, next_help_heading = "Files")]
    pub files: file_processor::Config,
    /// The stream job; its checkpoints are in the object store.
    #[command(flatten, next_help_heading = "Stream job")]
    pub stream_job: OrderAnalytics,
    /// The simulated customers.
    #[command(flatten, next_help_heading = "Demo")]
    pub demo_load: DemoLoad,
}

/// The settings of a migration.
#[derive(Args, Clone, Debug)]
pub struct MigrateSettings {
    /// The stores to migrate.
    #[command(flatten, next_help_heading = "Stores")]
    pub stores: StoreSettings,
    /// Password of the database account `users`, which gets rights to its service's tables only
    /// [default: no account].
    #[arg(
        long = "mysql-password-of-users",
        env = "TIDEMARK_MYSQL_PASSWORD_OF_USERS",
        hide_env_values = true,
        value_name = "PASSWORD",
        help_heading = "Database accounts"
    )]
    pub users_password: Option<Password>,
    /// Password of the database account `orders`, which gets rights to its service's tables and may
    /// read the ids of users [default: no account].
    #[arg(
        long = "mysql-password-of-orders",
        env = "TIDEMARK_MYSQL_PASSWORD_OF_ORDERS",
        hide_env_values = true,
        value_name = "PASSWORD",
        help_heading = "Database accounts"
    )]
    pub orders_password: Option<Password>,
    /// The log settings.
    #[command(flatten, next_help_heading = "Logs")]
    pub logs: LogSettings,
}

/// The settings that every process of the platform has.
#[derive(Args, Clone, Debug)]
pub struct ProcessSettings {
    /// The addresses to listen on.
    #[command(flatten)]
    pub addresses: Addresses,
    /// The authentication of callers.
    #[command(flatten, next_help_heading = "Access")]
    pub access: AuthSettings,
    /// The stores.
    #[command(flatten, next_help_heading = "Stores")]
    pub stores: StoreSettings,
    /// The log settings.
    #[command(flatten, next_help_heading = "Logs")]
    pub logs: LogSettings,
    /// The destination of traces.
    #[command(flatten, next_help_heading = "Traces")]
    pub traces: TraceSettings,
}

impl ProcessSettings {
    /// Starts logging, and tracing under the name `service`. The log level of the embedded DynamoDB
    /// is `error`, because it warns about every failed condition, and services rely on conditions
    /// that fail. Where callers authenticate, the security log is on at every level; the filter
    /// `security=off` turns it off.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn start_telemetry(&self, service: &'static str) -> Result<Traces, TraceError> {
        let LogSettings { log, log_format } = self.logs.clone();
        let defaults = match self.access.auth {
            AuthMode::Enforced => "dynoxide=error,platform::alone=info,security=info",
            AuthMode::Open => "dynoxide=error,platform::alone=info",
        };
        let logs = LogSettings {
            log: log.with_defaults(defaults),
            log_format,
        };
        chassis::init_with_traces(&logs, &self.traces, service)
    }
}

/// The stores. Those that are not named are embedded, in the data folder.
#[derive(Args, Clone, Debug)]
pub struct StoreSettings {
    /// Data folder of the embedded stores.
    #[arg(long, env = "TIDEMARK_DATA", default_value_os_t = data_folder::default_path(), value_name = "FOLDER")]
    pub data: PathBuf,
    /// Keep the embedded stores in a folder that is removed at the end. Cannot be combined with
    /// --data, which would be ignored.
    #[arg(long, env = "TIDEMARK_EPHEMERAL", conflicts_with = "data")]
    pub ephemeral: bool,
    /// Kafka brokers, `host:port`, comma separated [default: the embedded record log].
    #[arg(long, env = "TIDEMARK_BROKERS", value_name = "BROKERS")]
    pub brokers: Option<String>,
    /// Client of Kafka: this project's own, or librdkafka.
    #[arg(long, env = "TIDEMARK_CLIENT", value_enum, default_value_t = Client::Native)]
    pub client: Client,
    /// Property of the client of Kafka, by librdkafka's name, such as `security.protocol=SASL_SSL`;
    /// may be repeated. In the variable, one property per line. A property that the client does not
    /// have is refused.
    #[arg(long = "property", env = "TIDEMARK_PROPERTIES", hide_env_values = true, value_name = "NAME=VALUE",
          value_delimiter = '\n', value_parser = property)]
    pub properties: Vec<(String, String)>,
    /// SQL database of users and orders, `mysql://user:password@host/name` [default: SQLite].
    #[arg(
        long,
        env = "TIDEMARK_MYSQL",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub mysql: Option<String>,
    /// Connections of this process to the SQL database. All processes together may have as many as
    /// the server's `max_connections` allows; a request waits 3 s for one.
    #[arg(long, env = "TIDEMARK_MYSQL_CONNECTIONS", default_value_t = DEFAULT_CONNECTIONS, value_name = "N",
          value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub mysql_connections: u16,
    /// DynamoDB endpoint, or `aws` for AWS in the environment's region [default: an embedded one].
    #[arg(long, env = "TIDEMARK_DYNAMODB", value_name = "URL")]
    pub dynamodb: Option<String>,
    /// Object store: `file://`, `gs://` or `s3://` [default: a folder].
    #[arg(long, env = "TIDEMARK_OBJECTS", value_name = "URL")]
    pub objects: Option<String>,
}

/// Parses `name=value`.
fn property(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command_shown().debug_assert();
    }

    /// Adds the variables of a command and of those below it.
    fn add_variables(command: &clap::Command, variables: &mut BTreeSet<String>) {
        let arguments = command.get_arguments();
        let named = arguments.filter_map(|argument| argument.get_env());
        variables.extend(named.map(|name| name.to_string_lossy().into_owned()));
        for below in command.get_subcommands() {
            add_variables(below, variables);
        }
    }

    #[test]
    fn the_image_and_the_compose_file_set_variables_that_exist() {
        let mut known = BTreeSet::new();
        add_variables(&Cli::command(), &mut known);
        let is_of_name = |c: char| c.is_ascii_uppercase() || c == '_';

        for (file, least) in [
            (include_str!("../../../.config/compose.yaml"), 3),
            (include_str!("../../../Dockerfile"), 1),
        ] {
            let words = file.split(|c: char| !is_of_name(c));
            let set: BTreeSet<&str> = words.filter(|word| word.starts_with("TIDEMARK_")).collect();
            assert!(set.len() >= least, "{set:?}");
            let unknown: Vec<_> = set.iter().filter(|name| !known.contains(**name)).collect();
            assert!(unknown.is_empty(), "{unknown:?}");
        }
    }

    #[test]
    fn the_connections_to_sql_are_a_setting() {
        let parsed = |number: &str| {
            let line = ["tidemark", "orders", "--mysql-connections", number];
            let matches = Cli::command_shown().try_get_matches_from(line).ok()?;
            let (_, of_orders) = matches.subcommand()?;
            of_orders.get_one::<u16>("mysql_connections").copied()
        };
        assert_eq!(parsed("40"), Some(40));
        for wrong in ["0", "1", "1001", "many"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_property_may_hold_further_equal_signs() {
        assert_eq!(
            property("sasl.password=a=b").unwrap(),
            ("sasl.password".to_owned(), "a=b".to_owned())
        );
        assert!(property("acks").is_err());
    }
}
