//! Secret tokens: of a session, a device or a link in mail. Tables contain only the hashes of tokens.

use argon2::password_hash::rand_core::{OsRng, RngCore};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Returns a new token of 256 random bits.
pub fn generate() -> String {
    let mut bytes = [0; 32];
    OsRng.fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Hashes a token. Tokens are fully random, so one round of a plain hash is enough.
pub fn hash(token: &str) -> String {
    Sha256::digest(token)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{generate, hash};

    #[test]
    fn tokens_are_long_and_differ_and_so_do_their_hashes() {
        let token = generate();
        let other = generate();

        assert_eq!(token.len(), 43);
        assert_ne!(token, other);
        assert_ne!(hash(&token), hash(&other));
        assert_eq!(hash(&token).len(), 64);
    }
}
