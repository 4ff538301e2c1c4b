//! Tokens for Google's Managed Service for Apache Kafka, from the metadata server of the machine or pod.
//!
//! The [metadata server] returns the name of the service account and an access token. Brokers expect the two in the
//! three parts of a JWT, with the access token in place of the signature:
//!
//! ```text
//! base64url({"typ":"JWT","alg":"GOOG_OAUTH2_TOKEN"}) . base64url({"sub": account, "exp": …}) . base64url(access token)
//! ```
//!
//! The server keeps a token until shortly before it expires, so each login requests one.
//!
//! [metadata server]: https://cloud.google.com/compute/docs/access/authenticate-workloads#applications

use std::io::{self, Read, Write};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64_URL;
use serde::Deserialize;

use super::issuer::{IssueError, Issuer, Secret};
use crate::native::network::{Address, Socket, SocketOptions, dial};

/// The variable that names another metadata server, also for Google's own libraries.
const HOST_VARIABLE: &str = "GCE_METADATA_HOST";
const HOST: &str = "metadata.google.internal";
/// The service account that the machine or the pod has.
const ACCOUNT: &str = "/computeMetadata/v1/instance/service-accounts/default";
/// The time limit of a request: the server is on the same machine.
const LIMIT: Duration = Duration::from_secs(5);
/// The longest answer that is read. Tokens have about two thousand bytes.
const LONGEST_ANSWER: u64 = 64 << 10;

/// Issues tokens for the service account that a metadata server names.
#[derive(Debug)]
pub(super) struct Google {
    server: Address,
}

