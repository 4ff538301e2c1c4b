//! The command `doctor`. It checks everything between this machine and a running job, in the order in which a job meets
//! it. It names for each fault the owner of the setting and the remedy.
//!
//! ```text
//! settings ─▶ names ─▶ TCP ─▶ TLS ─▶ SASL ─▶ advertised ─▶ ApiVersions ─▶ topics ─▶ ACLs ─▶ transactions
//!                                                        object store · machine · ports: each by itself
//! ```
//!
//! A check that depends on one that failed is not tried. Nothing is published, created or kept: rights to write are
//! tried in a transaction that is aborted, and the object store with objects that are deleted. A running job is not
//! disturbed.

mod connection;
mod finding;
mod machine;
mod ports;
mod rights;
mod store;
mod tool;
mod topics;
mod transactions;

use std::sync::Arc;

use record_log::kafka::PROGRESS_TOPIC;
use record_log::native::Examination;
use record_log::{LogError, RecordLog};
use stream::{AnyPipeline, Guarantee, Settings};

use self::connection::Way;
use self::finding::{Check, Checked, Fault, Finding, Outcome, Owner, exit_code};
use self::ports::Processes;
use self::rights::Trial;
use self::tool::Tool;
use self::topics::Needs;
use crate::commands::print;
use crate::error::CommandError;
use crate::flags::{DoctorFlags, LogFlags, RunFlags};
use crate::job::JobDefinition;

/// The findings so far.
struct Sheet {
    findings: Vec<Finding>,
    is_json: bool,
}

/// A Kafka whose settings were accepted.
struct Kafka {
    examination: Examination,
    log: Arc<dyn RecordLog>,
    tool: Tool,
}

/// Examines the job, and prints a line for each finding as it comes, or all of them as JSON. Returns the exit code.
pub fn run<D: JobDefinition>(
    flags: DoctorFlags<D>,
    define: impl FnOnce(&RunFlags<D>) -> Result<AnyPipeline, CommandError>,
) -> Result<u8, CommandError> {
    let DoctorFlags { run, json } = flags;
    let mut sheet = Sheet {
        findings: Vec::new(),
        is_json: json,
    };

    let pipeline = define(&run).map_err(|error| error.on_one_line());
    examine(&run, &pipeline, &mut sheet)?;

    let code = exit_code(&sheet.findings);
    if json {
        let findings: Vec<_> = sheet.findings.iter().map(Finding::to_json).collect();
        let shown =
            serde_json::json!({ "job": run.job.job, "exit_code": code, "findings": findings });
        print(&format!("{shown}\n"))?;
    }

    Ok(code)
}

/// Returns the end of the command's help: the checks and their exit codes.
pub fn help() -> String {
    let codes = Check::ALL.map(|check| {
        let code = check.exit_code();
        format!("  {code}  {:<13} {}", check.name(), check.about())
    });

    format!(
        "Exit codes: 0 if all is well, warnings included; otherwise that of the first check that fails:\n{}\n\n\
         The least rights of a job whose topics exist: READ on the topic that it reads; WRITE on those that it publishes to; \
         READ and WRITE on {:?}; DESCRIBE on {:?}; WRITE on the transactional ids that begin with the job's name and \
         \"-sink-\".",
        codes.join("\n"),
        PROGRESS_TOPIC,
        Examination::former_progress_topic()
    )
}

fn examine<D: JobDefinition>(
    run: &RunFlags<D>,
    pipeline: &Result<AnyPipeline, String>,
    sheet: &mut Sheet,
) -> Result<(), CommandError> {
    let settings = Settings::from(run.job.settings.clone());
    let kafka = open(&run.records);
    sheet.add(Check::Settings, || {
        settings_checked(&settings, pipeline, &kafka)
    })?;

    if let (Ok(pipeline), Ok(kafka)) = (pipeline, &kafka) {
        connect(kafka, sheet)?;
        try_job(kafka, run, pipeline, &settings, sheet)?;
    }

    sheet.fill()?;

    let url = &run.job.settings.checkpoints;
    sheet.add(Check::Store, || {
        store::check("--checkpoints", url, &run.job.job)
    })?;

    if let Some(url) = &run.records.output {
        sheet.add(Check::Store, || store::check("--output", url, &run.job.job))?;
    }

    let members = &run.members;
    sheet.add(Check::Machine, || {
        machine::check(&settings, members.processes)
    })?;

    sheet.add(Check::Ports, || {
        ports::check(&Processes {
            count: members.processes,
            own: members.process,
            hosts: &members.hosts,
        })
    })
}

/// Opens the log by the job's own client, and an examination of the same brokers.
fn open(records: &LogFlags) -> Result<Kafka, LogError> {
    let log = record_log::open(&records.settings())?;
    let examination = Examination::new(&records.brokers, &records.properties)?;
    let tool = Tool {
        brokers: records.brokers.clone(),
        principal: examination.principal().map(str::to_owned),
        is_iam: examination.token_source() == Some("msk-iam"),
    };

    Ok(Kafka {
        examination,
        log,
        tool,
    })
}

