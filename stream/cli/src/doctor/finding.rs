//! The finding of a check: a line for people, an object for programs, and an exit code for scripts.

use std::fmt;

use serde::Serialize;

/// A check, in the order in which they are made.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Check {
    Settings,
    Names,
    Tcp,
    Tls,
    Login,
    Advertised,
    Requests,
    Topics,
    Rights,
    Transactions,
    Store,
    Machine,
    Ports,
}

/// The side that owns the faulty setting.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    Job,
    Machine,
    Network,
    Cluster,
    Store,
}

/// The effect of a fault: a job works in spite of a warning, and fails by a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    Warning,
    Failure,
}

/// The fault, the owner of the setting, and the remedy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    pub severity: Severity,
    pub what: String,
    pub owner: Owner,
    pub setting: String,
    pub fix: String,
}

/// The result of a check that was made.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Checked {
    /// The correct part.
    pub detail: String,
    /// The faults.
    pub faults: Vec<Fault>,
}

/// One line of the doctor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    Passed(String),
    Faulty(Fault),
    NotTried(Check),
}

/// The outcome of a check, or one of several.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    pub check: Check,
    pub outcome: Outcome,
}

/// A finding as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    check: &'static str,
    outcome: &'static str,
    what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
    #[serde(skip_serializing_if = "Option::is_none")]
    setting: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<&'a str>,
}

impl Check {
    pub const ALL: [Self; 13] = [
        Self::Settings,
        Self::Names,
        Self::Tcp,
        Self::Tls,
        Self::Login,
        Self::Advertised,
        Self::Requests,
        Self::Topics,
        Self::Rights,
        Self::Transactions,
        Self::Store,
        Self::Machine,
        Self::Ports,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Names => "names",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Login => "SASL",
            Self::Advertised => "advertised",
            Self::Requests => "ApiVersions",
            Self::Topics => "topics",
            Self::Rights => "ACLs",
            Self::Transactions => "transactions",
            Self::Store => "object store",
            Self::Machine => "machine",
            Self::Ports => "ports",
        }
    }

    /// Returns the subject of the check, for the help.
    pub fn about(self) -> &'static str {
        match self {
            Self::Settings => {
                "flags, variables and properties, and whether this build has what they need"
            }
            Self::Names => "host names of --brokers",
            Self::Tcp => "ports of --brokers",
            Self::Tls => "chain, expiry and host name of the brokers' certificates",
            Self::Login => "mechanism and credentials",
            Self::Advertised => "addresses that the brokers advertise",
            Self::Requests => "requests that the brokers offer",
            Self::Topics => {
                "existence, partitions, timestamp type, cleanup policy, size limits, retention"
            }
            Self::Rights => "rights, by trying them",
            Self::Transactions => "protocol and time limit of transactions",
            Self::Store => {
                "create-only writes, reads, listings, deletions and the clock of --checkpoints"
            }
            Self::Machine => "memory and open files",
            Self::Ports => "addresses of the job's processes",
        }
    }

    /// Returns the check that must not have failed before this one is tried; none if it stands alone. Rights are tried
    /// even if a topic is missing or wrong.
    pub fn needed(self) -> Option<Self> {
        match self {
            Self::Settings | Self::Store | Self::Machine | Self::Ports => None,
            Self::Names => Some(Self::Settings),
            Self::Tcp => Some(Self::Names),
            Self::Tls => Some(Self::Tcp),
            Self::Login => Some(Self::Tls),
            Self::Advertised => Some(Self::Login),
            Self::Requests => Some(Self::Advertised),
            Self::Topics | Self::Rights => Some(Self::Requests),
            Self::Transactions => Some(Self::Rights),
        }
    }

    /// Returns the exit code if this is the first check that fails.
    pub fn exit_code(self) -> u8 {
        const FIRST: u8 = 10;
        FIRST + self as u8
    }
}

impl Owner {
    fn whose(self) -> &'static str {
        match self {
            Self::Job => "this job's setting",
            Self::Machine => "this machine's setting",
            Self::Network => "the network's setting",
            Self::Cluster => "the Kafka cluster's setting",
            Self::Store => "the object store's setting",
        }
    }
}

impl Fault {
    pub fn failure(
        owner: Owner,
        setting: impl Into<String>,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Failure,
            what: what.into(),
            owner,
            setting: setting.into(),
            fix: fix.into(),
        }
    }

    /// Turns the fault into a warning: the job works in spite of it.
    pub fn into_warning(self) -> Self {
        Self {
            severity: Severity::Warning,
            ..self
        }
    }

    pub fn is_failure(&self) -> bool {
        self.severity == Severity::Failure
    }
}

