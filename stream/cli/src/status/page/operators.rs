//! The table of the operators: the shares of their time that they compute or wait.

use stream::{OperatorStatus, Status};

use super::html::table;

/// The least share of a wait that is shown: a percent.
const LEAST: f64 = 0.01;
/// The share of the time from which on a wait holds the job back.
const HELD: f64 = 0.05;

/// Formats the operators of the process.
pub(super) fn operators(status: &Status) -> String {
    let row = |operator: &OperatorStatus| {
        let busy = share(operator, "busy");
        [
            words(operator.operator),
            format!(
                "<meter min=\"0\" max=\"1\" value=\"{busy}\"></meter> {}",
                percent(busy)
            ),
            waits(operator),
        ]
    };

    let table = table(
        ["operator", "computes", "waits"],
        status.operators.iter().map(row),
        "no operator has run yet",
    );
    verdict(&status.operators) + &table
}

/// Returns the sentence about reading that is held back, if it is.
fn verdict(operators: &[OperatorStatus]) -> String {
    let read = operators.iter().find(|it| it.operator == "read");
    let held = read.and_then(|read| {
        let waits = read.shares.iter();
        let back = waits.filter(|(name, share)| is_back_pressure(name) && **share >= HELD);
        back.max_by(|one, other| one.1.total_cmp(other.1))
    });
    let Some((wait, share)) = held else {
        return String::new();
    };

    let behind = operators
        .iter()
        .filter(|it| it.operator != "read")
        .flat_map(|it| {
            it.shares
                .iter()
                .map(move |(name, share)| (it, *name, *share))
        })
        .filter(|(_, name, share)| *name != "idle" && *share >= HELD)
        .max_by(|one, other| one.2.total_cmp(&other.2));
    let cause = behind.map(|(operator, name, share)| {
        let name = if name == "busy" { "computes" } else { name };
        format!(
            "; “{}” {} {} of its time",
            words(operator.operator),
            words(name),
            percent(share)
        )
    });

    format!(
        "<p class=\"held\">Reading {} {} of its time{}.</p>\n",
        words(wait),
        percent(*share),
        cause.unwrap_or_default()
    )
}

/// Returns whether a source that waits for this has records to read.
fn is_back_pressure(activity: &str) -> bool {
    activity.starts_with("waits") && activity != "waits_for_records"
}

fn waits(operator: &OperatorStatus) -> String {
    let shares = operator.shares.iter();
    let waits: Vec<String> = shares
        .filter(|(name, share)| name.starts_with("waits") && **share >= LEAST)
        .map(|(name, share)| {
            let name = name.trim_start_matches("waits_");
            format!("{} {}", words(name), percent(*share))
        })
        .collect();
    waits.join(", ")
}

fn share(operator: &OperatorStatus, activity: &str) -> f64 {
    operator.shares.get(activity).copied().unwrap_or(0.0)
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(operators: &[(&'static str, &[(&'static str, f64)])]) -> Status {
        let operator =
            |(operator, shares): &(&'static str, &[(&'static str, f64)])| OperatorStatus {
                operator,
                shares: shares.iter().copied().collect(),
            };
        Status {
            operators: operators.iter().map(operator).collect(),
            ..Status::of("counts")
        }
    }

    #[test]
    fn reading_that_is_held_back_names_the_operator_that_waits() {
        let shown = operators(&status(&[
            ("read", &[("busy", 0.1), ("waits_for_commits", 0.6)]),
            ("write_parts", &[("waits_for_store", 0.3)]),
            ("commit", &[("idle", 0.05), ("waits_for_log", 0.95)]),
        ]));
        let sentence =
            "Reading waits for commits 60 % of its time; “commit” waits for log 95 % of its time.";
        assert!(shown.contains(sentence), "{shown}");
        assert!(shown.contains("<td>for store 30 %</td>"), "{shown}");
    }

    #[test]
    fn a_job_that_waits_for_records_is_not_held_back() {
        let idle: &[_] = &[("waits_for_records", 1.0), ("waits_for_commits", 0.01)];
        let shown = operators(&status(&[("read", idle)]));
        assert!(!shown.contains("Reading"), "{shown}");
        assert!(operators(&status(&[])).contains("no operator has run yet"));
    }
}
