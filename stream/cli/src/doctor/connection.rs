//! The way to the brokers: names, TCP, TLS, login, and the requests that they offer.

use std::fmt::Display;
use std::io::{self, ErrorKind};

use record_log::LogError;
use record_log::native::{BrokerAddress, Certificate, Examination, Offer, TlsFault, TlsRefusal};

use super::finding::{Checked, Fault, Owner};
use super::tool::Tool;

/// The doctor warns of a certificate that expires within this time.
const SOON_S: u64 = 14 * 24 * 60 * 60;
const DAY_S: u64 = 24 * 60 * 60;

/// The brokers that passed every step so far.
pub struct Way<'a> {
    pub kafka: &'a Examination,
    pub tool: &'a Tool,
    pub brokers: Vec<BrokerAddress>,
}

impl Way<'_> {
    pub fn names(&mut self) -> Checked {
        let kafka = self.kafka;
        self.step(|broker| match kafka.resolve(broker) {
            Ok(addresses) => Ok(format!("{} is {}", broker.host, listed(&addresses))),
            Err(error) => Err(unknown_name(broker, &error)),
        })
    }

    pub fn tcp(&mut self) -> Checked {
        let kafka = self.kafka;
        self.step(|broker| match kafka.connect(broker) {
            Ok(()) => Ok(format!("{broker} is reached")),
            Err(error) => Err(unreachable(broker, &error)),
        })
    }

    /// `now_s` is the time in seconds since the Unix epoch.
    pub fn tls(&mut self, now_s: u64) -> Checked {
        let kafka = self.kafka;
        let mut soon = Vec::new();
        let mut checked = self.step(|broker| match kafka.shake_hands(broker) {
            Ok(None) => Ok("not in use (security.protocol)".to_owned()),
            Ok(Some(certificate)) => {
                soon.extend(expiring(broker, certificate, now_s));
                Ok(valid(broker, certificate, now_s))
            }
            Err(refusal) => Err(untrusted(broker, &refusal)),
        });

        checked.faults.append(&mut soon);
        checked
    }

    pub fn login(&mut self) -> Checked {
        let kafka = self.kafka;
        let tool = self.tool;
        let mechanism = kafka.mechanism();
        self.step(|broker| match kafka.log_in(broker) {
            Ok(_) => Ok(logged_in(broker, mechanism, kafka.principal())),
            Err(error) => Err(not_logged_in(tool, mechanism, &error)),
        })
    }

    /// Connects to the addresses that the brokers advertise: clients send all requests but the first ones there.
    pub fn advertised(&mut self) -> Checked {
        let Some(first) = self.brokers.first() else {
            return Checked::default();
        };

        let members = match self.kafka.log_in(first) {
            Ok(members) => members,
            Err(error) => return Checked::of(Err(unread(&error))),
        };

        let faults = members
            .iter()
            .filter_map(|member| self.follow(member).err());
        let detail = listed(&members);
        Checked {
            faults: faults.collect(),
            detail,
        }
    }

    pub fn requests(&mut self) -> Checked {
        let kafka = self.kafka;
        self.step(|broker| match kafka.offer(broker) {
            Ok(offer) => all_offered(broker, &offer),
            Err(error) => Err(unread(&error)),
        })
    }

    fn follow(&self, member: &BrokerAddress) -> Result<(), Fault> {
        let advertised = |fault: Fault| Fault {
            owner: Owner::Cluster,
            setting: "advertised.listeners".to_owned(),
            what: format!(
                "the cluster names a broker that cannot be used: {}",
                fault.what
            ),
            ..fault
        };

        self.kafka
            .resolve(member)
            .map_err(|error| advertised(unknown_name(member, &error)))?;
        self.kafka
            .connect(member)
            .map_err(|error| advertised(unreachable(member, &error)))?;
        self.kafka
            .shake_hands(member)
            .map_err(|refusal| advertised(untrusted(member, &refusal)))?;
        Ok(())
    }

    /// Makes a check of each broker, and keeps the brokers that pass. If one passes, the faults of the others are
    /// warnings: a client needs one broker to begin with.
    fn step(&mut self, mut step: impl FnMut(&BrokerAddress) -> Result<String, Fault>) -> Checked {
        let mut details = Vec::new();
        let mut faults = Vec::new();
        self.brokers.retain(|broker| match step(broker) {
            Ok(detail) => {
                details.push(detail);
                true
            }
            Err(fault) => {
                faults.push(fault);
                false
            }
        });

        details.dedup();
        if !self.brokers.is_empty() {
            faults = faults.into_iter().map(Fault::into_warning).collect();
        }

        Checked {
            detail: details.join(", "),
            faults,
        }
    }
}

fn unknown_name(broker: &BrokerAddress, error: &io::Error) -> Fault {
    let BrokerAddress { host, .. } = broker;
    Fault::failure(
        Owner::Job,
        "--brokers, or the DNS that this machine uses",
        format!("{host:?} cannot be resolved: {error}"),
        format!(
            "correct --brokers, or make `getent hosts {host}` print an address on this machine"
        ),
    )
}

fn unreachable(broker: &BrokerAddress, error: &io::Error) -> Fault {
    let BrokerAddress { host, port } = broker;
    let try_again = format!("`nc -vz {host} {port}` must succeed on this machine");
    match error.kind() {
        ErrorKind::ConnectionRefused => Fault::failure(
            Owner::Job,
            "--brokers, or the listeners of the broker",
            format!("nothing listens at {broker}: {error}"),
            format!("start the broker, or correct the port in --brokers; {try_again}"),
        ),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Fault::failure(
            Owner::Network,
            "the firewalls and routes between this machine and the broker",
            format!("{broker} does not answer: {error}"),
            format!(
                "allow TCP to port {port} of {host} in the firewall or security group; {try_again}"
            ),
        ),
        _ => Fault::failure(
            Owner::Network,
            "the routes between this machine and the broker",
            format!("{broker} cannot be reached: {error}"),
            try_again,
        ),
    }
}

