//! DynamoDB Local, Amazon's own replacement: the reference for the embedded endpoint.

use std::path::Path;
use std::time::Duration;

use super::server::{create_folder, free_ports};
use super::{Cache, JAVA, Launch, Result, Server, debian, io_error, maven};

const POM: &str = include_str!("../../counterparts/dynamodb/pom.xml");
const LAUNCHER: &str = include_str!("../../counterparts/dynamodb/LoopbackDynamoDb.java");
/// DynamoDB Local needs a signature but does not verify it.
const UNCHECKED_SIGNATURE: &str = "AWS4-HMAC-SHA256 Credential=bench/20260101/local/dynamodb/aws4_request, SignedHeaders=host, Signature=00";

/// Starts a server with its tables below `data`; a folder that was used before is used again.
///
/// # Errors
/// If its jars, Java or a port are not available, or it does not become ready.
pub fn start(cache: &Cache, data: &Path) -> Result<Server> {
    Server::start(launch(cache, data)?)
}

/// Prepares everything but the start: jars and the launcher.
///
/// # Errors
/// If its jars, Java or a port are not available.
pub fn launch(cache: &Cache, data: &Path) -> Result<Launch> {
    debian::provision(JAVA)?;
    let jars = maven::jars(cache, "dynamodb", POM)?;
    create_folder(data)?;

    let [port] = free_ports()?;
    let launcher = data.join("LoopbackDynamoDb.java");
    std::fs::write(&launcher, LAUNCHER)
        .map_err(io_error("writing the launcher of DynamoDB Local"))?;

    let libraries = format!("-Dsqlite4java.library.path={}", jars.display());
    let mut arguments = vec![
        "-Xmx256m".into(),
        libraries.into(),
        "-cp".into(),
        jars.join("*").into(),
    ];

    // Java compiles and runs a program of one source file.
    arguments.push(launcher.into());
    let port_text = port.to_string();

    // Without -sharedDb, each access key has tables of its own, so each test has too.
    arguments.extend(["-disableTelemetry", "-port", &port_text, "-dbPath"].map(Into::into));
    arguments.push(data.into());
    Ok(Launch {
        name: "DynamoDB Local",
        address: format!("http://127.0.0.1:{port}"),
        port,
        program: "java".into(),
        arguments,
        log: data.join("dynamodb.log"),
        is_ready,
    })
}

fn is_ready(port: u16) -> bool {
    let client = reqwest::blocking::Client::builder()
        .timeout(Duration::from_secs(2))
        .no_proxy()
        .build();

    let asked = client.and_then(|client| {
        let request = client.post(format!("http://127.0.0.1:{port}/")).body("{}");
        let request = request.header("content-type", "application/x-amz-json-1.0");
        let request = request.header("x-amz-target", "DynamoDB_20120810.ListTables");
        request.header("authorization", UNCHECKED_SIGNATURE).send()
    });
    asked.is_ok_and(|answer| answer.status().is_success())
}
