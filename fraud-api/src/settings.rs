//! The settings of the service.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use fraud_core::service::settings::{
    ChaosSettings, DriftSettings, ModelSettings, PolicySettings, Problems, QualitySettings, Settings, Span,
    StoreSection, TelemetrySettings, TimeSettings,
};
use serde::{Deserialize, Serialize};

use crate::http::client::Network;

/// All settings. `fraud-api --print-config` shows them with their defaults.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiSettings {
    /// What `/health` calls the place it runs in.
    pub environment: String,
    /// The listeners.
    pub server: ServerSettings,
    /// Limits on work.
    pub admission: AdmissionSettings,
    /// Limits on callers.
    pub rate_limit: RateLimitSettings,
    /// The model.
    pub model: ModelSettings,
    /// The policy.
    pub policy: PolicySettings,
    /// The store.
    pub store: StoreSection,
    /// Event time.
    pub time: TimeSettings,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
    /// Drift.
    pub drift: DriftSettings,
    /// Quality.
    pub quality: QualitySettings,
    /// Faults on purpose.
    pub chaos: ChaosSettings,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            environment: "development".to_owned(),
            server: ServerSettings::default(),
            admission: AdmissionSettings::default(),
            rate_limit: RateLimitSettings::default(),
            model: ModelSettings::default(),
            policy: PolicySettings::default(),
            store: StoreSection::default(),
            time: TimeSettings::default(),
            telemetry: TelemetrySettings::default(),
            drift: DriftSettings::default(),
            quality: QualitySettings::default(),
            chaos: ChaosSettings::default(),
        }
    }
}

/// The listeners and who may use them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Where requests are taken.
    pub bind: SocketAddr,
    /// Where operators' requests are taken: `/admin`, and with keys also the console and `/metrics`.
    /// `none` for no such listener. When it is left at its default and the port is taken, the service
    /// starts without it.
    pub management: Management,
    /// Threads that serve requests; 0 is one per core.
    pub workers: usize,
    /// File of API keys; without it nobody needs one.
    pub keys_file: Option<PathBuf>,
    /// Refuse to listen on anything but loopback without keys.
    pub require_keys: bool,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// PEM file of the certificate chain; with `tls_key_file` the service speaks HTTPS.
    pub tls_cert_file: Option<PathBuf>,
    /// PEM file of the private key.
    pub tls_key_file: Option<PathBuf>,
    /// Open connections, of all threads together.
    pub max_connections: usize,
    /// How long a request's head may take.
    pub head_timeout: Span,
    /// How long an idle connection is kept.
    pub keep_alive: Span,
    /// At shutdown: how long to go on serving while not being ready, so that load balancers notice.
    pub drain_delay: Span,
    /// At shutdown: how long requests under way may take.
    pub drain_timeout: Span,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8000)),
            management: Management::default(),
            workers: 0,
            keys_file: None,
            require_keys: false,
            trusted_proxies: Vec::new(),
            tls_cert_file: None,
            tls_key_file: None,
            max_connections: 20_000,
            head_timeout: Span::seconds(5),
            keep_alive: Span::seconds(75),
            drain_delay: Span::seconds(0),
            drain_timeout: Span::seconds(30),
        }
    }
}

/// Where the management listener is, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Management(pub Option<SocketAddr>);

impl Default for Management {
    fn default() -> Self {
        Self(Some(SocketAddr::from(([127, 0, 0, 1], 8001))))
    }
}

impl Serialize for Management {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(address) => serializer.collect_str(&address),
            None => serializer.serialize_str("none"),
        }
    }
}

impl<'de> Deserialize<'de> for Management {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "none" => Ok(Self(None)),
            _ => text.parse().map(|address| Self(Some(address))).map_err(|_| {
                serde::de::Error::custom("expected an address and port, such as 127.0.0.1:8001, or `none`")
            }),
        }
    }
}