/// The reason why there is no token. It continues "cannot be given a token of Google: ".
#[derive(Debug, thiserror::Error)]
enum GoogleError {
    #[error("the metadata server {server} does not answer: {source}")]
    Unreachable { server: Address, source: io::Error },
    #[error(
        "the metadata server {server} answered {path} with {answer:?}: give this machine or pod a service account"
    )]
    Refused {
        server: Address,
        path: String,
        answer: String,
    },
    #[error(
        "the server at {0} is not a metadata server of Google: correct GCE_METADATA_HOST, or run where there is one"
    )]
    Stranger(Address),
    #[error("the metadata server {server} sent no token: {source}")]
    NoToken {
        server: Address,
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct AccessToken {
    access_token: String,
    /// The time until the token expires, in seconds.
    expires_in: u64,
}

impl Google {
    /// Returns the issuer with the metadata server that this process uses.
    pub fn of_environment() -> Self {
        let named = std::env::var(HOST_VARIABLE).unwrap_or_default();
        Self {
            server: server_named(&named),
        }
    }
}

impl Issuer for Google {
    fn token(&self, now_ms: u64) -> Result<Secret, IssueError> {
        token(&self.server, now_ms)
            .map(Secret)
            .map_err(|error| IssueError {
                issuer: "Google",
                is_passing: error.is_passing(),
                source: Box::new(error),
            })
    }

    fn remedy(&self) -> String {
        format!(
            "the service account that the metadata server {} names: grant it roles/managedkafka.client",
            self.server
        )
    }
}

fn server_named(named: &str) -> Address {
    let named = if named.is_empty() { HOST } else { named };
    let (host, port) = named.rsplit_once(':').unwrap_or((named, ""));
    match port.parse() {
        Ok(port) => Address {
            host: host.to_owned(),
            port,
        },
        Err(_) => Address {
            host: named.to_owned(),
            port: 80,
        },
    }
}

/// Gets a token for brokers, as of `now_ms`.
fn token(server: &Address, now_ms: u64) -> Result<String, GoogleError> {
    let answer = get(server, &format!("{ACCOUNT}/token"))?;
    let token: AccessToken =
        serde_json::from_str(&answer).map_err(|source| GoogleError::NoToken {
            server: server.clone(),
            source,
        })?;
    let account = get(server, &format!("{ACCOUNT}/email"))?;

    let issued_at = now_ms / 1_000;
    let claims = serde_json::json!({
        "iss": "Google",
        "sub": account.trim(),
        "scope": "kafka",
        "iat": issued_at,
        "exp": issued_at + token.expires_in,
    });
    let parts = [
        r#"{"typ":"JWT","alg":"GOOG_OAUTH2_TOKEN"}"#,
        &claims.to_string(),
        &token.access_token,
    ];
    let parts = parts.map(|part| BASE64_URL.encode(part));
    Ok(parts.join("."))
}

fn get(server: &Address, path: &str) -> Result<String, GoogleError> {
    let answer = ask(server, path).map_err(|source| GoogleError::Unreachable {
        server: server.clone(),
        source,
    })?;

    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    let is_flavor = |line: &str| line.eq_ignore_ascii_case("metadata-flavor: google");
    if !lines.any(is_flavor) {
        return Err(GoogleError::Stranger(server.clone()));
    }

    if status.split(' ').nth(1) != Some("200") {
        return Err(GoogleError::Refused {
            server: server.clone(),
            path: path.to_owned(),
            answer: status.to_owned(),
        });
    }
    Ok(body.to_owned())
}

/// Sends a request of HTTP/1.0, whose answer ends with the connection.
fn ask(server: &Address, path: &str) -> io::Result<String> {
    let mut stream = dial(server, SocketOptions::default(), LIMIT)?;
    stream.set_limit(LIMIT)?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: {}\r\nMetadata-Flavor: Google\r\nConnection: close\r\n\r\n",
        server.host
    )?;

    let mut answer = String::new();
    stream.take(LONGEST_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}

impl GoogleError {
    /// Returns `true` if a later try may succeed.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    use super::*;

    const EMAIL: &str = "job@project.iam.gserviceaccount.com";

    /// Serves these answers by the ends of their paths, each on a connection of its own.
    fn serve(answers: &'static [(&str, &str)]) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(&stream).lines().map(Result::unwrap);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                assert!(
                    head.contains(&"Metadata-Flavor: Google".to_owned()),
                    "{head:?}"
                );

                let path = head[0].split(' ').nth(1).unwrap();
                assert!(path.starts_with(ACCOUNT), "{path}");
                let mut found = answers.iter().filter(|(end, _)| path.ends_with(end));
                let (_, answer) = found.next().unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        Address {
            host: "127.0.0.1".to_owned(),
            port,
        }
    }

    const GOOD: &[(&str, &str)] = &[
        (
            "/token",
            "HTTP/1.0 200 OK\r\nmetadata-flavor: Google\r\n\r\n\
             {\"access_token\":\"ya29.secret\",\"expires_in\":3599,\"token_type\":\"Bearer\"}",
        ),
        (
            "/email",
            "HTTP/1.0 200 OK\r\nMetadata-Flavor: Google\r\n\r\njob@project.iam.gserviceaccount.com\n",
        ),
    ];

    #[test]
    fn a_token_has_the_three_parts_that_brokers_take() {
        let token = token(&serve(GOOD), 1_700_000_000_999).unwrap();
        let parts = token
            .split('.')
            .map(|part| BASE64_URL.decode(part).unwrap());
        let parts: Vec<String> = parts.map(|part| String::from_utf8(part).unwrap()).collect();
        assert_eq!(parts[0], "{\"typ\":\"JWT\",\"alg\":\"GOOG_OAUTH2_TOKEN\"}");
        assert_eq!(parts[2..], ["ya29.secret"]);

        let claims: serde_json::Value = serde_json::from_str(&parts[1]).unwrap();
        let expected = serde_json::json!({
            "iss": "Google", "sub": EMAIL, "scope": "kafka", "iat": 1_700_000_000, "exp": 1_700_003_599,
        });
        assert_eq!(claims, expected);
    }

    #[test]
    fn an_answer_without_a_token_is_named_and_not_transient() {
        let cases: [(&'static [(&str, &str)], &str); 3] = [
            (
                &[(
                    "",
                    "HTTP/1.0 404 Not Found\r\nMetadata-Flavor: Google\r\n\r\n",
                )],
                "404",
            ),
            (
                &[(
                    "",
                    "HTTP/1.0 200 OK\r\n\r\n{\"access_token\":\"a\",\"expires_in\":1}",
                )],
                "GCE_METADATA_HOST",
            ),
            (
                &[(
                    "",
                    "HTTP/1.0 200 OK\r\nMetadata-Flavor: Google\r\n\r\n<html>",
                )],
                "sent no token",
            ),
        ];
        for (answers, named) in cases {
            let error = token(&serve(answers), 0).unwrap_err();
            assert!(
                !error.is_passing() && error.to_string().contains(named),
                "{error}"
            );
        }

        let nobody = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let nobody = server_named(&nobody.to_string());
        assert!(token(&nobody, 0).unwrap_err().is_passing());
    }

    #[test]
    fn the_variable_names_another_metadata_server() {
        let named = |named: &str| server_named(named).to_string();
        assert_eq!(named(""), "metadata.google.internal:80");
        assert_eq!(named("169.254.169.254"), "169.254.169.254:80");
        assert_eq!(named("localhost:8080"), "localhost:8080");
    }
}
