//! The properties of TLS and SASL, and the check that they fit each other.

use std::path::PathBuf;

use super::files::{Pem, authorities, certificates, key};
use super::{Refused, boolean, refused};
use crate::native::login::{Login, Mechanism, Secret, TokenSource};
use crate::native::tls::{Identity, Names};

/// The property that names the file with a bearer token. librdkafka has no such property.
pub(super) const TOKEN_FILE: &str = "sasl.oauthbearer.token.file";

/// The property that names the source of a bearer token, if it is not a file: `google` or `msk-iam`. librdkafka has no
/// such property.
pub(super) const TOKEN_SOURCE: &str = "sasl.oauthbearer.token.source";

/// The property that names the AWS region of tokens, if it is not the default chain's. librdkafka has no such property.
pub(super) const TOKEN_REGION: &str = "sasl.oauthbearer.token.region";

/// `security.protocol`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Protocol {
    #[default]
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

/// The properties' values.
#[derive(Default)]
pub(super) struct Security {
    protocol: Protocol,
    mechanism: Option<Mechanism>,
    user: Option<String>,
    password: Option<Secret>,
    token_file: Option<PathBuf>,
    token_source: Option<TokenSource>,
    token_region: Option<String>,
    authorities: Option<Pem>,
    certificate: Option<Pem>,
    key: Option<Pem>,
    names: Option<Names>,
}

/// Properties that fit each other.
pub(super) struct Checked {
    /// None without TLS.
    pub identity: Option<Identity>,
    /// None without SASL.
    pub login: Option<Login>,
}

