//! From the settings of a shared store to the store's own.

use super::Problems;
use super::sections::{RedisSection, StoreSection};
use crate::error::SharedStoreError;
use crate::store::redis::RedisSettings;

/// Greatest password that is read, in bytes.
const MAX_PASSWORD: usize = 4_096;

impl StoreSection {
    /// Settings of the shared store, the password read from its file.
    ///
    /// # Errors
    /// [`SharedStoreError::Settings`].
    pub fn redis(&self) -> Result<RedisSettings, SharedStoreError> {
        let password = match &self.redis.password_file {
            None => None,
            Some(path) => {
                let bad = |problem: String| SharedStoreError::Settings {
                    key: "password_file",
                    problem: format!("{}: {problem}", path.display()),
                };
                let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
                let password = text.trim_end_matches(['\r', '\n']);
                if password.is_empty() || password.len() > MAX_PASSWORD {
                    return Err(bad(format!("must hold a password of 1 to {MAX_PASSWORD} bytes")));
                }
                Some(password.to_owned())
            }
        };
        Ok(RedisSettings { password, store: self.settings(), ..self.redis.settings() })
    }
}

impl RedisSection {
    fn settings(&self) -> RedisSettings {
        RedisSettings {
            username: self.username.clone(),
            prefix: self.prefix.clone(),
            timeout: self.timeout.0,
            epoch: self.epoch.clone(),
            ..RedisSettings::new(&self.url)
        }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        if let Err(SharedStoreError::Settings { key, problem }) = self.settings().check() {
            problems.add(&format!("store.redis.{key}"), problem);
        }
    }
}
