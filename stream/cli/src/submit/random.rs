//! Secrets of a job's own.

use std::fs::File;
use std::io::Read;

use super::release::hash;
use crate::error::CommandError;

/// Returns a secret by which the processes of a job authenticate each other.
///
/// # Errors
/// If the system gives no random bytes.
pub fn secret() -> Result<String, CommandError> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(CommandError::system("cannot read random bytes"))?;
    Ok(hash(&bytes))
}
