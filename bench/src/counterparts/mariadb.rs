//! MariaDB in place of MySQL: a private server with one database and one user, both called
//! `tidemark`.

use std::ffi::OsString;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::Url;

use super::server::{create_folder, free_ports};
use super::{CounterpartError, DATABASE, Launch, Result, Server, debian, io_error};

/// Runs at every start, so it must be repeatable.
const SET_UP: &str =
    "CREATE DATABASE IF NOT EXISTS tidemark CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER IF NOT EXISTS 'tidemark'@'127.0.0.1' IDENTIFIED BY 'tidemark';
GRANT ALL ON *.* TO 'tidemark'@'127.0.0.1' WITH GRANT OPTION;
";

/// Starts a server with its data below `data`; a folder that was used before is used again.
///
/// # Errors
/// If the package or a port is not available, or it does not become ready.
pub fn start(data: &Path) -> Result<Server> {
    Server::start(launch(data)?)
}

/// Prepares everything but the start: the package, an initialised data folder.
///
/// # Errors
/// If the package or a port is not available.
pub fn launch(data: &Path) -> Result<Launch> {
    debian::provision(DATABASE)?;
    create_folder(data)?;
    let [port] = free_ports()?;
    let tables = data.join("tables");
    let set_up = data.join("set-up.sql");
    std::fs::write(&set_up, SET_UP).map_err(io_error("configuring MariaDB"))?;

    if !tables.join("mysql").exists() {
        initialise(&tables)?;
    }

    Ok(Launch {
        name: "MariaDB",
        address: format!("mysql://tidemark:tidemark@127.0.0.1:{port}/tidemark"),
        port,
        program: debian::find("mariadbd").unwrap_or_else(|| "mariadbd".into()),
        arguments: arguments(data, &tables, &set_up, port),
        log: data.join("mariadb.log"),
        is_ready,
    })
}

fn initialise(tables: &Path) -> Result<()> {
    let mut tool = Command::new("mariadb-install-db");
    tool.args([
        "--no-defaults",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--skip-name-resolve",
    ]);

    tool.args(run_as().iter())
        .arg(format!("--datadir={}", tables.display()));
    debian::run("initialising MariaDB's data folder", tool)
}

/// Returns the user that root must name explicitly. The cache's folders belong to root, so the user
/// `mysql` could not enter them.
fn run_as() -> Option<&'static str> {
    debian::is_root().then_some("--user=root")
}

fn arguments(data: &Path, tables: &Path, set_up: &Path, port: u16) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = [
        "--no-defaults", // must be the first
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--skip-log-bin",
        "--performance-schema=OFF",
        "--innodb-buffer-pool-size=64M",
        "--innodb-flush-log-at-trx-commit=1",
        "--character-set-server=utf8mb4",
        "--default-time-zone=+00:00",
        "--sql-mode=STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY",
    ]
    .map(Into::into)
    .to_vec();
    arguments.extend(run_as().map(Into::into));
    arguments.push(format!("--port={port}").into());
    arguments.push(format!("--datadir={}", tables.display()).into());
    arguments.push(format!("--socket={}", data.join("socket").display()).into());
    arguments.push(format!("--pid-file={}", data.join("pid").display()).into());
    arguments.push(format!("--init-file={}", set_up.display()).into());

    arguments
}

/// Returns a command that runs one of MariaDB's own programs on this server.
pub fn client(program: &str, address: &Url) -> Command {
    let mut command = Command::new(debian::find(program).unwrap_or_else(|| program.into()));
    command.args([
        "--no-defaults",
        "--protocol=tcp",
        "--default-character-set=utf8mb4",
    ]);

    command.args(["--host", address.host_str().unwrap_or_default()]);
    command.args([
        "--port",
        &address.port().unwrap_or(3306).to_string(),
        "--user",
        address.username(),
    ]);

    command.env("MYSQL_PWD", address.password().unwrap_or_default());
    command
}

/// Returns the rows of the statements' results, one on each line.
///
/// # Errors
/// [`CounterpartError::Failed`] with the server's message.
pub fn query(address: &Url, statements: &str) -> Result<String> {
    let mut query = client("mariadb", address);
    query.args([
        "--batch",
        "--skip-column-names",
        "--execute",
        statements,
        address.path().trim_start_matches('/'),
    ]);

    let output = query.output().map_err(io_error("asking MariaDB"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }

    let printed = debian::tail(&String::from_utf8_lossy(&output.stderr));
    Err(CounterpartError::Failed {
        what: "asking MariaDB".to_owned(),
        status: output.status,
        printed,
    })
}

/// Returns `true` if the server greets with version 10 of the protocol. The set-up has run by then.
fn is_ready(port: u16) -> bool {
    let greeted = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut server| {
        server.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut greeting = [0; 5];
        server.read_exact(&mut greeting)?;
        Ok(greeting)
    });
    greeted.is_ok_and(|greeting| greeting[4] == 10)
}
