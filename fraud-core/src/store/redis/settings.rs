//! Where a shared store is, and how it is spoken to.

use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::error::SharedStoreError;
use crate::features::StoreSettings;

/// Settings of a [`RedisStore`](super::RedisStore).
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://host:port/db`, or `rediss://…` for TLS checked against the system's certificates. A node of a
    /// cluster stands for the cluster.
    pub url: String,
    /// The user of Redis' access lists; none is `default`.
    pub username: Option<String>,
    /// The password, if one is asked for.
    pub password: Option<String>,
    /// What all keys begin with; several stores may share a server. No `{`, `}`, `*`, `?`, `[`, `]` or `\`.
    pub prefix: String,
    /// How long one call may take, connecting included; a batch, so long for each hundred commands.
    pub timeout: Duration,
    /// The only epoch accepted; without it, whatever the first connection finds.
    pub epoch: Option<String>,
    /// What is kept, and how long. [`StoreSettings::shards`], [`StoreSettings::max_bytes`] and
    /// [`StoreSettings::max_cells_per_key`] do not concern a shared store: its server's `maxmemory` limits it.
    pub store: StoreSettings,
}

impl RedisSettings {
    /// Settings for a server, everything else as usual: prefix `fraud`, timeout 200 ms.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            username: None,
            password: None,
            prefix: "fraud".to_owned(),
            timeout: Duration::from_millis(200),
            epoch: None,
            store: StoreSettings::default(),
        }
    }

    /// Finds what is wrong with them without asking a server.
    ///
    /// # Errors
    /// [`SharedStoreError::Settings`].
    pub fn check(&self) -> Result<(), SharedStoreError> {
        self.connection().map(drop)
    }

    pub(super) fn connection(&self) -> Result<ConnectionInfo, SharedStoreError> {
        let bad =
            |key: &'static str, problem: &str| Err(SharedStoreError::Settings { key, problem: problem.to_owned() });
        let known = ["redis://", "rediss://"].iter().any(|scheme| self.url.starts_with(scheme));
        if !known {
            return bad("url", "must begin with redis:// or rediss://, for example redis://fraud-redis:6379");
        }
        if self.url.split('/').nth(2).is_some_and(|host| host.contains('@')) {
            return bad("url", "must not hold credentials: give `username` and `password_file`");
        }
        let special = ['{', '}', '*', '?', '[', ']', '\\'];
        if self.prefix.is_empty() || self.prefix.len() > 64 || self.prefix.contains(special) {
            return bad("prefix", "must have 1 to 64 bytes, none of them {}*?[]\\");
        }
        if self.timeout.is_zero() {
            return bad("timeout", "must not be 0");
        }
        if self.epoch.as_ref().is_some_and(|epoch| epoch.is_empty() || epoch.len() > 64) {
            return bad("epoch", "must have 1 to 64 bytes");
        }
        let info = match self.url.as_str().into_connection_info() {
            Ok(info) => info,
            Err(error) => return bad("url", &format!("cannot be read ({error}), write it like redis://host:6379")),
        };
        let mut access = info.redis_settings().clone();
        if let Some(username) = &self.username {
            access = access.set_username(username);
        }
        if let Some(password) = &self.password {
            access = access.set_password(password);
        }
        Ok(info.set_redis_settings(access))
    }

    /// How long so many commands sent at once may take: a large batch is given the time of several calls.
    pub(super) fn time_of(&self, commands: usize) -> Duration {
        self.timeout.saturating_mul(u32::try_from(commands / 100).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// Host and port, without credentials.
    pub(super) fn address(&self) -> String {
        match self.connection().as_ref().map(ConnectionInfo::addr) {
            Ok(ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. }) => format!("{host}:{port}"),
            _ => "an address that cannot be read".to_owned(),
        }
    }
}

/// Without the password.
impl std::fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisSettings")
            .field("address", &self.address())
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
