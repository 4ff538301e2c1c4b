//! k6, the load generator: built from its Go module, pinned by version and hash, into the cache of tools.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Cache, Result, debian};

/// The script that fetches the tools of the chart's checks, including k6.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../helm/tests/tools.sh");

/// Returns the program. If the cache lacks it, it is built first, which takes minutes.
///
/// # Errors
/// If Go is missing, or the module cannot be fetched or is not the pinned one.
pub fn k6(cache: &Cache) -> Result<PathBuf> {
    let tools =
        std::env::var_os("TIDEMARK_TOOLS").map_or_else(|| cache.folder("tools"), PathBuf::from);

    bring(Path::new(SCRIPT), &tools)?;
    Ok(tools.join("bin/k6"))
}

fn bring(script: &Path, tools: &Path) -> Result<()> {
    if !tools.join("bin/k6").exists() {
        println!("k6: building it from its Go module; this takes minutes, once");
    }

    let mut command = Command::new(script);
    command.arg("k6").env("TIDEMARK_TOOLS", tools);
    debian::run("helm/tests/tools.sh k6", command)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::counterparts::CounterpartError;

    #[test]
    fn k6_that_cannot_be_built_is_an_error_with_the_reason() {
        let tools = tempfile::tempdir().unwrap();
        let script = tools.path().join("tools.sh");
        std::fs::write(&script, "#!/bin/sh\necho \"$1 needs Go\" >&2\nexit 1\n").unwrap();
        std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();

        let Err(CounterpartError::Failed { printed, .. }) = bring(&script, tools.path()) else {
            panic!("it passed")
        };
        assert_eq!(printed, "k6 needs Go");
    }
}
