//! The findings of a run of the doctor, and assertions about them.

use std::process::Output;

use serde_json::Value;

/// The exit code of the doctor, and its findings.
#[derive(Debug)]
pub struct Found {
    pub code: i32,
    pub text: String,
    findings: Vec<Value>,
}

impl Found {
    /// Parses the output of `doctor --json`.
    pub fn parse(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{output:?}"));
        let code = output.status.code().unwrap();
        assert_eq!(report["exit_code"], code);

        Self {
            code,
            findings: report["findings"].as_array().unwrap().clone(),
            text,
        }
    }

    pub fn failed(&self) -> Vec<&Value> {
        self.with("failed").collect()
    }

    /// The names of the checks with this outcome, in their order.
    pub fn checks(&self, outcome: &str) -> Vec<&str> {
        let findings = self.with(outcome);
        findings
            .map(|finding| finding["check"].as_str().unwrap())
            .collect()
    }

    fn with(&self, outcome: &str) -> impl Iterator<Item = &Value> {
        let findings = self.findings.iter();
        findings.filter(move |finding| finding["outcome"] == outcome)
    }

    #[track_caller]
    pub fn assert_code(&self, code: i32) {
        assert_eq!(self.code, code, "{self:#?}");
    }

    /// Asserts that a failure of this check and owner contains each of these texts, in its sentence or in its remedy.
    #[track_caller]
    pub fn assert_failed(&self, check: &str, owner: &str, named: &[&str]) {
        let is_named = |finding: &&&Value| {
            let text = format!(
                "{} {}",
                finding["what"].as_str().unwrap(),
                finding["fix"].as_str().unwrap()
            );
            finding["check"] == check
                && finding["owner"] == owner
                && named.iter().all(|named| text.contains(named))
        };
        let failed = self.failed();
        assert!(
            failed.iter().any(|finding| is_named(&finding)),
            "{check} of {owner}: {named:?} in {failed:#?}"
        );
    }

    #[track_caller]
    pub fn assert_not_tried(&self, checks: &[&str]) {
        assert_eq!(self.checks("not_tried"), checks);
    }
}
