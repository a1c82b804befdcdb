//! The command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use fraud_core::service::settings::Sources;

use crate::store_command::StoreCommand;

const EXAMPLES: &str = "\
Examples:
  fraud-api                                        the embedded model on 127.0.0.1:8000
  fraud-api --config fraud-api.toml
  FRAUD__SERVER__BIND=0.0.0.0:8000 fraud-api       every setting has such a name
  fraud-api --config fraud-api.toml --check-config
  fraud-api --print-config > fraud-api.toml        all settings with their values
  fraud-api --check-health                         ask the one that runs with these settings
  fraud-api --load-state state.bin                 begin with the history that
                                                   `fraud-stream replay --save-state` wrote
  fraud-api store init --config fraud-api.toml     begin the store that several services share in a Redis

Then:
  curl -s localhost:8000/predict -H 'content-type: application/json' -d '{\"transaction_id\": 1,
    \"customer_id\": 7, \"terminal_id\": 42, \"tx_amount\": 57.16, \"tx_datetime\": \"2026-01-31 12:00:00\"}'

Exit status: 0 after SIGTERM or SIGINT, 64 for bad settings, 1 for anything else.";

/// Serves fraud scores over HTTP.
#[derive(Debug, Parser)]
#[command(name = "fraud-api", version, about, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Settings file (TOML); also FRAUD_CONFIG
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Check the settings, report every problem, and exit
    #[arg(long)]
    pub(crate) check_config: bool,
    /// Print the settings in force, secrets masked, and exit
    #[arg(long, conflicts_with = "check_config")]
    pub(crate) print_config: bool,
    /// Ask the service that runs with these settings whether it is ready, and exit: 0 if so, else 1
    #[arg(long, conflicts_with_all = ["check_config", "print_config"])]
    pub(crate) check_health: bool,
    /// Begin with this saved state, unless there is a newer snapshot; also store.load_state
    #[arg(long, value_name = "FILE")]
    pub(crate) load_state: Option<PathBuf>,
}

/// What else it can do than serve.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The store that several services share
    #[command(subcommand)]
    Store(StoreCommand),
}

impl Cli {
    /// Where the settings come from.
    #[must_use]
    pub(crate) fn sources(&self, mut environment: BTreeMap<String, String>) -> Sources {
        let named = environment.remove("FRAUD_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        let overrides = self.load_state.iter().map(|path| ("store.load_state".to_owned(), path.display().to_string()));
        Sources { file: self.config.clone().or(named), overrides: overrides.collect(), environment }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
        let cli = Cli::parse_from(["fraud-api", "--load-state", "a.bin"]);
        let environment = BTreeMap::from([("FRAUD_CONFIG".to_owned(), "b.toml".to_owned())]);
        let sources = cli.sources(environment.clone());
        assert_eq!(sources.file, Some("b.toml".into()));
        assert_eq!(sources.overrides, [("store.load_state".to_owned(), "a.bin".to_owned())]);
        let cli = Cli::parse_from(["fraud-api", "--config", "c.toml"]);
        assert_eq!(cli.sources(environment).file, Some("c.toml".into()));
    }
}
