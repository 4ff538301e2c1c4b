//! The object store of the checkpoints, and that of files that the job writes.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use stream::{CheckpointStore, StoreFault, StoreTrial};

use super::finding::{Checked, Fault, Owner};

/// The largest accepted difference between the store's clock and this machine's. The store's tokens are short-lived.
const MOST_SKEW_MS: u64 = 30_000;

/// Tries the store at `url`, the value of `flag`, with objects of its own. Folders of this machine that are missing before
/// are missing afterwards: the doctor only looks.
pub fn check(flag: &str, url: &str, job: &str) -> Checked {
    if url.starts_with("memory:") {
        return in_memory(url);
    }

    let missing = missing_folders(url, job);
    let checked = try_out(flag, url, job);
    for folder in missing {
        if let Err(error) = std::fs::remove_dir(&folder) {
            tracing::debug!(folder = %folder.display(), %error, "a folder of the trial stays");
            break;
        }
    }
    checked
}

/// Returns the folders of a trial that do not exist, the innermost first.
fn missing_folders(url: &str, job: &str) -> Vec<PathBuf> {
    let Some(folder) = url.strip_prefix("file://") else {
        return Vec::new();
    };
    let trials = Path::new(folder).join(job).join("trials");
    let missing = trials.ancestors().take_while(|folder| !folder.exists());
    missing.map(Path::to_path_buf).collect()
}

fn try_out(flag: &str, url: &str, job: &str) -> Checked {
    let store = match CheckpointStore::open(url, job) {
        Ok(store) => store,
        Err(error) => {
            return Checked::of(Err(Fault::failure(
                Owner::Job,
                flag,
                error.to_string(),
                format!("{flag} file:///folder, gs://bucket/prefix or s3://bucket/prefix"),
            )));
        }
    };

    decide(url, store.try_out(now_ms()))
}

/// The time of this machine in milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

fn in_memory(url: &str) -> Checked {
    let fault = Fault::failure(
        Owner::Job,
        "--checkpoints",
        format!(
            "checkpoints are in {url} and lost with the process: its next start begins without them"
        ),
        "--checkpoints file:///folder, gs://bucket/prefix or s3://bucket/prefix",
    );

    Checked {
        detail: "in memory".to_owned(),
        faults: vec![fault.into_warning()],
    }
}

fn decide(url: &str, tried: Result<StoreTrial, StoreFault>) -> Checked {
    let StoreTrial { ahead_ms } = match tried {
        Ok(trial) => trial,
        Err(fault) => return Checked::of(Err(broken(url, &fault))),
    };

    let mut checked = Checked::passed(format!(
        "{url} creates once, reads, lists and deletes; its clock is {ahead_ms} ms ahead of this machine's"
    ));

    if ahead_ms.unsigned_abs() > MOST_SKEW_MS {
        checked.faults.push(Fault::failure(
            Owner::Machine,
            "the clock",
            format!("the clock of {url} is {ahead_ms} ms ahead of this machine's"),
            "chronyc makestep, or timedatectl set-ntp true",
        ));
    }

    checked
}

fn broken(url: &str, fault: &StoreFault) -> Fault {
    let bucket = bucket_of(url);
    let grant = |right: &str| {
        format!(
            "grant {right} on {bucket}, as in `gcloud storage buckets add-iam-policy-binding {bucket} --member=serviceAccount:ACCOUNT \
             --role=roles/storage.objectUser`"
        )
    };

    let what = fault.to_string();
    match fault {
        StoreFault::Overwrites { .. } => Fault::failure(
            Owner::Store,
            "conditional writes (If-None-Match, ifGenerationMatch)",
            what,
            "use a store that honours them, such as S3 or GCS; two attempts of a job could overwrite each other's checkpoints here",
        ),
        StoreFault::Create { .. } => Fault::failure(
            Owner::Store,
            "the right to create objects",
            what,
            grant("storage.objects.create"),
        ),
        StoreFault::Read { .. } => Fault::failure(
            Owner::Store,
            "the right to read objects",
            what,
            grant("storage.objects.get"),
        ),
        StoreFault::List { .. } => Fault::failure(
            Owner::Store,
            "the right to list objects",
            what,
            grant("storage.objects.list"),
        ),
        StoreFault::Delete { .. } => Fault::failure(
            Owner::Store,
            "the right to delete objects",
            what,
            grant("storage.objects.delete"),
        ),
        StoreFault::Silent => Fault::failure(
            Owner::Network,
            "the routes between this machine and the store",
            what,
            format!("make {bucket} reachable from this machine, and give it credentials"),
        ),
        StoreFault::Runtime(_) => Fault::failure(
            Owner::Machine,
            "the limits of this process",
            what,
            "raise `ulimit -n`",
        ),
    }
}

/// The bucket of an address, or the address of a folder.
fn bucket_of(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    if scheme == "file" {
        return url.to_owned();
    }
    let bucket = rest.split('/').next().unwrap_or(rest);
    format!("{scheme}://{bucket}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_overwrites_fails_and_is_the_store_s_setting() {
        let object = "counts/trials/1".to_owned();
        let checked = decide("s3://bucket/prefix", Err(StoreFault::Overwrites { object }));
        let fault = &checked.faults[0];
        assert!(fault.is_failure() && fault.owner == Owner::Store);
        assert!(
            fault.what.contains("overwrites counts/trials/1"),
            "{fault:?}"
        );
    }

    #[test]
    fn clocks_may_differ_by_half_a_minute() {
        let skewed = |ahead_ms| decide("gs://bucket", Ok(StoreTrial { ahead_ms })).faults;
        assert_eq!(skewed(30_000), []);
        for ahead_ms in [30_001, -30_001] {
            assert_eq!(skewed(ahead_ms)[0].owner, Owner::Machine);
        }
    }

    #[test]
    fn checkpoints_in_memory_are_a_warning() {
        let checked = check("--checkpoints", "memory:///", "counts");
        assert!(!checked.faults[0].is_failure());
        assert!(checked.faults[0].what.contains("lost with the process"));
    }

    #[test]
    fn a_trial_leaves_the_folders_as_they_were() {
        let place = tempfile::tempdir().unwrap();
        let there = |path: &str| place.path().join(path).exists();
        let url = format!("file://{}/a/b", place.path().display());
        assert_eq!(check("--checkpoints", &url, "counts").faults, []);
        assert!(!there("a"), "nothing was there");

        std::fs::create_dir_all(place.path().join("a/b")).unwrap();
        assert_eq!(check("--checkpoints", &url, "counts").faults, []);
        assert!(there("a/b") && !there("a/b/counts"));

        std::fs::create_dir_all(place.path().join("a/b/counts/trials")).unwrap();
        assert_eq!(check("--checkpoints", &url, "counts").faults, []);
        assert!(there("a/b/counts/trials"), "it was there before");
    }

    #[test]
    fn a_right_is_granted_on_the_bucket_alone() {
        assert_eq!(bucket_of("gs://bucket/a/b"), "gs://bucket");
        assert_eq!(bucket_of("file:///var/lib/job"), "file:///var/lib/job");
    }
}
