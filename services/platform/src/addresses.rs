//! The address of each part of the platform: the port base plus a fixed offset.
//!
//! The operator's address of a service, which serves health and metrics only, is ten ports above
//! its own. The stream job serves these on its only port.
//!
//! All listeners of the platform are bound before any part starts, so a port in use causes one line
//! of error and no partial start.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use chassis::Listeners;
use tokio::net::TcpListener;

/// Distance from a service's own port to its operator's port.
const OPERATORS_ABOVE: u16 = 10;

/// A part that listens. The position of the variant is its offset from the port base.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Part {
    /// The entry point, with the storefront.
    Gateway,
    /// User accounts.
    Users,
    /// The product catalogue.
    Products,
    /// Orders and their outbox.
    Orders,
    /// Messages to customers.
    Notifications,
    /// The counts of the stream job.
    Analytics,
    /// The stream job's status and metrics.
    StreamJob,
    /// Uploaded files.
    Files,
}

impl Part {
    /// Returns the name for people and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Users => "users",
            Self::Products => "products",
            Self::Orders => "orders",
            Self::Notifications => "notifications",
            Self::Analytics => "analytics",
            Self::StreamJob => "order-analytics",
            Self::Files => "files",
        }
    }

    /// Returns the port of this part. With a base of 0 it is 0, which stands for any free port.
    fn port(self, base: u16) -> u16 {
        if base == 0 { 0 } else { base + self as u16 }
    }

    /// Returns the operator's port, or `None` for a part whose only port serves health and metrics.
    fn operator_port(self, base: u16) -> Option<u16> {
        match (self, base) {
            (Self::StreamJob, _) => None,
            (_, 0) => Some(0),
            (_, base) => Some(self.port(base) + OPERATORS_ABOVE),
        }
    }
}

/// The settings of the addresses.
#[derive(clap::Args, Clone, Debug)]
pub struct Addresses {
    /// Address to listen on.
    #[arg(long, env = "TIDEMARK_HOST", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "ADDRESS")]
    pub host: IpAddr,
    /// Port of the gateway. The services use the following ports, and the ports ten above each
    /// serve health and metrics. 0 takes any free ports.
    #[arg(long, env = "TIDEMARK_PORT_BASE", default_value_t = 5000, value_name = "PORT",
          value_parser = clap::value_parser!(u16).range(0..=65_518))]
    pub port_base: u16,
}

impl Addresses {
    /// Binds the listener of `part`.
    ///
    /// # Errors
    /// [`AddressError`] when the port is in use or the address does not belong to this machine.
    pub async fn bind(&self, part: Part) -> Result<Listening, AddressError> {
        let wanted = SocketAddr::new(self.host, part.port(self.port_base));
        let refused = |source| AddressError {
            part: part.name(),
            wanted,
            source,
        };
        let listener = TcpListener::bind(wanted).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let operator = self.bind_operator(part).await?;
        let operator_address = operator.as_ref().map(TcpListener::local_addr);

        Ok(Listening {
            part,
            listener,
            address,
            operator,
            operator_address: operator_address.transpose().map_err(refused)?,
        })
    }

    async fn bind_operator(&self, part: Part) -> Result<Option<TcpListener>, AddressError> {
        let Some(port) = part.operator_port(self.port_base) else {
            return Ok(None);
        };

        let wanted = SocketAddr::new(self.host, port);
        let refused = |source| AddressError {
            part: part.name(),
            wanted,
            source,
        };
        TcpListener::bind(wanted).await.map(Some).map_err(refused)
    }

    /// Binds the listeners of all parts, in the order of their ports.
    ///
    /// # Errors
    /// [`AddressError`] for the first address that cannot be bound.
    pub async fn bind_all(&self) -> Result<AllListening, AddressError> {
        Ok(AllListening {
            gateway: self.bind(Part::Gateway).await?,
            users: self.bind(Part::Users).await?,
            products: self.bind(Part::Products).await?,
            orders: self.bind(Part::Orders).await?,
            notifications: self.bind(Part::Notifications).await?,
            analytics: self.bind(Part::Analytics).await?,
            stream_job: self.bind(Part::StreamJob).await?,
            files: self.bind(Part::Files).await?,
        })
    }
}

