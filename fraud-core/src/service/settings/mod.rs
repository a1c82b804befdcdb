//! Settings: defaults in code, then a TOML file, then the environment; read once, before anything starts.

mod loader;
#[cfg(feature = "redis")]
mod redis;
mod sections;
mod span;

pub use loader::{Loaded, Problem, Problems, Settings, SettingsError, Sources, process_environment};
pub use sections::{
    ChaosSettings, DriftSettings, LogFormat, LogLevel, ModelSettings, PolicySettings, QualitySettings, RedisSection,
    StoreKind, StoreSection, TelemetrySettings, TimeSettings,
};
pub use span::Span;
