//! What a replay is to do, checked.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use fraud_core::files::{Format, write};
use fraud_core::store::redis::RedisSettings;

use super::args::ReplayArgs;
use super::error::ReplayError;

/// Which column is the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Labels {
    /// None; a column `tx_fraud` is ignored.
    None,
    /// `tx_fraud`: 0 or 1.
    #[value(name = "tx_fraud")]
    TxFraud,
}

/// In which order the rows are observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// By event time, rows of the same second as the file has them.
    EventTime,
    /// As the file has them.
    Arrival,
}

/// What a replay is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Transactions to score.
    pub input: PathBuf,
    /// Where the assessments go.
    pub output: PathBuf,
    /// Where the feature matrix goes.
    pub features: Option<PathBuf>,
    /// The model file; the built-in model without one.
    pub model: Option<PathBuf>,
    /// The policy file; the default policy without one.
    pub policy: Option<PathBuf>,
    /// Whether and which labels are fed to the store.
    pub labels: Labels,
    /// Seconds from an event to the time at which its label is known.
    pub label_delay: u32,
    /// In which order the rows are observed.
    pub order: Order,
    /// Where the store's state goes at the end.
    pub save_state: Option<PathBuf>,
    /// The state to start from.
    pub load_state: Option<PathBuf>,
    /// The shared store to fill, instead of one in memory.
    pub store: Option<RedisSettings>,
    /// Unix seconds of `tx_time_seconds` 0.
    pub epoch: i64,
    /// Rows held in memory for sorting; more are sorted through temporary files.
    pub sort_rows: usize,
    /// Threads that assess.
    pub workers: usize,
    /// Whether progress is shown on standard error.
    pub progress: bool,
}

impl Options {
    /// Options for a replay of `input` into `output`, everything else as the command line has it by default,
    /// without a progress bar.
    #[must_use]
    pub fn new(input: &Path, output: &Path) -> Self {
        Self {
            input: input.to_owned(),
            output: output.to_owned(),
            features: None,
            model: None,
            policy: None,
            labels: Labels::None,
            label_delay: 7 * 86_400,
            order: Order::EventTime,
            save_state: None,
            load_state: None,
            store: None,
            epoch: 0,
            sort_rows: 500_000,
            workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            progress: false,
        }
    }

    /// Where rejected rows go; nowhere when the output is a device or a pipe.
    #[must_use]
    pub fn rejected(&self) -> Option<PathBuf> {
        let mut name = self.output.clone().into_os_string();
        name.push(".rejected.jsonl");
        (!is_special(&self.output)).then(|| name.into())
    }

    /// Finds what can be found wrong before any file is opened.
    pub(super) fn check(&self) -> Result<(), ReplayError> {
        Format::of(&self.input).map_err(ReplayError::Input)?;
        for path in [Some(&self.output), self.features.as_ref()].into_iter().flatten() {
            if !is_special(path) {
                write::format_of(path)?;
            }
        }
        let inputs = [
            ("--input", Some(&self.input)),
            ("--model", self.model.as_ref()),
            ("--policy", self.policy.as_ref()),
            ("--load-state", self.load_state.as_ref()),
        ];
        let rejected = self.rejected();
        let outputs = [
            ("--output", Some(&self.output)),
            ("--features", self.features.as_ref()),
            ("--save-state", self.save_state.as_ref()),
            ("the rejected rows", rejected.as_ref()),
        ];
        let clash = |one: &str, other: &str, path: &Path| {
            ReplayError::Arguments(format!("{one} and {other} are the same file, {}: name two", path.display()))
        };
        for (index, (name, path)) in outputs.iter().enumerate() {
            let Some(path) = path else { continue };
            for (other, taken) in inputs.iter().chain(&outputs[..index]) {
                // A state may be taken on and replaced by the one after it.
                let succession = (*other, *name) == ("--load-state", "--save-state");
                if taken.is_some_and(|taken| same_file(taken, path)) && !succession && !is_special(path) {
                    return Err(clash(other, name, path));
                }
            }
        }
        Ok(())
    }
}

/// Settings of a shared store. A replay is in no hurry.
fn shared(url: &str, prefix: &str, password: Option<&Path>) -> Result<RedisSettings, ReplayError> {
    let mut settings = RedisSettings::new(url);
    prefix.clone_into(&mut settings.prefix);
    settings.timeout = std::time::Duration::from_secs(10);
    if let Some(path) = password {
        let text = std::fs::read_to_string(path).map_err(ReplayError::io(path, "read"))?;
        settings.password = Some(text.trim_end().to_owned());
    }
    settings.check()?;
    Ok(settings)
}

/// Whether it is a device or pipe, such as `/dev/null`: written to as it is, never replaced.
pub(super) fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
}

fn same_file(one: &Path, other: &Path) -> bool {
    let canonical = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    one == other || canonical(one) == canonical(other)
}

impl TryFrom<ReplayArgs> for Options {
    type Error = ReplayError;

    fn try_from(arguments: ReplayArgs) -> Result<Self, ReplayError> {
        let ReplayArgs { input, output, features, model, policy, labels, label_delay, order, .. } = arguments;
        let store = arguments.store.as_deref().map(|url| {
            let password = arguments.store_password_file.as_deref();
            shared(url, &arguments.store_prefix, password)
        });
        let store = store.transpose()?;
        let defaults = Self::new(&input, &output);
        let options = Self {
            features,
            model,
            policy,
            labels,
            label_delay,
            order,
            save_state: arguments.save_state,
            load_state: arguments.load_state,
            store,
            epoch: arguments.time_epoch,
            progress: true,
            ..defaults
        };
        options.check()?;
        Ok(options)
    }
}
