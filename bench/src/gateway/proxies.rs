//! The proxies that are compared (nginx, the gateway in two configurations, Flask), and the
//! upstream behind all of them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use reqwest::blocking::Client;
use serde_json::{Value, json};

use super::GatewayError;
use crate::binaries;
use crate::counterparts::{
    self, Cache, CounterpartError, Launch, PROXIES, PYTHON, Server, free_ports,
};

const FLASK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/flask");
const REQUIREMENTS: &str = include_str!("../../peers/flask/requirements.txt");
/// The requested path: a product.
const PATH: &str = "/api/products/0198c0de-0000-7000-8000-000000000001";
/// The upstream's answer, 220 bytes.
const PRODUCT: &str = r#"{"id":"0198c0de-0000-7000-8000-000000000001","name":"Tide table","price_cents":1250,"currency":"USD","stock":1000,"category":"books","pages":96,"language":"en","created_at":"2026-11-22T10:00:00.123Z","is_on_offer":false}"#;
/// A rate limit that is counted and never reached.
const UNREACHED: &str = "1000000";
/// The secret that services share in these runs.
const SECRET: &str = "nobody else listens on this machine's loopback";

/// A proxy under load; it ends when this value is dropped.
pub(super) struct Proxy {
    pub(super) name: &'static str,
    pub(super) headers: Vec<String>,
    server: Server,
}

/// All proxies that are compared, nginx first.
pub(super) struct Proxies {
    pub(super) all: Vec<Proxy>,
    _upstream: Server,
    _users: Server,
}

impl Proxy {
    fn of(server: Server) -> Self {
        Self {
            name: server.name(),
            headers: Vec::new(),
            server,
        }
    }

    /// Returns the id of its process group.
    pub(super) fn pid(&self) -> i32 {
        self.server.pid()
    }

    pub(super) fn url(&self) -> String {
        format!("{}{PATH}", self.server.address())
    }
}

impl Proxies {
    /// Fetches missing programs, and starts all proxies.
    pub(super) fn start(
        cache: &Cache,
        folder: &Path,
        with_flask: bool,
    ) -> Result<Self, GatewayError> {
        counterparts::provision(PROXIES)?;
        let upstream = Server::start(nginx("upstream", folder, &upstream_configuration)?)?;
        let users = Server::start(users(folder)?)?;
        let through = |port| proxy_configuration(port, upstream.address());

        let mut all = vec![
            Proxy::of(Server::start(nginx("nginx", folder, &through)?)?),
            Proxy::of(Server::start(gateway(
                "gateway",
                folder,
                upstream.address(),
                &[],
            )?)?),
            careful(folder, upstream.address(), users.address())?,
        ];

        if with_flask {
            all.push(Proxy::of(Server::start(flask(
                cache,
                folder,
                upstream.address(),
            )?)?));
        }

        Ok(Self {
            all,
            _upstream: upstream,
            _users: users,
        })
    }
}

/// The gateway as it is deployed.
const CAREFUL: &str = "gateway, tokens and limits";

/// Starts a gateway that verifies tokens and counts requests, as a public one does.
fn careful(folder: &Path, upstream: &str, users: &str) -> Result<Proxy, GatewayError> {
    let jwks = format!("{users}/.well-known/jwks.json");
    let settings = [
        "--auth",
        "enforced",
        "--service-secret",
        SECRET,
        "--jwks-url",
        &jwks,
        "--gateway-rate-limit",
        UNREACHED,
        "--gateway-account-rate-limit",
        UNREACHED,
    ];

    let server = Server::start(gateway(CAREFUL, folder, upstream, &settings)?)?;
    let mut proxy = Proxy::of(server);
    proxy
        .headers
        .push(format!("Authorization: Bearer {}", token(users)?));

    Ok(proxy)
}

fn launch(
    name: &'static str,
    folder: &Path,
    port: u16,
    program: PathBuf,
    arguments: Vec<OsString>,
) -> Launch {
    let address = format!("http://127.0.0.1:{port}");
    let log = folder.join(format!("{port}.log"));
    Launch {
        name,
        address,
        port,
        program,
        arguments,
        log,
        is_ready: answers,
    }
}

/// Returns `true` if an HTTP server answers on this port.
fn answers(port: u16) -> bool {
    let client = Client::builder()
        .timeout(Duration::from_secs(2))
        .no_proxy()
        .build();
    client
        .and_then(|client| client.get(format!("http://127.0.0.1:{port}{PATH}")).send())
        .is_ok()
}

