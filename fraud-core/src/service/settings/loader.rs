//! From sources to a settings struct: every problem is found and reported at once.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;

use config::{Config, Environment, File, FileFormat, Value, ValueKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Begins the environment's settings: `FRAUD__SERVER__BIND` is `server.bind`.
const PREFIX: &str = "FRAUD";
const SEPARATOR: &str = "__";
/// Greatest settings file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A struct of settings. Every container of it has `#[serde(default, deny_unknown_fields)]` and writes all
/// its fields, so that its default shows every key there is.
pub trait Settings: Serialize + DeserializeOwned + Default {
    /// Adds what no single key can be blamed for: bounds, and keys that contradict each other.
    fn check(&self, problems: &mut Problems);
}

/// One setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, for example `server.bind`; empty for the whole file.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => f.write_str(&self.problem),
            key => write!(f, "{key}: {}", self.problem),
        }
    }
}

/// Collects problems.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds one.
    pub fn add(&mut self, key: &str, problem: impl Into<String>) {
        self.0.push(Problem { key: key.to_owned(), problem: problem.into() });
    }

    /// Adds one unless `holds`.
    pub fn require(&mut self, holds: bool, key: &str, problem: impl Into<String>) {
        if !holds {
            self.add(key, problem);
        }
    }
}

/// All that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "{count} problem{} in the settings:", if count == 1 { "" } else { "s" })?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for SettingsError {}

/// Where settings come from, later ones over earlier ones; the code's defaults lie under all of them.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// The environment. Names that do not begin with `FRAUD__` are passed over.
    pub environment: BTreeMap<String, String>,
    /// Single keys from the command line, over everything else.
    pub overrides: Vec<(String, String)>,
}

/// Settings, and which of their keys were not left at their default.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The settings.
    pub settings: T,
    /// The keys that a source gave, in order.
    pub given: Vec<String>,
}

