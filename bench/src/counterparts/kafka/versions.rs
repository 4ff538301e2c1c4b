//! The versions of Apache Kafka that tests run on: the newest, and the oldest that managed services
//! still offer.

use std::ffi::OsString;
use std::path::PathBuf;

use super::super::{Cache, Result, maven};

/// The variable by which tests find the folders of the jars, separated as in `PATH`.
pub const VARIABLE: &str = "TIDEMARK_TEST_KAFKA_JARS";
/// Lists the jars of the newest version.
const POM: &str = include_str!("../../../counterparts/kafka/pom.xml");
const NEWEST: Version = Version {
    number: "4.1.0",
    sha256: "e28f47525e9aaca566dd0433f494140577b5eb3090c67e69274f3a5a807deaad",
};
const OLDER: [Version; 2] = [
    Version {
        number: "3.9.1",
        sha256: "3cc0390d007e1a0dbfb23a8eea33ec3c86f86e9e8130d5e9d5b13788fdd81770",
    },
    Version {
        number: "3.7.2",
        sha256: "003f56d95e992390ca17a22c4d0383f23cbb4cf3385be255e69bb5b56f5ab457",
    },
];

/// A version, and the digest of its jars.
struct Version {
    number: &'static str,
    sha256: &'static str,
}

impl Version {
    fn jars(&self, cache: &Cache) -> Result<PathBuf> {
        let pom = POM.replace(NEWEST.number, self.number);
        maven::pinned_jars(cache, "kafka", &pom, self.sha256)
    }
}

/// Returns the folder with the jars of the newest version; they are fetched if they are missing.
///
/// # Errors
/// If Maven is missing or cannot fetch them, or they do not have the expected digest.
pub fn newest(cache: &Cache) -> Result<PathBuf> {
    NEWEST.jars(cache)
}

/// Returns the folders with the jars of all versions, as [`VARIABLE`] names them; missing jars are fetched.
///
/// # Errors
/// As [`newest`].
pub fn all(cache: &Cache) -> Result<OsString> {
    let folders = [&NEWEST].into_iter().chain(&OLDER);
    let folders = folders
        .map(|version| version.jars(cache))
        .collect::<Result<Vec<_>>>()?;

    Ok(std::env::join_paths(folders).expect("the cache's path has no separator of paths"))
}

#[cfg(test)]
mod tests {
    use super::{NEWEST, OLDER, POM};

    #[test]
    fn the_pom_has_the_newest_version_s_number_nowhere_else() {
        assert_eq!(POM.matches(NEWEST.number).count(), 2);

        for version in OLDER {
            let pom = POM.replace(NEWEST.number, version.number);
            assert_eq!(pom.matches(version.number).count(), 2);
        }
    }
}