impl Protocol {
    const ALL: [Self; 4] = [
        Self::Plaintext,
        Self::Ssl,
        Self::SaslPlaintext,
        Self::SaslSsl,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    fn is_encrypted(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    fn has_login(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// Returns the setting as messages name it.
    fn setting(self) -> String {
        format!("security.protocol={}", self.name())
    }
}

impl Security {
    /// Sets a property. Returns `true` if it is one of these.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool, Refused> {
        match name {
            "security.protocol" => self.protocol = protocol(name, value)?,
            "sasl.mechanism" | "sasl.mechanisms" => {
                self.mechanism = Some(mechanism(name, value)?);
            }
            "sasl.username" => self.user = Some(credential(name, value, value)?.to_owned()),
            // A refused value is not shown.
            "sasl.password" => {
                let password = credential(name, value, "(not shown)")?;
                self.password = Some(Secret(password.to_owned()));
            }
            TOKEN_FILE => self.token_file = Some(PathBuf::from(value)),
            TOKEN_SOURCE => self.token_source = Some(token_source(name, value)?),
            TOKEN_REGION => self.token_region = Some(value.to_owned()),
            "ssl.ca.location" => self.authorities = Some(Pem::file("ssl.ca.location", value)),
            "ssl.ca.pem" => self.authorities = Some(Pem::text("ssl.ca.pem", value)),
            "ssl.certificate.location" => {
                self.certificate = Some(Pem::file("ssl.certificate.location", value));
            }
            "ssl.certificate.pem" => {
                self.certificate = Some(Pem::text("ssl.certificate.pem", value));
            }
            "ssl.key.location" => self.key = Some(Pem::file("ssl.key.location", value)),
            "ssl.key.pem" => self.key = Some(Pem::text("ssl.key.pem", value)),
            "ssl.endpoint.identification.algorithm" => self.names = Some(names(name, value)?),
            // A certificate that is not verified gives no protection.
            "enable.ssl.certificate.verification" => match boolean(name, value)? {
                true => {}
                false => {
                    return Err(refused(
                        name,
                        value,
                        "true; name the authority by ssl.ca.location",
                    ));
                }
            },
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Reads the files, and checks that each property has an effect.
    pub fn check(self) -> Result<Checked, Refused> {
        self.check_effects()?;
        let protocol = self.protocol;
        let login = self.login()?;
        if protocol == Protocol::SaslPlaintext {
            tracing::warn!(
                "security.protocol=sasl_plaintext: logins and records are not encrypted"
            );
        }

        let identity = match protocol.is_encrypted() {
            true => Some(self.identity()?),
            false => None,
        };
        Ok(Checked { identity, login })
    }

    fn check_effects(&self) -> Result<(), Refused> {
        let of_logins = [
            ("sasl.mechanism", self.mechanism.is_some()),
            ("sasl.username", self.user.is_some()),
            ("sasl.password", self.password.is_some()),
            (TOKEN_FILE, self.token_file.is_some()),
            (TOKEN_SOURCE, self.token_source.is_some()),
            (TOKEN_REGION, self.token_region.is_some()),
        ];
        let set = of_logins.into_iter().find(|(_, is_set)| *is_set);
        if let (Some((name, _)), false) = (set, self.protocol.has_login()) {
            return Err(Refused::NoEffect {
                name,
                because: self.protocol.setting(),
                remedy: "security.protocol to sasl_ssl",
            });
        }

        let of_tls = [
            self.authorities.as_ref().map(|pem| pem.name),
            self.certificate.as_ref().map(|pem| pem.name),
            self.key.as_ref().map(|pem| pem.name),
            self.names.map(|_| "ssl.endpoint.identification.algorithm"),
        ];
        let set = of_tls.into_iter().flatten().next();
        if let (Some(name), false) = (set, self.protocol.is_encrypted()) {
            return Err(Refused::NoEffect {
                name,
                because: self.protocol.setting(),
                remedy: "security.protocol to ssl or sasl_ssl",
            });
        }

        Ok(())
    }

    fn login(&self) -> Result<Option<Login>, Refused> {
        if !self.protocol.has_login() {
            return Ok(None);
        }

        let missing = |name, because: String| Refused::Missing { name, because };
        let mechanism = self
            .mechanism
            .ok_or_else(|| missing("sasl.mechanism", self.protocol.setting()))?;
        let because = || format!("sasl.mechanism={mechanism}");

        let of_passwords = [
            ("sasl.username", self.user.is_some()),
            ("sasl.password", self.password.is_some()),
        ];
        let of_tokens = [
            (TOKEN_FILE, self.token_file.is_some()),
            (TOKEN_SOURCE, self.token_source.is_some()),
            (TOKEN_REGION, self.token_region.is_some()),
        ];
        let unused = match mechanism {
            Mechanism::OauthBearer => &of_passwords[..],
            _ => &of_tokens,
        };
        if let Some((name, _)) = unused.iter().find(|(_, is_set)| *is_set) {
            return Err(Refused::NoEffect {
                name,
                because: because(),
                remedy: "another sasl.mechanism",
            });
        }

        if mechanism == Mechanism::OauthBearer {
            return self.bearer(because()).map(Some);
        }

        let user = self.user.clone();
        let password = self.password.clone();
        Ok(Some(Login::Password {
            mechanism,
            user: user.ok_or_else(|| missing("sasl.username", because()))?,
            password: password.ok_or_else(|| missing("sasl.password", because()))?,
        }))
    }

    /// Returns the login with a bearer token, which has exactly one source.
    fn bearer(&self, because: String) -> Result<Login, Refused> {
        let has_regions = self.token_source.is_some_and(TokenSource::has_regions);
        if self.token_region.is_some() && !has_regions {
            return Err(Refused::NoEffect {
                name: TOKEN_REGION,
                because,
                remedy: "sasl.oauthbearer.token.source to msk-iam",
            });
        }

        match (self.token_file.clone(), self.token_source) {
            (Some(file), None) => Ok(Login::Token { file }),
            (None, Some(source)) => Ok(source.login(self.token_region.as_ref())),
            (None, None) => Err(Refused::Missing {
                name: TOKEN_FILE,
                because,
            }),
            (Some(_), Some(source)) => Err(Refused::NoEffect {
                name: TOKEN_FILE,
                because: format!("{TOKEN_SOURCE}={}", source.name()),
                remedy: "only one of them",
            }),
        }
    }

    fn identity(self) -> Result<Identity, Refused> {
        let own = match (self.certificate, self.key) {
            (None, None) => None,
            (Some(certificate), Some(private)) => {
                Some((certificates(&certificate)?, key(&private)?))
            }
            (Some(certificate), None) => {
                return Err(Refused::Missing {
                    name: "ssl.key.location",
                    because: certificate.name.to_owned(),
                });
            }
            (None, Some(key)) => {
                return Err(Refused::Missing {
                    name: "ssl.certificate.location",
                    because: key.name.to_owned(),
                });
            }
        };

        Ok(Identity {
            authorities: authorities(self.authorities.as_ref())?,
            own,
            names: self.names.unwrap_or_default(),
        })
    }
}

fn protocol(name: &str, value: &str) -> Result<Protocol, Refused> {
    let is_meant = |protocol: &Protocol| value.eq_ignore_ascii_case(protocol.name());
    let found = Protocol::ALL.into_iter().find(is_meant);
    found.ok_or_else(|| refused(name, value, Protocol::ALL.map(Protocol::name).join(", ")))
}

fn mechanism(name: &str, value: &str) -> Result<Mechanism, Refused> {
    let is_meant = |mechanism: &Mechanism| value.eq_ignore_ascii_case(mechanism.name());
    let found = Mechanism::ALL.into_iter().find(is_meant);
    found.ok_or_else(|| refused(name, value, Mechanism::ALL.map(Mechanism::name).join(", ")))
}

fn token_source(name: &str, value: &str) -> Result<TokenSource, Refused> {
    let mut sources = TokenSource::ALL.iter().copied();
    let found = sources.find(|source| source.name() == value);
    found.ok_or_else(|| {
        let names = TokenSource::ALL.iter().map(|source| source.name());
        let taken = names.collect::<Vec<_>>().join(", ");
        let lacks = match cfg!(feature = "msk-iam") {
            true => "",
            false => "; for msk-iam, build with `--features record-log/msk-iam`",
        };
        refused(name, value, format!("{taken}{lacks}"))
    })
}

/// Reads `ssl.endpoint.identification.algorithm`. As in librdkafka, an empty value means none.
fn names(name: &str, value: &str) -> Result<Names, Refused> {
    match value {
        "https" => Ok(Names::Verified),
        "none" | "" => Ok(Names::Any),
        _ => Err(refused(name, value, "https or none")),
    }
}

/// Checks a part of PLAIN's message, in which zero bytes separate the parts.
fn credential<'a>(name: &str, value: &'a str, shown: &str) -> Result<&'a str, Refused> {
    if value.is_empty() || value.contains('\0') {
        return Err(refused(name, shown, "a text without a zero byte"));
    }
    Ok(value)
}
