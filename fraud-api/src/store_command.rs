//! `fraud-api store init`: begins a shared store.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use fraud_api::settings::ApiSettings;
use fraud_core::error::{SharedStoreError, SnapshotError, StoreError};
use fraud_core::features::MemoryStore;
use fraud_core::store::redis::BlockingRedisStore;

const EXAMPLES: &str = "\
Examples:
  fraud-api store init --config fraud-api.toml
  FRAUD__STORE__REDIS__URL=redis://fraud-redis:6379 FRAUD__STORE__REDIS__EPOCH=2026-spring fraud-api store init
  fraud-api store init --config fraud-api.toml --load-state state.snapshot
                                 with the history that `fraud-stream replay --save-state` wrote

Prints the store's epoch; services may be pinned to it by store.redis.epoch. A store that is there is left as it is.
Exit status: 0 begun, or there already under the epoch asked for; 64 settings, or another store is there; 1 anything else.";

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Begins a store on a Redis that holds none
    Init(InitArgs),
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InitArgs {
    /// Begin with this saved state
    #[arg(long, value_name = "FILE")]
    load_state: Option<PathBuf>,
}

/// Why no store was begun.
#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error(transparent)]
    Shared(#[from] SharedStoreError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    State(#[from] SnapshotError),
}

impl StoreCommand {
    /// Runs it under these settings.
    pub(crate) fn run(&self, settings: &ApiSettings) -> ExitCode {
        let Self::Init(arguments) = self;
        let wanted = settings.store.redis.epoch.as_deref();
        match init(settings, arguments) {
            Ok(epoch) => println!("begun: epoch {epoch}"),
            Err(
                InitError::Shared(SharedStoreError::Exists { epoch })
                | InitError::Store(StoreError::Shared(SharedStoreError::Exists { epoch })),
            ) if Some(epoch.as_str()) == wanted => {
                println!("there already: epoch {epoch}");
            }
            Err(error) => {
                eprintln!("fraud-api: {error}");
                let usage =
                    !matches!(&error, InitError::Shared(SharedStoreError::Unreachable { .. }) | InitError::Store(_));
                return ExitCode::from(if usage { 64 } else { 1 });
            }
        }
        ExitCode::SUCCESS
    }
}

fn init(settings: &ApiSettings, arguments: &InitArgs) -> Result<String, InitError> {
    let redis = settings.store.redis()?;
    match &arguments.load_state {
        None => Ok(BlockingRedisStore::begin(redis)?),
        Some(path) => {
            let (history, _) = MemoryStore::restore(path, settings.store.settings())?;
            Ok(BlockingRedisStore::begin_with(redis, &history)?)
        }
    }
}