impl Checked {
    pub fn passed(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            faults: Vec::new(),
        }
    }

    /// Returns a result with one fault, or with none.
    pub fn of(result: Result<String, Fault>) -> Self {
        match result {
            Ok(detail) => Self::passed(detail),
            Err(fault) => Self {
                detail: String::new(),
                faults: vec![fault],
            },
        }
    }

    /// Returns the findings of this result: one for each fault, and one of success unless the check failed.
    pub fn findings(self, check: Check) -> Vec<Finding> {
        let has_failed = self.faults.iter().any(Fault::is_failure);
        let passed = (!has_failed).then_some(Outcome::Passed(self.detail));
        let faulty = self.faults.into_iter().map(Outcome::Faulty);
        let outcomes = passed.into_iter().chain(faulty);
        outcomes.map(|outcome| Finding { check, outcome }).collect()
    }
}

impl Finding {
    pub fn has_failed(&self) -> bool {
        matches!(&self.outcome, Outcome::Faulty(fault) if fault.is_failure())
    }

    /// Returns the finding as an element of the JSON output.
    pub fn to_json(&self) -> serde_json::Value {
        let check = self.check.name();
        let plain = |outcome, what| Shown {
            check,
            outcome,
            what,
            owner: None,
            setting: None,
            fix: None,
        };

        let shown = match &self.outcome {
            Outcome::Passed(detail) => plain("passed", detail.clone()),
            Outcome::NotTried(failed) => plain("not_tried", because(*failed)),
            Outcome::Faulty(fault) => Shown {
                owner: Some(fault.owner),
                setting: Some(&fault.setting),
                fix: Some(&fault.fix),
                ..plain(
                    match fault.severity {
                        Severity::Warning => "warning",
                        Severity::Failure => "failed",
                    },
                    fault.what.clone(),
                )
            },
        };

        serde_json::to_value(shown).unwrap_or_default()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.check.name();
        match &self.outcome {
            Outcome::Passed(detail) => write!(formatter, "✓ {name}: {detail}"),
            Outcome::NotTried(failed) => write!(formatter, "- {name}: {}", because(*failed)),
            Outcome::Faulty(fault) => {
                let sign = match fault.severity {
                    Severity::Warning => '!',
                    Severity::Failure => '✗',
                };
                let whose = fault.owner.whose();
                write!(
                    formatter,
                    "{sign} {name}: {}; {whose}: {}; to fix: {}",
                    fault.what, fault.setting, fault.fix
                )
            }
        }
    }
}

fn because(failed: Check) -> String {
    format!("not tried, because {} failed", failed.name())
}

/// Returns the doctor's exit code: 0, or that of the first check that failed.
pub fn exit_code(findings: &[Finding]) -> u8 {
    let failed = findings.iter().filter(|finding| finding.has_failed());
    failed
        .map(|finding| finding.check)
        .min()
        .map_or(0, Check::exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault() -> Fault {
        Fault::failure(
            Owner::Cluster,
            "cleanup.policy",
            "it is compacted",
            "alter it",
        )
    }

    #[test]
    fn a_fault_is_one_line_with_its_owner_its_setting_and_its_fix() {
        let checked = Checked {
            detail: "3 topics".to_owned(),
            faults: vec![fault()],
        };
        let lines: Vec<_> = checked.findings(Check::Topics);
        let lines: Vec<_> = lines.iter().map(Finding::to_string).collect();
        let expected = "✗ topics: it is compacted; the Kafka cluster's setting: cleanup.policy; to fix: alter it";
        assert_eq!(lines, [expected]);
    }

    #[test]
    fn a_warning_leaves_the_check_passed() {
        let checked = Checked {
            detail: "3 topics".to_owned(),
            faults: vec![fault().into_warning()],
        };
        let findings = checked.findings(Check::Topics);
        assert_eq!(findings[0].to_string(), "✓ topics: 3 topics");
        assert!(findings[1].to_string().starts_with("! topics: it is"));
        assert_eq!(exit_code(&findings), 0);
    }

    #[test]
    fn the_first_check_that_fails_gives_the_exit_code() {
        let failed = |check| Finding {
            check,
            outcome: Outcome::Faulty(fault()),
        };

        let skipped = Finding {
            check: Check::Tls,
            outcome: Outcome::NotTried(Check::Names),
        };

        let findings = [failed(Check::Store), skipped, failed(Check::Rights)];
        assert_eq!(exit_code(&findings), Check::Rights.exit_code());
        assert_eq!(exit_code(&findings[1..2]), 0);

        let codes = Check::ALL.map(Check::exit_code);
        assert!(codes.windows(2).all(|pair| pair[0] + 1 == pair[1]));
        assert!(!codes.contains(&stream::EXIT_START_AGAIN) && codes[0] > 2);
    }

    #[test]
    fn json_has_the_parts_of_a_line() {
        let finding = Finding {
            check: Check::Topics,
            outcome: Outcome::Faulty(fault()),
        };

        let expected = serde_json::json!({
            "check": "topics", "outcome": "failed", "what": "it is compacted",
            "owner": "cluster", "setting": "cleanup.policy", "fix": "alter it",
        });

        assert_eq!(finding.to_json(), expected);
    }
}