/// Starts an nginx whose files are all in `folder`.
fn nginx(
    name: &'static str,
    folder: &Path,
    server: &dyn Fn(u16) -> String,
) -> Result<Launch, GatewayError> {
    let [port] = free_ports()?;
    let own = folder.join(name);
    fs::create_dir_all(&own)?;

    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = temporary
        .iter()
        .map(|kind| format!("  {kind}_temp_path {kind};\n"))
        .collect();

    let user = if counterparts::is_root() {
        "user root;\n"
    } else {
        ""
    };

    let configuration = format!(
        "{user}daemon off;\npid pid;\nerror_log stderr;\nworker_processes {};\nevents {{ worker_connections 4096; }}\n\
         http {{\n{temporary}  access_log off;\n  keepalive_requests 1000000000;\n{}}}\n",
        if name == "upstream" { "1" } else { "auto" },
        server(port)
    );
    fs::write(own.join("nginx.conf"), configuration)?;

    let program = counterparts::find("nginx").unwrap_or_else(|| "nginx".into());
    let arguments = [
        OsString::from("-p"),
        own.into(),
        "-c".into(),
        "nginx.conf".into(),
        "-e".into(),
        "stderr".into(),
    ];

    Ok(launch(name, folder, port, program, arguments.into()))
}

fn upstream_configuration(port: u16) -> String {
    format!(
        "  server {{\n    listen 127.0.0.1:{port};\n    default_type application/json;\n    location / {{ return 200 '{PRODUCT}'; }}\n  }}\n"
    )
}

/// Returns the usual configuration of nginx in front of an API: pooled connections, and headers
/// with the origin of a request.
fn proxy_configuration(port: u16, upstream: &str) -> String {
    let authority = upstream.trim_start_matches("http://");
    format!(
        "  upstream shop {{ server {authority}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location /api/ {{
      proxy_pass http://shop/;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Request-Id $request_id;
    }}
  }}
"
    )
}

fn gateway(
    name: &'static str,
    folder: &Path,
    upstream: &str,
    settings: &[&str],
) -> Result<Launch, GatewayError> {
    let [port] = free_ports()?;
    let own = port.to_string();
    let mut arguments = vec![
        "gateway",
        "--port-base",
        &own,
        "--gateway-products-url",
        upstream,
    ];
    arguments.extend(settings);

    let arguments = arguments.into_iter().map(Into::into).collect();
    Ok(launch(
        name,
        folder,
        port,
        binaries::find("platform")?,
        arguments,
    ))
}

/// Returns the users service, because it signs tokens.
fn users(folder: &Path) -> Result<Launch, GatewayError> {
    let [port] = free_ports()?;
    let base = (port - 1).to_string();
    let database = format!("sqlite://{}", folder.join("users.db").display());

    let arguments = [
        "users",
        "--port-base",
        &base,
        "--mysql",
        &database,
        "--auth",
        "enforced",
        "--service-secret",
        SECRET,
    ];

    Ok(launch(
        "users",
        folder,
        port,
        binaries::find("platform")?,
        arguments.map(Into::into).into(),
    ))
}

/// Signs a user up, logs in and returns the token.
fn token(users: &str) -> Result<String, reqwest::Error> {
    let client = Client::builder().no_proxy().build()?;
    let post = |path: &str, body: Value| -> Result<Value, reqwest::Error> {
        client
            .post(format!("{users}{path}"))
            .json(&body)
            .send()?
            .error_for_status()?
            .json()
    };

    let email = "customer@example.com";
    let password = "a password of the harness";
    post(
        "/users",
        json!({ "name": "Customer", "email": email, "password": password }),
    )?;

    let pair = post(
        "/users/login",
        json!({ "email": email, "password": password }),
    )?;
    Ok(pair["access_token"].as_str().unwrap_or_default().to_owned())
}

/// Starts Flask with two processes for each core of the machine that the figures are from, and
/// enough threads for all connections.
fn flask(cache: &Cache, folder: &Path, upstream: &str) -> Result<Launch, GatewayError> {
    let programs = environment(cache)?.join("bin");
    let [port] = free_ports()?;
    let bind = format!("127.0.0.1:{port}");

    let workers = [
        "--workers",
        "4",
        "--worker-class",
        "gthread",
        "--threads",
        "8",
        "--keep-alive",
        "75",
    ];

    let upstream = format!("UPSTREAM={upstream}");
    let place = [
        "--bind",
        &bind,
        "--chdir",
        FLASK,
        "--env",
        &upstream,
        "--log-level",
        "warning",
        "gateway:app",
    ];
    let arguments = workers.iter().chain(&place).map(Into::into).collect();

    Ok(launch(
        "Flask, gunicorn",
        folder,
        port,
        programs.join("gunicorn"),
        arguments,
    ))
}

/// Returns a Python environment with Flask, cached by its requirements.
fn environment(cache: &Cache) -> Result<PathBuf, CounterpartError> {
    let folder = cache.folder(&format!(
        "flask-{:08x}",
        crc32fast::hash(REQUIREMENTS.as_bytes())
    ));

    if folder.join("complete").exists() {
        return Ok(folder);
    }

    counterparts::provision(PYTHON)?;
    println!("fetching Flask from PyPI into {}", folder.display());
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&folder);
    counterparts::run_silently("python3 -m venv", venv)?;

    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--requirement"])
        .arg(Path::new(FLASK).join("requirements.txt"));
    counterparts::run_silently("pip install", pip)?;

    let done = fs::write(folder.join("complete"), "");
    done.map_err(|source| CounterpartError::Io {
        what: "finishing Flask's environment".to_owned(),
        source,
    })?;

    Ok(folder)
}