/// Limits that keep the service answering under any load.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionSettings {
    /// Work that would begin later than this after its turn began is turned away at once.
    pub max_wait: Span,
    /// Requests whose bodies are still coming, of all threads together.
    pub max_in_flight: usize,
    /// Requests of many rows that are read or worked on, of all threads together.
    pub max_batches: usize,
    /// How long a request may take from its head to its answer.
    pub deadline: Span,
    /// Greatest body of a single request, in bytes.
    pub max_body_bytes: usize,
    /// Greatest body of a request of many rows, in bytes.
    pub max_batch_bytes: usize,
    /// Greatest number of rows in one request.
    pub max_batch_rows: usize,
    /// What `Retry-After` says when work is turned away.
    pub retry_after: Span,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self {
            max_wait: Span::millis(15),
            max_in_flight: 4_096,
            max_batches: 32,
            deadline: Span::seconds(5),
            max_body_bytes: 64 << 10,
            max_batch_bytes: 4 << 20,
            max_batch_rows: 10_000,
            retry_after: Span::seconds(1),
        }
    }
}

/// Limits per API key, or per client address where there is none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitSettings {
    /// Requests a second, on average; 0 for no limit.
    pub requests_per_second: u32,
    /// Requests that may come at once; 0 is as many as a second allows.
    pub burst: u32,
}

impl ApiSettings {
    /// Threads that serve requests.
    #[must_use]
    pub fn workers(&self) -> usize {
        match self.server.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        }
    }

    /// The settings as TOML, with what is secret in them masked.
    #[must_use]
    pub fn masked(&self) -> String {
        let mut shown = self.clone();
        let model = &mut shown.model;
        let sources = [&mut model.source, &mut model.shadow.source].into_iter().filter_map(Option::as_mut);
        let addresses = [&mut model.url, &mut model.mlflow.tracking_uri, &mut shown.telemetry.otlp_endpoint];
        for address in addresses.into_iter().filter_map(Option::as_mut).chain(sources) {
            if address.starts_with("http") {
                *address = mask(address);
            }
        }
        let mut value = serde_json::to_value(&shown).unwrap_or_default();
        let mut text = String::new();
        write_toml(&mut value, "", &mut text);
        text
    }
}

/// An address without what stands between `://` and `@`, and without its query.
fn mask(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?***"));
    let end = rest.find('/').unwrap_or(rest.len());
    let user = rest[..end].rfind('@').map_or(String::new(), |_| "***@".to_owned());
    let host = rest[..end].rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{user}{host}{}{query}", &rest[end..])
}

/// Groups of at most one level, plain values and lists of texts: a TOML subset that needs no writer.
fn write_toml(value: &mut serde_json::Value, group: &str, text: &mut String) {
    use std::fmt::Write;
    let Some(table) = value.as_object_mut() else { return };
    let nested: Vec<String> = table.iter().filter(|(_, value)| value.is_object()).map(|(key, _)| key.clone()).collect();
    for (key, value) in table.iter().filter(|(_, value)| !value.is_object()) {
        // What has no value is shown as a comment: TOML has no null.
        let _ = if value.is_null() { writeln!(text, "# {key} =") } else { writeln!(text, "{key} = {value}") };
    }
    for key in nested {
        let _ = writeln!(text, "\n[{}{key}]", if group.is_empty() { String::new() } else { format!("{group}.") });
        if let Some(inner) = table.get_mut(&key) {
            write_toml(inner, &key, text);
        }
    }
}

impl Settings for ApiSettings {
    fn check(&self, problems: &mut Problems) {
        self.model.check(problems);
        self.store.check(problems);
        self.time.check(problems);
        self.telemetry.check(problems);
        self.drift.check(problems);
        self.quality.check(problems);
        self.chaos.check(problems);
        self.admission.check(problems);
        self.server.check(problems);
        let environment = !self.environment.is_empty() && self.environment.len() <= 64;
        problems.require(environment, "environment", "must have 1 to 64 bytes");
        problems.require(
            self.rate_limit.burst == 0 || self.rate_limit.requests_per_second > 0,
            "rate_limit.burst",
            "needs `rate_limit.requests_per_second`",
        );
    }
}

