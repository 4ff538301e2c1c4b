//! Progress: the bytes that a publisher commits together with its records.
//!
//! The log keeps these bytes and does not interpret them. A publisher that needs only a number
//! writes it with [`of_number`] and reads it with [`number_of`]. Earlier versions of this crate
//! kept progress as a number, in the same form.

use crate::Refusal;

/// The largest size of a progress in bytes. A record of any topic can hold it.
pub const PROGRESS_MAX_BYTES: usize = 64 * 1024;

/// The error for a progress that should be a number and is not.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the progress has {size_bytes} bytes, but a number has 8: another program uses this publisher's id"
)]
pub struct NotANumber {
    size_bytes: usize,
}

/// Returns a number as progress: its eight bytes, the most significant first.
pub fn of_number(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// Reads a progress that [`of_number`] made.
///
/// # Errors
/// [`NotANumber`] if the progress does not have eight bytes.
pub fn number_of(progress: &[u8]) -> Result<u64, NotANumber> {
    let bytes = progress.try_into().map_err(|_| NotANumber {
        size_bytes: progress.len(),
    })?;
    Ok(u64::from_be_bytes(bytes))
}

/// Rejects a progress that is too large for any log.
pub(crate) fn check(progress: &[u8]) -> Result<(), Refusal> {
    if progress.len() > PROGRESS_MAX_BYTES {
        return Err(Refusal::new(format!(
            "a progress of {} bytes is larger than the {PROGRESS_MAX_BYTES} bytes that a log keeps",
            progress.len()
        )));
    }
    Ok(())
}