fn untrusted(broker: &BrokerAddress, refusal: &TlsRefusal) -> Fault {
    let BrokerAddress { host, .. } = broker;
    let shown = format!("openssl s_client -connect {broker} -servername {host} </dev/null");
    let what = refusal.to_string();
    match refusal.fault {
        TlsFault::Authority => Fault::failure(
            Owner::Job,
            "ssl.ca.location",
            what,
            format!(
                "--property ssl.ca.location=FILE, with the authority that `{shown}` names as issuer"
            ),
        ),
        TlsFault::Expired | TlsFault::NotYetValid => Fault::failure(
            Owner::Cluster,
            "ssl.keystore.location of the listener",
            what,
            format!(
                "renew the certificate; `{shown} | openssl x509 -noout -dates` shows its dates"
            ),
        ),
        TlsFault::Name => Fault::failure(
            Owner::Job,
            "--brokers, or the names in the broker's certificate",
            what,
            format!(
                "connect by a name that `{shown} | openssl x509 -noout -ext subjectAltName` shows, or issue a \
                 certificate for {host}"
            ),
        ),
        TlsFault::OwnCertificate => Fault::failure(
            Owner::Job,
            "ssl.certificate.location and ssl.key.location",
            what,
            "--property ssl.certificate.location=FILE --property ssl.key.location=FILE",
        ),
        TlsFault::WithoutTls => Fault::failure(
            Owner::Job,
            "security.protocol",
            what,
            "--property security.protocol=plaintext or sasl_plaintext, or the port of a listener with TLS in --brokers",
        ),
        TlsFault::NothingInCommon | TlsFault::Other => Fault::failure(
            Owner::Cluster,
            "ssl.enabled.protocols and ssl.keystore.location of the listener",
            what,
            format!("make `{shown}` succeed on this machine"),
        ),
        TlsFault::Unanswered => Fault::failure(
            Owner::Network,
            "the proxy or load balancer that ends TLS between this machine and the broker",
            what,
            format!("make `{shown}` succeed on this machine"),
        ),
    }
}

fn valid(broker: &BrokerAddress, certificate: Certificate, now_s: u64) -> String {
    match certificate.expires_at_s {
        Some(at) => {
            let days = at.saturating_sub(now_s) / DAY_S;
            format!("the certificate of {broker} is valid for {days} days")
        }
        None => format!("the certificate of {broker} is valid"),
    }
}

fn expiring(broker: &BrokerAddress, certificate: Certificate, now_s: u64) -> Option<Fault> {
    let at = certificate.expires_at_s?;
    let left_s = at.saturating_sub(now_s);
    (left_s < SOON_S).then(|| {
        let days = left_s / DAY_S;
        Fault::failure(
            Owner::Cluster,
            "ssl.keystore.location of the listener",
            format!("the certificate of {broker} expires in {days} days"),
            "renew the certificate before that",
        )
        .into_warning()
    })
}

fn logged_in(broker: &BrokerAddress, mechanism: Option<&str>, principal: Option<&str>) -> String {
    match (mechanism, principal) {
        (Some(mechanism), Some(user)) => format!("{broker} accepts {user:?} by {mechanism}"),
        (Some(mechanism), None) => format!("{broker} accepts the token by {mechanism}"),
        (None, _) => format!("{broker} demands no login"),
    }
}

fn not_logged_in(tool: &Tool, mechanism: Option<&str>, error: &LogError) -> Fault {
    if error.is_transient() {
        return unread(error);
    }

    let password = mechanism.and_then(|mechanism| tool.set_password(mechanism));
    let fix = match (mechanism, password) {
        (Some(_), Some(command)) => {
            format!("--property sasl.password=PASSWORD with the right one, or set it by {command}")
        }
        (Some("OAUTHBEARER"), None) if tool.is_iam => {
            "credentials of AWS whose identity has the right kafka-cluster:Connect; `aws sts get-caller-identity` shows it on \
             this machine"
                .to_owned()
        }
        (Some("OAUTHBEARER"), None) => "a token that the broker's validator accepts".to_owned(),
        (Some(_), None) => {
            "--property sasl.username=USER --property sasl.password=PASSWORD".to_owned()
        }
        (None, _) => {
            "--property security.protocol=sasl_ssl --property sasl.mechanism=MECHANISM".to_owned()
        }
    };

    let setting = match mechanism {
        Some("OAUTHBEARER") => "the token of sasl.oauthbearer",
        Some(_) => "sasl.mechanism, sasl.username and sasl.password",
        None => "security.protocol",
    };

    Fault::failure(Owner::Job, setting, error.to_string(), fix)
}

fn all_offered(broker: &BrokerAddress, offer: &Offer) -> Result<String, Fault> {
    if offer.missing.is_empty() {
        return Ok(format!("{broker} offers every request that is needed"));
    }

    Err(Fault::failure(
        Owner::Cluster,
        "the version of Kafka",
        format!("{broker} does not offer {}", offer.missing.join(", ")),
        "upgrade the brokers to Kafka 3.7 or newer",
    ))
}

/// Returns the fault of a request that got no answer, or an unexpected one.
fn unread(error: &LogError) -> Fault {
    Fault::failure(
        Owner::Cluster,
        "the health of the brokers",
        error.to_string(),
        "look into the brokers' logs, and try again",
    )
}

fn listed<T: Display>(items: &[T]) -> String {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
