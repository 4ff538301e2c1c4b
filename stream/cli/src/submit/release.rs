//! A version of a job's program, named by the hash of its content.

use std::path::PathBuf;
use std::{env, fs, io};

use sha2::{Digest, Sha256};

/// A version of the job's program.
#[derive(Clone, Debug)]
pub struct Release {
    /// The path of the program to be installed.
    pub program: PathBuf,
    /// The hash of its content.
    pub hash: String,
}

impl Release {
    /// Reads a program.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn of(program: PathBuf) -> io::Result<Self> {
        let content = fs::read(&program)?;
        Ok(Self {
            hash: hash(&content),
            program,
        })
    }

    /// Reads the program that runs.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn running() -> io::Result<Self> {
        Self::of(env::current_exe()?)
    }
}

/// Returns the SHA-256 of a content in hexadecimal digits.
pub fn hash(content: &[u8]) -> String {
    let hash = Sha256::digest(content);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
