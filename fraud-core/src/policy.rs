//! From a probability to a decision: thresholds and rules.
//!
//! A policy file is TOML. Every part may be left out:
//!
//! ```toml
//! version = "2026-11"
//!
//! [thresholds]                 # over the model's own, which stand over 0.3 and 0.7
//! review_at = 0.35
//! decline_at = 0.8
//!
//! [lists]
//! stolen_terminals = ["T-17", 4711]
//!
//! [[rules]]                    # the first one that holds overrides the model
//! name = "terminal on the list"
//! decision = "decline"
//! without_model = true         # and decides when no model can
//! when = { terminal_id = { in = "stolen_terminals" } }
//!
//! [[rules]]
//! name = "large payment at a risky terminal"
//! decision = "review"
//! when = { all = [
//!     { amount = { above = 220 } },
//!     { feature = { name = "TERMINAL_ID_RISK_7DAY_WINDOW", at_least = 0.5 } },
//! ] }
//! ```

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::assessment::Decision;
use crate::error::PolicyError;
use crate::transaction::Id;

mod compiled;

pub(crate) use compiled::{CompiledPolicy, CompiledRule};

/// Review from this probability where neither policy nor model say otherwise.
pub const DEFAULT_REVIEW_AT: f32 = 0.3;
/// Decline from this probability where neither policy nor model say otherwise.
pub const DEFAULT_DECLINE_AT: f32 = 0.7;
/// Greatest policy file that is read, in bytes.
pub const MAX_POLICY_BYTES: u64 = 64 << 20;

/// A policy as written. [`Scorer::new`](crate::Scorer::new) fits it to a model. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    version: Option<Arc<str>>,
    written: Arc<Written>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: Option<String>,
    #[serde(default)]
    thresholds: Thresholds,
    #[serde(default)]
    lists: HashMap<String, Arc<HashSet<Id>>>,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Thresholds {
    review_at: Option<f32>,
    decline_at: Option<f32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    name: String,
    decision: Decision,
    /// Decides, where it holds, when no model can.
    #[serde(default)]
    without_model: bool,
    when: Condition,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Amount(Bounds),
    Feature(FeatureBounds),
    TransactionId(Listed),
    CustomerId(Listed),
    TerminalId(Listed),
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    at_least: Option<f64>,
    above: Option<f64>,
    at_most: Option<f64>,
    below: Option<f64>,
}

/// A feature's name with the bounds beside it. (Flattening [`Bounds`] would let unknown keys pass.)
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureBounds {
    name: String,
    at_least: Option<f64>,
    above: Option<f64>,
    at_most: Option<f64>,
    below: Option<f64>,
}

impl FeatureBounds {
    fn bounds(&self) -> Bounds {
        let Self { at_least, above, at_most, below, .. } = *self;
        Bounds { at_least, above, at_most, below }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    r#in: String,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError::Io`], and as [`Policy::from_toml`].
    pub fn from_path(path: &Path) -> Result<Self, PolicyError> {
        let io = |problem: String| PolicyError::Io { path: path.to_owned(), problem };
        let size = std::fs::metadata(path).map_err(|error| io(error.to_string()))?.len();
        if size > MAX_POLICY_BYTES {
            return Err(io(format!("{size} bytes, at most {MAX_POLICY_BYTES} are read")));
        }
        Self::from_toml(&std::fs::read_to_string(path).map_err(|error| io(error.to_string()))?)
    }

    /// Reads a policy. Without a `version` of its own it is called by the first 12 hexadecimal digits of
    /// its SHA-256.
    ///
    /// # Errors
    /// [`PolicyError::Unreadable`], with line and column. What depends on the model (thresholds, features)
    /// is checked by [`Scorer::new`](crate::Scorer::new).
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let written: Written =
            toml::from_str(text).map_err(|error| PolicyError::Unreadable { problem: error.to_string() })?;
        let hash = || {
            let digest = Sha256::digest(text.as_bytes());
            digest.iter().take(6).fold(String::new(), |hash, byte| hash + &format!("{byte:02x}"))
        };
        let version = written.version.clone().unwrap_or_else(hash);
        Ok(Self { version: Some(version.into()), written: Arc::new(written) })
    }

    /// What it calls itself; `default` for one that was not read from anywhere.
    #[must_use]
    pub fn version(&self) -> Arc<str> {
        self.version.clone().unwrap_or_else(|| "default".into())
    }

    /// The features that its rules look at, each once, in order.
    pub(crate) fn features(&self) -> Vec<(&str, &str)> {
        fn collect<'a>(condition: &'a Condition, rule: &'a str, into: &mut Vec<(&'a str, &'a str)>) {
            match condition {
                Condition::All(parts) | Condition::Any(parts) => {
                    for part in parts {
                        collect(part, rule, into);
                    }
                }
                Condition::Not(part) => collect(part, rule, into),
                Condition::Feature(feature) if !into.iter().any(|(_, name)| *name == feature.name) => {
                    into.push((rule, &feature.name));
                }
                _ => {}
            }
        }
        let mut features = Vec::new();
        for rule in &self.written.rules {
            collect(&rule.when, &rule.name, &mut features);
        }
        features
    }
}

#[cfg(test)]
mod tests;