/// The bound listeners of all parts.
pub struct AllListening {
    /// Those of [`Part::Gateway`].
    pub gateway: Listening,
    /// Those of [`Part::Users`].
    pub users: Listening,
    /// Those of [`Part::Products`].
    pub products: Listening,
    /// Those of [`Part::Orders`].
    pub orders: Listening,
    /// Those of [`Part::Notifications`].
    pub notifications: Listening,
    /// Those of [`Part::Analytics`].
    pub analytics: Listening,
    /// Those of [`Part::StreamJob`].
    pub stream_job: Listening,
    /// Those of [`Part::Files`].
    pub files: Listening,
}

impl AllListening {
    /// Returns the listeners in the order of their ports.
    pub fn in_order(&self) -> [&Listening; 8] {
        [
            &self.gateway,
            &self.users,
            &self.products,
            &self.orders,
            &self.notifications,
            &self.analytics,
            &self.stream_job,
            &self.files,
        ]
    }
}

/// The bound listeners of a part.
pub struct Listening {
    /// The part that listens.
    pub part: Part,
    /// The listener.
    pub listener: TcpListener,
    /// The address that was bound.
    pub address: SocketAddr,
    /// The listener for health and metrics.
    pub operator: Option<TcpListener>,
    /// The address that was bound for health and metrics.
    pub operator_address: Option<SocketAddr>,
}

impl From<Listening> for Listeners {
    fn from(bound: Listening) -> Self {
        Self {
            public: bound.listener,
            operator: bound.operator,
        }
    }
}

impl Listening {
    /// Returns the base URL by which this machine reaches the part, even if it listens on all
    /// interfaces.
    pub fn url(&self) -> String {
        url_of(self.address)
    }

    /// Returns the base URL of its health and metrics.
    pub fn operator_url(&self) -> Option<String> {
        self.operator_address.map(url_of)
    }
}

fn url_of(address: SocketAddr) -> String {
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(host, address.port()))
}

/// A listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "{part} cannot listen on {wanted}: {source}; choose other ports with --port-base, another address with --host{}",
    port_hint(*.wanted)
)]
pub struct AddressError {
    part: &'static str,
    wanted: SocketAddr,
    source: std::io::Error,
}

/// Names a program that is known to use this port on people's machines.
fn port_hint(wanted: SocketAddr) -> &'static str {
    match wanted.port() {
        5000 => {
            " (on macOS, AirPlay Receiver takes port 5000: use --port-base 5100, or turn it off in System Settings, AirDrop & Handoff)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_follow_the_base_in_a_fixed_order() {
        assert_eq!(Part::Gateway.port(5000), 5000);
        assert_eq!(Part::Orders.port(5000), 5003);
        assert_eq!(Part::Files.port(65_518), 65_525);
    }

    #[test]
    fn health_and_metrics_are_ten_ports_above_except_the_jobs() {
        assert_eq!(Part::Gateway.operator_port(5000), Some(5010));
        assert_eq!(Part::Files.operator_port(65_518), Some(65_535));
        assert_eq!(Part::Files.operator_port(0), Some(0));
        assert_eq!(Part::StreamJob.operator_port(5000), None);
    }

    #[tokio::test]
    async fn a_base_of_zero_takes_any_free_port_and_the_url_says_which() {
        let addresses = Addresses {
            host: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port_base: 0,
        };
        let bound = addresses.bind(Part::Orders).await.unwrap();

        assert_eq!(
            bound.url(),
            format!("http://127.0.0.1:{}", bound.address.port())
        );
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_the_flag_that_changes_it() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port_base = taken.local_addr().unwrap().port();
        let addresses = Addresses {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port_base,
        };

        let error = addresses
            .bind(Part::Gateway)
            .await
            .err()
            .unwrap()
            .to_string();

        assert!(
            error.contains(&format!("127.0.0.1:{port_base}")) && error.contains("--port-base"),
            "{error}"
        );
    }

    #[test]
    fn the_port_that_airplay_takes_is_named() {
        let error = |port| {
            AddressError {
                part: "gateway",
                wanted: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
                source: std::io::ErrorKind::AddrInUse.into(),
            }
            .to_string()
        };
        assert!(error(5000).contains("AirPlay"), "{}", error(5000));
        assert!(!error(5001).contains("AirPlay"), "{}", error(5001));
    }
}
