//! The command lines of the Kafka edge.

use std::net::ToSocketAddrs;
use std::path::PathBuf;

use clap::Args;
use fraud_core::service::probe;
use fraud_core::service::settings::{Sources, process_environment};

use super::error::StreamError;
use super::settings::StreamSettings;

const EXAMPLES: &str = "\
Settings come from the defaults, then a TOML file, then the environment, then --set:
  FRAUD__KAFKA__BROKERS=broker:9092 fraud-stream run --config stream.toml --set state.folder=/var/lib/fraud-stream

Exit codes: 0 ended by a signal, 64 settings, 69 broker or health, 70 model or a fault of ours, 74 files, 75 the shutdown took
too long, 76 a newer instance took over, 77 not authorised, 78 records or state were lost.";

/// Where settings come from.
#[derive(Debug, Clone, Args)]
pub struct SettingsArgs {
    /// Settings, a TOML file; by default the one that `FRAUD_CONFIG` names
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, over all others
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
}

/// Arguments of `fraud-stream run`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Reads and checks the settings, and ends
    #[arg(long)]
    check_config: bool,
    /// Asks the one that runs with these settings whether it is ready, and ends: exit code 0 if so, else 69
    #[arg(long, conflicts_with = "check_config")]
    check_health: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| "write it as KEY=VALUE".to_owned())?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl SettingsArgs {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`StreamError::Settings`] with every problem there is.
    pub fn load(&self) -> Result<StreamSettings, StreamError> {
        let environment = process_environment();
        let file = self.config.clone().or_else(|| environment.get("FRAUD_CONFIG").map(PathBuf::from));
        let sources = Sources { file, environment, overrides: self.set.clone() };
        Ok(sources.load::<StreamSettings>()?.settings)
    }
}

/// `fraud-stream run`.
///
/// # Errors
/// [`StreamError`]; its exit code says whose fault it is.
pub fn run_command(arguments: &RunArgs) -> Result<(), StreamError> {
    let settings = arguments.settings.load()?;
    if arguments.check_config {
        println!("the settings are fine");
        return Ok(());
    }
    if arguments.check_health {
        return check_health(&settings.server.bind);
    }
    super::run(&settings)
}

fn check_health(bind: &str) -> Result<(), StreamError> {
    let address = bind.to_socket_addrs().ok().and_then(|mut addresses| addresses.next()).ok_or_else(|| {
        StreamError::Arguments(format!("`server.bind` is {bind:?}: nobody listens there who could be asked"))
    })?;
    Ok(probe::ready(address, false)?)
}
