//! API keys: who may do what, in every service that answers HTTP.
//!
//! The file holds hashes, never keys:
//!
//! ```toml
//! [[keys]]
//! name = "checkout"
//! sha256 = "…64 hexadecimal digits of the key's SHA-256…"
//! roles = ["score"]
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::life::Watch;

/// Greatest file of keys that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Longest key that is looked at, in bytes.
const MAX_KEY_BYTES: usize = 512;
/// How often the file is looked at for a change.
const LOOK: Duration = Duration::from_secs(2);

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Have transactions scored.
    Score,
    /// Say which transactions were fraud.
    Label,
    /// Ask the bare model.
    Infer,
    /// See and change how the service runs.
    Operate,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Score => "score",
            Self::Label => "label",
            Self::Infer => "infer",
            Self::Operate => "operate",
        })
    }
}

/// A file of keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It cannot be read.
    #[error("keys file {}: {problem}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        problem: String,
    },
    /// It is not what it should be.
    #[error("keys file {}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, without any hash.
        problem: String,
    },
}

/// Why a request may not do what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// It carries no key, or one that is not known.
    #[error("send `Authorization: Bearer <key>` or `X-API-Key: <key>`")]
    Unknown,
    /// Its key may not do this.
    #[error("the role `{role}` is needed")]
    Role {
        /// What the key would have to have.
        role: Role,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    keys: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: String,
    roles: Vec<Role>,
}

/// A key, by its hash.
#[derive(Debug)]
pub struct Key {
    name: Arc<str>,
    hash: [u8; 32],
    roles: Vec<Role>,
}

impl Key {
    /// Its name, for limits and logs.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

/// The keys in force, and where they come from.
#[derive(Debug)]
pub struct Keys {
    path: PathBuf,
    keys: ArcSwap<Vec<Arc<Key>>>,
}

impl Keys {
    /// Reads a file.
    ///
    /// # Errors
    /// [`KeysError`]; a file without a single key is one, since nobody could do anything.
    pub fn load(path: &Path) -> Result<Self, KeysError> {
        Ok(Self { path: path.to_owned(), keys: ArcSwap::from_pointee(read(path)?) })
    }

    /// Reads the file again; when it cannot be used, the keys in force stay.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn reload(&self) -> Result<usize, KeysError> {
        let keys = read(&self.path)?;
        let count = keys.len();
        self.keys.store(Arc::new(keys));
        Ok(count)
    }

    /// Reads the file again whenever it has changed, until the value is dropped.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> Watch {
        let keys = self.clone();
        Watch::start(vec![self.path.clone()], LOOK, move || match keys.reload() {
            Ok(count) => tracing::info!(count, "the API keys were read anew"),
            Err(error) => tracing::error!(%error, "the API keys in force stay"),
        })
    }

    /// The key that a request carries ([`presented`]), if it has the role.
    ///
    /// # Errors
    /// [`KeyRefusal`].
    pub fn check(&self, presented: Option<&[u8]>, role: Role) -> Result<Arc<Key>, KeyRefusal> {
        let presented = presented.ok_or(KeyRefusal::Unknown)?;
        let hash: [u8; 32] = Sha256::digest(presented).into();
        // All keys are compared, each in constant time, so that time tells nothing of where they differ.
        let mut found = None;
        for key in self.keys.load().iter() {
            if bool::from(key.hash.ct_eq(&hash)) {
                found = Some(key.clone());
            }
        }
        let key = found.ok_or(KeyRefusal::Unknown)?;
        if key.roles.contains(&role) { Ok(key) } else { Err(KeyRefusal::Role { role }) }
    }
}

/// The key in a request's headers `Authorization` and `X-API-Key`; the first holds where both are there.
#[must_use]
pub fn presented<'a>(authorization: Option<&'a [u8]>, x_api_key: Option<&'a [u8]>) -> Option<&'a [u8]> {
    let key = match authorization {
        Some(value) => {
            let (scheme, key) = value.split_at_checked(7)?;
            if !scheme.eq_ignore_ascii_case(b"bearer ") {
                return None;
            }
            key
        }
        None => x_api_key?,
    };
    let key = key.trim_ascii();
    (!key.is_empty() && key.len() <= MAX_KEY_BYTES).then_some(key)
}