impl AdmissionSettings {
    fn check(&self, problems: &mut Problems) {
        problems.require(!self.max_wait.is_zero(), "admission.max_wait", "must not be 0");
        problems.require(
            self.deadline > self.max_wait,
            "admission.deadline",
            format!("`admission.deadline` {} must exceed `admission.max_wait` {}", self.deadline, self.max_wait),
        );
        problems.require(self.max_in_flight > 0, "admission.max_in_flight", "must not be 0");
        problems.require(self.max_batches > 0, "admission.max_batches", "must not be 0");
        problems.require(self.max_body_bytes >= 1_024, "admission.max_body_bytes", "must be at least 1024");
        problems.require(
            self.max_batch_bytes >= self.max_body_bytes,
            "admission.max_batch_bytes",
            format!(
                "`admission.max_batch_bytes` {} must not be below `admission.max_body_bytes` {}",
                self.max_batch_bytes, self.max_body_bytes
            ),
        );
        problems.require(self.max_batch_rows > 0, "admission.max_batch_rows", "must not be 0");
    }
}

impl ServerSettings {
    fn check(&self, problems: &mut Problems) {
        let tls = self.tls_cert_file.is_some() == self.tls_key_file.is_some();
        problems.require(tls, "server.tls_key_file", "`tls_cert_file` and `tls_key_file` go together");
        let built = cfg!(feature = "tls") || self.tls_cert_file.is_none();
        problems.require(built, "server.tls_cert_file", "this build has no TLS (feature `tls`)");
        let open = |address: IpAddr| !address.is_loopback() && self.keys_file.is_none();
        if self.require_keys {
            problems.require(
                !open(self.bind.ip()),
                "server.bind",
                format!("{} is not loopback and `server.require_keys` is set: give `server.keys_file`", self.bind),
            );
            if let Some(management) = self.management.0 {
                problems.require(
                    !open(management.ip()),
                    "server.management",
                    format!("{management} is not loopback and `server.require_keys` is set: give `server.keys_file`"),
                );
            }
        }
        if let Some(management) = self.management.0
            && management == self.bind
            && management.port() != 0
        {
            problems.add("server.management", format!("is the same address as `server.bind` {}", self.bind));
        }
        problems.require(self.max_connections > 0, "server.max_connections", "must not be 0");
        problems.require(self.workers <= 1_024, "server.workers", "must be at most 1024");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read_again() {
        let text = ApiSettings::default().masked();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("printed.toml");
        std::fs::write(&path, &text).unwrap();
        let sources = fraud_core::service::settings::Sources { file: Some(path), ..Default::default() };
        let again = sources.load::<ApiSettings>().unwrap_or_else(|error| panic!("{error}\n{text}")).settings;
        assert_eq!(again.masked(), text);
    }

    #[test]
    fn credentials_are_masked() {
        assert_eq!(mask("https://me:pw@host:1/a?token=x"), "https://***@host:1/a?***");
        assert_eq!(mask("http://host/a@b"), "http://host/a@b");
    }

    #[test]
    fn contradictions_are_found() {
        let mut problems = Problems::default();
        let mut settings = ApiSettings::default();
        settings.check(&mut problems);
        assert_eq!(format!("{problems:?}"), "Problems([])");
        settings.server.bind = SocketAddr::from(([0, 0, 0, 0], 8000));
        settings.server.require_keys = true;
        settings.admission.max_batch_bytes = 1;
        settings.server.tls_cert_file = Some("x".into());
        settings.chaos.startup_delay = Span::seconds(1);
        settings.check(&mut problems);
        let text = format!("{problems:?}");
        for key in ["server.bind", "admission.max_batch_bytes", "server.tls_key_file", "chaos.startup_delay"] {
            assert!(text.contains(key), "{key}: {text}");
        }
    }
}