/// The environment of the process. The only place that reads it.
#[must_use]
#[allow(clippy::disallowed_methods)]
pub fn process_environment() -> BTreeMap<String, String> {
    // A name or value that is not Unicode is none of ours.
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

impl Sources {
    /// Reads and checks all settings.
    ///
    /// # Errors
    /// Every problem at once: an unreadable file, unknown keys, values of the wrong kind, values that
    /// contradict each other.
    pub fn load<T: Settings>(&self) -> Result<Loaded<T>, SettingsError> {
        let mut problems = Problems::default();
        let defaults = serde_json::to_value(T::default()).unwrap_or_default();
        let mut leaves = Vec::new();
        match self.merged() {
            Ok(tree) => flatten(&tree, String::new(), &mut leaves),
            Err(problem) => problems.0.push(problem),
        }
        leaves.retain_mut(|leaf| match leaf.check::<T>(&defaults) {
            Ok(()) => true,
            Err(problem) => {
                problems.0.push(problem);
                false
            }
        });
        let settings = read::<T>(&leaves).unwrap_or_else(|problem| {
            problems.add("", problem);
            T::default()
        });
        let read = problems.0.len();
        settings.check(&mut problems);
        // What could not be read stands at its default there, of which nothing more is to be said.
        let mut of_checks = problems.0.split_off(read);
        of_checks.retain(|problem| problems.0.iter().all(|earlier| earlier.key != problem.key));
        problems.0.append(&mut of_checks);
        if problems.0.is_empty() {
            Ok(Loaded { settings, given: leaves.into_iter().map(|leaf| leaf.key).collect() })
        } else {
            Err(SettingsError { problems: problems.0 })
        }
    }

    fn merged(&self) -> Result<Value, Problem> {
        let mut builder = Config::builder();
        if let Some(path) = &self.file {
            let refuse = |problem: String| Problem {
                key: String::new(),
                problem: format!("settings file {}: {problem}", path.display()),
            };
            let size = std::fs::metadata(path).map_err(|error| refuse(error.to_string()))?.len();
            if size > MAX_FILE_BYTES {
                return Err(refuse(format!("{size} bytes, at most {MAX_FILE_BYTES} are read")));
            }
            let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
            // Read apart first: so a file that is not TOML is reported by its own name.
            let file = File::from_str(&text, FileFormat::Toml);
            Config::builder().add_source(file.clone()).build().map_err(|error| refuse(error.to_string()))?;
            builder = builder.add_source(file);
        }
        let environment: HashMap<String, String> =
            self.environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        builder = builder.add_source(
            Environment::with_prefix(PREFIX)
                .prefix_separator(SEPARATOR)
                .separator(SEPARATOR)
                .source(Some(environment.into_iter().collect())),
        );
        let fault = |error: config::ConfigError| Problem { key: String::new(), problem: error.to_string() };
        for (key, value) in &self.overrides {
            builder = builder.set_override(key, value.as_str()).map_err(fault)?;
        }
        Ok(builder.build().map_err(fault)?.cache)
    }
}

/// One key that a source gave.
struct Leaf {
    key: String,
    value: Value,
}

impl Leaf {
    /// Whether the key exists and its value, alone, can be read.
    fn check<T: Settings>(&mut self, defaults: &serde_json::Value) -> Result<(), Problem> {
        let refuse = |key: &str, problem: String| Problem { key: key.to_owned(), problem };
        let mut place = defaults;
        for part in self.key.split('.') {
            place = place.get(part).ok_or_else(|| refuse(&self.key, unknown(place, part)))?;
        }
        // The environment has no lists: there, commas part the items.
        if let (serde_json::Value::Array(_), ValueKind::String(text)) = (place, &self.value.kind) {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            self.value.kind = ValueKind::Array(items.map(|item| Value::new(None, item)).collect());
        }
        if place.is_object() {
            return Err(refuse(&self.key, "this is a group of settings, it has no value of its own".to_owned()));
        }
        read::<T>(std::slice::from_ref(self)).map(drop).map_err(|problem| refuse(&self.key, problem))
    }
}

fn unknown(place: &serde_json::Value, part: &str) -> String {
    let Some(known) = place.as_object() else { return "no such key".to_owned() };
    let names: Vec<&str> = known.keys().map(String::as_str).collect();
    match names.iter().map(|name| (distance(name, part), *name)).min() {
        Some((distance, name)) if distance <= 2 => format!("no such key, did you mean `{name}`?"),
        _ => format!("no such key, `{part}` is none of: {}", names.join(", ")),
    }
}

/// Edit distance, for names of a few dozen letters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

fn flatten(value: &Value, key: String, into: &mut Vec<Leaf>) {
    match &value.kind {
        ValueKind::Table(table) if !table.is_empty() || key.is_empty() => {
            for (name, inner) in table {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(inner, key, into);
            }
        }
        // A group with nothing in it says nothing.
        ValueKind::Table(_) => {}
        _ => into.push(Leaf { key, value: value.clone() }),
    }
}

fn read<T: DeserializeOwned>(leaves: &[Leaf]) -> Result<T, String> {
    let mut builder = Config::builder();
    for leaf in leaves {
        builder = builder.set_override(&leaf.key, leaf.value.clone()).map_err(|error| error.to_string())?;
    }
    builder.build().and_then(Config::try_deserialize).map_err(|error: config::ConfigError| plain(&error))
}

/// The message without the key and the source, which the reader of a settings problem is told anyway.
fn plain(error: &config::ConfigError) -> String {
    match error {
        config::ConfigError::At { error, .. } => plain(error),
        config::ConfigError::Type { unexpected, expected, .. } => format!("found {unexpected}, expected {expected}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::Span;
    use super::*;

    #[derive(Debug, Clone, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Outer {
        name: String,
        server: Inner,
    }

    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        port: u16,
        wait: Span,
        path: Option<PathBuf>,
        proxies: Vec<String>,
    }

    impl Default for Outer {
        fn default() -> Self {
            Self { name: "n".to_owned(), server: Inner { port: 1, ..Inner::default() } }
        }
    }

    impl Settings for Outer {
        fn check(&self, problems: &mut Problems) {
            problems.require(self.server.port > 0, "server.port", "must not be 0");
        }
    }

    fn sources(file: &str, environment: &[(&str, &str)]) -> (tempfile::TempDir, Sources) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, file).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        (folder, Sources { file: Some(path), environment, overrides: Vec::new() })
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_defaults() {
        let (_folder, sources) = sources(
            "name = \"file\"\n[server]\nport = 2\nwait = \"5m\"\n",
            &[("FRAUD__SERVER__PORT", "3"), ("FRAUD__SERVER__PROXIES", "a, b"), ("HOME", "/"), ("FRAUD_CONFIG", "x")],
        );
        let loaded = sources.load::<Outer>().unwrap();
        assert_eq!(loaded.settings.name, "file");
        assert_eq!(loaded.settings.server.port, 3);
        assert_eq!(loaded.settings.server.wait, Span::seconds(300));
        assert_eq!(loaded.settings.server.proxies, ["a", "b"]);
        assert!(loaded.given.contains(&"server.port".to_owned()) && !loaded.given.contains(&"server.path".to_owned()));
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let (_folder, sources) = sources(
            "nam = 1\n[server]\nport = \"many\"\nwait = \"soon\"\n[extra]\na = 1\n",
            &[("FRAUD__SERVER__PROT", "3"), ("FRAUD__SERVER__PATH", "/x")],
        );
        let error = sources.load::<Outer>().unwrap_err();
        let text = error.to_string();
        for part in ["nam: no such key, did you mean `name`?", "server.port: ", "server.wait: ", "`port`?", "extra"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(error.problems.len(), 5, "{text}");
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let (_folder, mut sources) = sources("a = [", &[]);
        assert!(sources.load::<Outer>().unwrap_err().to_string().contains("settings.toml"));
        sources.file = Some("/nowhere/x.toml".into());
        assert!(sources.load::<Outer>().unwrap_err().to_string().contains("/nowhere/x.toml"));
    }

    #[test]
    fn cross_checks_run_beside_other_problems() {
        let (_folder, sources) = sources("x = 1\n[server]\nport = 0\n", &[]);
        assert_eq!(sources.load::<Outer>().unwrap_err().problems.len(), 2);
    }
}