fn settings_checked(
    settings: &Settings,
    pipeline: &Result<AnyPipeline, String>,
    kafka: &Result<Kafka, LogError>,
) -> Checked {
    let fault = |what: String| {
        let fix = "correct the flag, variable or property that the sentence names; --help has all of them";
        Fault::failure(Owner::Job, "flags, variables and properties", what, fix)
    };

    let refused = [
        settings.validate().err().map(|error| error.to_string()),
        pipeline.as_ref().err().cloned(),
        kafka.as_ref().err().map(ToString::to_string),
    ];

    let faults: Vec<Fault> = refused.into_iter().flatten().map(fault).collect();

    let not_examined = kafka.as_ref().map(|kafka| kafka.examination.not_examined());
    let detail = match not_examined {
        Ok([]) | Err(_) => "they fit each other and this build".to_owned(),
        Ok(names) => format!(
            "they fit each other and this build; without effect on the checks of connections: {}",
            names.join(", ")
        ),
    };

    Checked { detail, faults }
}

fn connect(kafka: &Kafka, sheet: &mut Sheet) -> Result<(), CommandError> {
    let mut way = Way {
        kafka: &kafka.examination,
        tool: &kafka.tool,
        brokers: kafka.examination.brokers().to_vec(),
    };

    let now_s = store::now_ms() / 1_000;
    sheet.add(Check::Names, || way.names())?;
    sheet.add(Check::Tcp, || way.tcp())?;
    sheet.add(Check::Tls, || way.tls(now_s))?;
    sheet.add(Check::Login, || way.login())?;
    sheet.add(Check::Advertised, || way.advertised())?;
    sheet.add(Check::Requests, || way.requests())
}

fn try_job<D: JobDefinition>(
    kafka: &Kafka,
    run: &RunFlags<D>,
    pipeline: &AnyPipeline,
    settings: &Settings,
    sheet: &mut Sheet,
) -> Result<(), CommandError> {
    let Kafka {
        examination,
        log,
        tool,
    } = kafka;

    let publishes = run.records.output.is_none();
    let needs = needs_of(run, pipeline, settings);

    let mut found = topics::Topics::default();
    sheet.add(Check::Topics, || {
        let (checked, topics) = topics::check(examination, log.as_ref(), tool, &needs);
        found = topics;
        checked
    })?;

    let is_source = |topic: &str| needs.sources.iter().any(|source| source == topic);
    let sources = needs.sources.iter().map(String::as_str);
    let is_there = |topic: &&str| found.existing.iter().any(|other| other == topic);
    let published = found.existing.iter().map(String::as_str);
    let trial = Trial {
        kafka: examination,
        log: log.as_ref(),
        tool,
        sources: sources.filter(is_there).collect(),
        published: published.filter(|topic| !is_source(topic)).collect(),
        ids: (publishes && settings.guarantee == Guarantee::ExactlyOnce)
            .then(|| format!("{}-sink-", pipeline.name())),
    };

    let mut transactions = rights::Transactions::default();
    let denied = std::mem::take(&mut found.denied);
    sheet.add(Check::Rights, || {
        let (checked, found) = trial.check(denied);
        transactions = found;
        checked
    })?;

    sheet.add(Check::Transactions, || {
        if !publishes {
            return Checked::passed("not in use (--output)");
        }
        if settings.guarantee == Guarantee::AtLeastOnce {
            return Checked::passed("not in use (--guarantee at-least-once)");
        }
        let broker = examination.brokers().first();
        let offer = broker.and_then(|broker| examination.offer(broker).ok());
        let version = offer.map_or(0, |offer| offer.transaction_version);
        transactions::check(
            version,
            examination.transaction_timeout(),
            transactions.fault.take(),
        )
    })
}

/// Returns the topics that a job needs. A job that reads files or generated records needs no source topics, and a job
/// that writes files publishes to none.
fn needs_of<D: JobDefinition>(
    run: &RunFlags<D>,
    pipeline: &AnyPipeline,
    settings: &Settings,
) -> Needs {
    let mut published = Vec::new();
    if run.records.output.is_none() {
        published = pipeline.published_topics(settings);
        published.push(Examination::progress_topic());
    }

    Needs {
        sources: if run.records.has_own_records() {
            Vec::new()
        } else {
            pipeline.source_topics()
        },
        published,
        allowed_lateness: settings.allowed_lateness,
        allow_compaction: settings.allow_compaction,
    }
}

impl Sheet {
    /// Makes a check, unless one that it depends on has failed, and prints its findings.
    fn add(&mut self, check: Check, make: impl FnOnce() -> Checked) -> Result<(), CommandError> {
        let findings = match self.failed_before(check) {
            Some(failed) => vec![Finding {
                check,
                outcome: Outcome::NotTried(failed),
            }],
            None => make().findings(check),
        };

        for finding in findings {
            if !self.is_json {
                print(&format!("{finding}\n"))?;
            }
            self.findings.push(finding);
        }

        Ok(())
    }

    /// Adds the checks of Kafka that were not reached.
    fn fill(&mut self) -> Result<(), CommandError> {
        let is_missing = |check: &Check| !self.findings.iter().any(|found| found.check == *check);
        let missing: Vec<Check> = Check::ALL
            .into_iter()
            .filter(|check| check.needed().is_some())
            .filter(is_missing)
            .collect();
        missing
            .into_iter()
            .try_for_each(|check| self.add(check, Checked::default))
    }

    /// Returns the check that failed and that this one depends on, directly or by others.
    fn failed_before(&self, check: Check) -> Option<Check> {
        let needed = check.needed()?;
        let has_failed = |found: &Finding| found.check == needed && found.has_failed();
        match self.findings.iter().any(has_failed) {
            true => Some(needed),
            false => self.failed_before(needed),
        }
    }
}

#[cfg(test)]
mod tests;
