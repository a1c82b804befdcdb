//! The model's settings: where it comes from, what is compared with it, and what a new one must keep to.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Problems, Span};
use crate::service::source::Origin;

/// Where the model comes from. Without `source`, `path` and `url` it is the embedded one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSettings {
    /// Where from, in one text: `embedded`, the path of a file, an http or https address (needs `sha256`), or a
    /// version in MLflow's registry: `mlflow:models:/NAME@ALIAS`, which is followed, or `mlflow:models:/NAME/7`.
    pub source: Option<String>,
    /// An ONNX file: the same as giving it as `source`.
    pub path: Option<PathBuf>,
    /// An http or https address to fetch the file from: the same as giving it as `source`.
    pub url: Option<String>,
    /// What the file's SHA-256 must be, 64 hexadecimal digits.
    pub sha256: Option<String>,
    /// How often the file is looked at for a change; `0s` never does.
    pub watch: Span,
    /// Greatest model that is read, in bytes.
    pub max_bytes: u64,
    /// The graph output to read, over the file's own word.
    pub output: Option<String>,
    /// The class that means fraud, over the file's own word.
    pub label: Option<String>,
    /// Whether the output is a log-odds, over the file's own word.
    pub logits: Option<bool>,
    /// Feature names in the order of the inputs, for files without metadata.
    pub features: Vec<String>,
    /// Start without a model when it cannot be had, and let the policy's `without_model` rules answer.
    pub optional: bool,
    /// A folder for the registry's last good version, to start from when the registry is away.
    pub cache_dir: Option<PathBuf>,
    /// The registry, for a `source` that begins with `mlflow:`.
    pub mlflow: MlflowSettings,
    /// A challenger beside it.
    pub shadow: ShadowSettings,
    /// What a new model must keep to.
    pub guards: GuardSettings,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            source: None,
            path: None,
            url: None,
            sha256: None,
            watch: Span::seconds(2),
            max_bytes: 256 << 20,
            output: None,
            label: None,
            logits: None,
            features: Vec::new(),
            optional: false,
            cache_dir: None,
            mlflow: MlflowSettings::default(),
            shadow: ShadowSettings::default(),
            guards: GuardSettings::default(),
        }
    }
}

impl ModelSettings {
    /// Where the model comes from.
    ///
    /// # Errors
    /// What is wrong with `source`.
    pub fn origin(&self) -> Result<Origin, String> {
        match (&self.source, &self.path, &self.url) {
            (Some(source), ..) => Origin::parse(source),
            (None, Some(path), _) => Ok(Origin::File(path.clone())),
            (None, None, Some(url)) => Ok(Origin::Address(url.clone())),
            (None, None, None) => Ok(Origin::Embedded),
        }
    }

    /// Adds what contradicts itself.
    pub fn check(&self, problems: &mut Problems) {
        if self.path.is_some() && self.url.is_some() {
            problems.add("model.url", "give either `model.path` or `model.url`, not both");
        }
        if self.source.is_some() && (self.path.is_some() || self.url.is_some()) {
            problems.add("model.source", "takes the place of `model.path` and `model.url`: give one of them");
        }
        if let Some(url) = &self.url {
            let scheme = url.starts_with("http://") || url.starts_with("https://");
            problems.require(scheme, "model.url", "must begin with http:// or https://");
        }
        let origin = check_source(("model.source", "model.sha256"), (self.origin(), self.sha256.as_deref()), problems);
        let challenger = self.shadow.source.as_deref().map(Origin::parse);
        let challenger = challenger.and_then(|challenger| {
            let keys = ("model.shadow.source", "model.shadow.sha256");
            check_source(keys, (challenger, self.shadow.sha256.as_deref()), problems)
        });
        let from_registry =
            [&origin, &challenger].into_iter().any(|origin| matches!(origin, Some(Origin::Registry(_))));
        if from_registry {
            self.mlflow.check(problems);
        }
        problems.require(self.max_bytes > 0, "model.max_bytes", "must not be 0");
        let queue = (1..=1 << 20).contains(&self.shadow.queue);
        problems.require(queue, "model.shadow.queue", "must be from 1 to 1048576");
        problems.require(self.shadow.remembered <= 1 << 28, "model.shadow.remembered", "must be at most 268435456");
        problems.require(self.shadow.labelled <= 1 << 22, "model.shadow.labelled", "must be at most 4194304");
        self.guards.check(problems);
    }
}

fn check_source(
    (key, key_of_hash): (&str, &str),
    (origin, hash): (Result<Origin, String>, Option<&str>),
    problems: &mut Problems,
) -> Option<Origin> {
    let shaped = hash.is_none_or(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    problems.require(shaped, key_of_hash, "must be 64 hexadecimal digits");
    let origin = origin.map_err(|problem| problems.add(key, problem)).ok()?;
    match (&origin, hash) {
        (Origin::Address(_), None) => problems.add(key_of_hash, "an address needs the file's SHA-256"),
        (Origin::Embedded, Some(_)) => problems.add(key_of_hash, "needs a file or an address to be the hash of"),
        (Origin::Registry(_), Some(_)) => problems.add(key_of_hash, "the registry says it, in the tag `fraud.sha256`"),
        _ => {}
    }
    Some(origin)
}

/// MLflow's model registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MlflowSettings {
    /// Address of the tracking server, such as `http://mlflow:5000`.
    pub tracking_uri: Option<String>,
    /// How often it is asked which version is meant.
    pub poll: Span,
    /// How long one request may take, the download of a model among them.
    pub timeout: Span,
    /// A file with a bearer token; read for every request, so that it may be renewed.
    pub token_file: Option<PathBuf>,
    /// The ed25519 key (PEM) that versions must be signed with; without it signatures are not looked at.
    pub public_key_file: Option<PathBuf>,
}

