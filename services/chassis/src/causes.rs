//! The chain of an error's causes, for logs.

use std::error::Error;

/// Returns the error and its causes, in one line; a cause whose text its error already contains is
/// not repeated.
pub fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }

    line
}

#[cfg(test)]
mod tests {
    use super::in_one_line;

    #[derive(Debug, thiserror::Error)]
    #[error("{says}")]
    struct Layer {
        says: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn each_cause_is_said_once() {
        let inner = Layer {
            says: "refused",
            source: None,
        };

        let middle = Layer {
            says: "no connection: refused",
            source: Some(Box::new(inner)),
        };

        let outer = Layer {
            says: "DynamoDB failed",
            source: Some(Box::new(middle)),
        };

        assert_eq!(
            in_one_line(&outer),
            "DynamoDB failed: no connection: refused"
        );
    }
}
