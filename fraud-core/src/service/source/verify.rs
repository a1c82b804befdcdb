//! Whether bytes are those that are meant, and whether somebody known vouches for them.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest, Sha256};

/// Begins every ed25519 key in the form that PEM files hold (RFC 8410), before the key's 32 bytes.
const KEY_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Greatest key file that is read, in bytes.
const MAX_KEY_FILE: usize = 16 << 10;

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of some bytes, as 64 hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The key that signatures are checked with.
#[derive(Clone)]
pub struct PublicKey([u8; 32]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", hex(&self.0))
    }
}

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`model.mlflow.public_key_file` {path}: {problem}; an ed25519 key in PEM is expected, as \
     `openssl genpkey -algorithm ed25519 -out key.pem && openssl pkey -in key.pem -pubout` writes it"
)]
pub struct KeyError {
    /// The file.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

impl PublicKey {
    /// Reads a PEM file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let refuse = |problem: String| KeyError { path: path.display().to_string(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        Self::parse(&text).ok_or_else(|| refuse("it holds no such key".to_owned()))
    }

    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.get(..text.len().min(MAX_KEY_FILE))?.split_once("-----BEGIN PUBLIC KEY-----")?;
        let (body, _) = rest.split_once("-----END PUBLIC KEY-----")?;
        let body: String = body.split_whitespace().collect();
        let der = STANDARD.decode(body).ok()?;
        der.strip_prefix(KEY_PREFIX.as_slice())?.try_into().map(Self).ok()
    }

    /// Whether `signature` (base64) is one of these bytes, by this key.
    #[must_use]
    pub fn has_signed(&self, bytes: &[u8], signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature.trim()) else { return false };
        UnparsedPublicKey::new(&ED25519, self.0).verify(bytes, &signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    #[test]
    fn a_key_knows_its_own_signatures() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let der = [KEY_PREFIX.as_slice(), pair.public_key().as_ref()].concat();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
        let key = PublicKey::parse(&pem).unwrap();
        let signature = STANDARD.encode(pair.sign(b"model"));
        assert!(key.has_signed(b"model", &signature));
        assert!(!key.has_signed(b"modem", &signature));
        assert!(!key.has_signed(b"model", ""));
        assert!(!key.has_signed(b"model", "no base64!"));
        let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
        assert!(!key.has_signed(b"model", &STANDARD.encode(other.sign(b"model"))));
        assert!(PublicKey::parse(&pem.replace("PUBLIC", "PRIVATE")).is_none());
        assert!(PublicKey::parse("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----").is_none());
    }
}