impl Default for MlflowSettings {
    fn default() -> Self {
        Self {
            tracking_uri: None,
            poll: Span::seconds(10),
            timeout: Span::seconds(10),
            token_file: None,
            public_key_file: None,
        }
    }
}

impl MlflowSettings {
    fn check(&self, problems: &mut Problems) {
        let key = "model.mlflow.tracking_uri";
        match &self.tracking_uri {
            None => problems.add(key, "a source of `mlflow:` needs the server's address, such as http://mlflow:5000"),
            Some(address) => {
                let scheme = address.starts_with("http://") || address.starts_with("https://");
                problems.require(scheme, key, "must begin with http:// or https://");
                let plain = !address.contains(['@', '?', '#']);
                problems.require(plain, key, "takes no credentials and no query: a token goes into `token_file`");
            }
        }
        problems.require(self.poll >= Span::millis(100), "model.mlflow.poll", "must be at least 100ms");
        let timeout = self.timeout >= Span::millis(100) && self.timeout <= Span::seconds(600);
        problems.require(timeout, "model.mlflow.timeout", "must be from 100ms to 10m");
    }
}

/// A challenger that scores the same transactions beside the response path.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShadowSettings {
    /// Where it comes from, as `model.source`; without it there is none.
    pub source: Option<String>,
    /// What its file's SHA-256 must be, 64 hexadecimal digits.
    pub sha256: Option<String>,
    /// Transactions that wait for it at most; what comes when so many wait is dropped and counted.
    pub queue: usize,
    /// It scores one transaction in so many; 0 counts as 1.
    pub sample_every: u32,
    /// How many pairs of scores are remembered until their label comes, rounded up to a power of two. Where more come,
    /// a sample of them is.
    pub remembered: u32,
    /// How long after a transaction its label may come and still find its scores.
    pub labels_within: Span,
    /// How many labelled transactions the report is over.
    pub labelled: u32,
}

impl Default for ShadowSettings {
    fn default() -> Self {
        Self {
            source: None,
            sha256: None,
            queue: 1_024,
            sample_every: 1,
            remembered: 1 << 17,
            labels_within: Span::seconds(8 * 86_400),
            labelled: 20_000,
        }
    }
}

/// What a new model must keep to, beside the one before it on the same transactions. A breach goes back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardSettings {
    /// Compare at all.
    pub enabled: bool,
    /// How long after its swap a new model is compared.
    pub window: Span,
    /// Below so many transactions nothing is said of scores, decisions and time.
    pub min_count: u64,
    /// Greatest population stability index of its scores against those of the model before.
    pub max_score_psi: f64,
    /// Greatest ratio of its declines to those of the model before, or the other way round.
    pub max_decline_ratio: f64,
    /// Greatest ratio of its median time to that of the model before,
    pub max_latency_ratio: f64,
    /// which counts only when the median time exceeds this, too.
    pub latency_floor: Span,
    /// Greatest share of transactions that it fails on.
    pub max_error_rate: f64,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            window: Span::seconds(600),
            min_count: 500,
            max_score_psi: 0.5,
            max_decline_ratio: 3.0,
            max_latency_ratio: 3.0,
            latency_floor: Span::millis(1),
            max_error_rate: 0.01,
        }
    }
}

impl GuardSettings {
    fn check(&self, problems: &mut Problems) {
        problems.require(!self.window.is_zero(), "model.guards.window", "must not be 0: set `enabled = false` instead");
        problems.require(self.min_count >= 10, "model.guards.min_count", "must be at least 10");
        let positive = self.max_score_psi > 0.0;
        problems.require(positive, "model.guards.max_score_psi", "must be greater than 0");
        let ratio = self.max_decline_ratio > 1.0;
        problems.require(ratio, "model.guards.max_decline_ratio", "must be greater than 1");
        let ratio = self.max_latency_ratio > 1.0;
        problems.require(ratio, "model.guards.max_latency_ratio", "must be greater than 1");
        let share = (0.0..=1.0).contains(&self.max_error_rate);
        problems.require(share, "model.guards.max_error_rate", "must be from 0 to 1");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(settings: &ModelSettings) -> String {
        let mut problems = Problems::default();
        settings.check(&mut problems);
        format!("{problems:?}")
    }

    #[test]
    fn a_source_of_the_registry_needs_its_address() {
        let mut settings =
            ModelSettings { source: Some("mlflow:models:/fraud@champion".to_owned()), ..ModelSettings::default() };
        assert!(problems(&settings).contains("model.mlflow.tracking_uri"));
        settings.mlflow.tracking_uri = Some("http://user:secret@mlflow:5000".to_owned());
        assert!(problems(&settings).contains("token_file"));
        settings.mlflow.tracking_uri = Some("http://mlflow:5000".to_owned());
        assert_eq!(problems(&settings), "Problems([])");
        settings.path = Some("m.onnx".into());
        settings.shadow.source = Some("https://models.example/m.onnx".to_owned());
        settings.guards.max_latency_ratio = 1.0;
        let text = problems(&settings);
        for key in ["model.source", "model.shadow.sha256", "model.guards.max_latency_ratio"] {
            assert!(text.contains(key), "{key}: {text}");
        }
    }
}