fn read(path: &Path) -> Result<Vec<Arc<Key>>, KeysError> {
    let io = |problem: String| KeysError::Io { path: path.to_owned(), problem };
    let content = |problem: String| KeysError::Content { path: path.to_owned(), problem };
    let size = std::fs::metadata(path).map_err(|error| io(error.to_string()))?.len();
    if size > MAX_FILE_BYTES {
        return Err(io(format!("{size} bytes, at most {MAX_FILE_BYTES} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| io(error.to_string()))?;
    let file: File = toml::from_str(&text).map_err(|error| content(error.message().to_owned()))?;
    if file.keys.is_empty() {
        return Err(content("there is not one `[[keys]]` in it".to_owned()));
    }
    let mut keys: Vec<Arc<Key>> = Vec::with_capacity(file.keys.len());
    for entry in file.keys {
        let shaped = !entry.name.is_empty() && entry.name.len() <= 64;
        if !shaped || keys.iter().any(|key| *key.name == *entry.name) {
            return Err(content(format!("key `{}`: every key needs a name of its own, 1 to 64 bytes", entry.name)));
        }
        let hash = unhex(&entry.sha256)
            .ok_or_else(|| content(format!("key `{}`: `sha256` must be 64 hexadecimal digits", entry.name)))?;
        keys.push(Arc::new(Key { name: entry.name.into(), hash, roles: entry.roles }));
    }
    Ok(keys)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::source::hex;

    fn bearer(value: &str) -> Option<&[u8]> {
        presented(Some(value.as_bytes()), None)
    }

    fn plain(value: &str) -> Option<&[u8]> {
        presented(None, Some(value.as_bytes()))
    }

    #[test]
    fn keys_open_what_their_roles_say() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let entry = |name: &str, key: &str, roles: &str| {
            format!("[[keys]]\nname = \"{name}\"\nsha256 = \"{}\"\nroles = [{roles}]\n", hex(&Sha256::digest(key)))
        };
        std::fs::write(&path, entry("a", "one", "\"score\"") + &entry("b", "two", "\"label\", \"infer\"")).unwrap();
        let keys = Keys::load(&path).unwrap();
        assert_eq!(&**keys.check(bearer("Bearer one"), Role::Score).unwrap().name(), "a");
        assert!(keys.check(plain("two"), Role::Infer).is_ok());
        let refused = |presented, role| keys.check(presented, role).unwrap_err();
        assert_eq!(refused(plain("one"), Role::Label), KeyRefusal::Role { role: Role::Label });
        for nobody in [plain("three"), bearer("Basic one"), bearer("Bearer "), None] {
            assert_eq!(refused(nobody, Role::Score), KeyRefusal::Unknown);
        }

        std::fs::write(&path, entry("a", "three", "\"score\"")).unwrap();
        assert_eq!(keys.reload().unwrap(), 1);
        assert!(keys.check(plain("three"), Role::Score).is_ok());
        assert_eq!(keys.check(plain("one"), Role::Score).unwrap_err(), KeyRefusal::Unknown);
        std::fs::write(&path, "nonsense").unwrap();
        assert!(keys.reload().is_err());
        assert!(keys.check(plain("three"), Role::Score).is_ok());
    }

    #[test]
    fn files_that_cannot_be_meant_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let hash = "0".repeat(64);
        for text in [
            String::new(),
            "[[keys]]\nname = \"a\"\nsha256 = \"00\"\nroles = []\n".to_owned(),
            format!("[[keys]]\nname = \"a\"\nsha256 = \"{hash}\"\nroles = [\"root\"]\n"),
            format!("[[keys]]\nname = \"a\"\nsha256 = \"{hash}\"\nroles = []\nextra = 1\n"),
            format!("[[keys]]\nname = \"a\"\nsha256 = \"{hash}\"\nroles = []\n").repeat(2),
        ] {
            std::fs::write(&path, &text).unwrap();
            let error = Keys::load(&path).unwrap_err().to_string();
            assert!(!error.contains(&hash), "{error}");
        }
        assert!(Keys::load(&folder.path().join("none")).is_err());
    }
}
