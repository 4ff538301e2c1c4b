//! The name of a job. Checkpoints, logs and records of submissions are at paths with this name.

/// Largest length in bytes. File systems allow 255 for a part of a path, and some names get an ending.
const MAX_BYTES: usize = 200;

/// A text that is no name of a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a job's name is part of paths: 1 to {MAX_BYTES} bytes without / and \\ and control characters, and it does not begin with a dot"
)]
pub struct NoJobName;

/// Parses a name.
///
/// # Errors
/// [`NoJobName`] if a path with this name would be another path.
pub fn parse(text: &str) -> Result<String, NoJobName> {
    let is_short = (1..=MAX_BYTES).contains(&text.len());
    let is_part = !text.contains(|c: char| matches!(c, '/' | '\\') || c.is_control());
    if is_short && is_part && !text.starts_with('.') {
        return Ok(text.to_owned());
    }
    Err(NoJobName)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path() {
        for name in [
            "counts",
            "a.b-c_d",
            "Umsätze je Tag",
            "counts:v2",
            &"x".repeat(200),
        ] {
            assert_eq!(parse(name).as_deref(), Ok(name));
        }
        for name in [
            "",
            "a/b",
            "/",
            "..",
            ".",
            ".hidden",
            "../up",
            "a\\b",
            "a\nb",
            "a\0",
            &"x".repeat(201),
        ] {
            assert_eq!(parse(name), Err(NoJobName), "{name:?}");
        }
    }
}
