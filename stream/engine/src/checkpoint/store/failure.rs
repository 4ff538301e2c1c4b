//! Classifies errors of the object store: whether another try can help, and for how long.

use std::io;

/// The consequence of an error for the next try.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// The store did not answer, or may succeed later.
    Unavailable,
    /// The store refuses the credentials, or the right to do this.
    Forbidden,
    /// Every try would get the same answer.
    Impossible,
}

impl Failure {
    /// Classifies an error.
    pub fn of(error: &object_store::Error) -> Self {
        use object_store::Error::{
            InvalidPath, NotImplemented, NotSupported, PermissionDenied, Unauthenticated,
        };

        match error {
            InvalidPath { .. } | NotSupported { .. } | NotImplemented { .. } => Self::Impossible,
            PermissionDenied { .. } | Unauthenticated { .. } => Self::Forbidden,
            error if is_forbidden_by_the_system(error) => Self::Forbidden,
            _ => Self::Unavailable,
        }
    }
}

/// Returns whether the operating system refuses access to a folder of checkpoints. The store hides
/// this in its other errors.
fn is_forbidden_by_the_system(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::NotADirectory
            );
        }
        cause = error.source();
    }

    false
}
