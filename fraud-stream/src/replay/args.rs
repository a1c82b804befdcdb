//! The command line of replay.

use std::path::PathBuf;

use clap::Args;

use super::options::{Labels, Order};

const EXAMPLES: &str = "\
Examples:
  Score a file with the built-in model:
    fraud-stream replay --input payments.parquet --output assessments.jsonl

  The same with the frauds of the file as labels, known a week later, and the quality against them:
    fraud-stream replay --input payments.parquet --output assessments.jsonl --labels tx_fraud

  The feature matrix, to train a model on:
    fraud-stream replay --input payments.csv --output a.jsonl --features features.parquet --labels tx_fraud

  Today's file on top of yesterday's state:
    fraud-stream replay --input today.jsonl --output a.jsonl --load-state state.snapshot --save-state state.snapshot

  History for services that share a Redis:
    fraud-stream replay --input past.parquet --output a.jsonl --labels tx_fraud --store redis://127.0.0.1:6379

Columns: transaction_id, customer_id, terminal_id, tx_amount, and tx_datetime (or tx_time_seconds); tx_fraud with
--labels tx_fraud; in either case. Formats by extension: .parquet, .csv, .jsonl, .ndjson, .json (lines).

Exit codes: 0 done, 64 arguments or settings, 65 the input cannot be used, 74 a file could not be read or written.";

/// Arguments of `fraud-stream replay`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReplayArgs {
    /// Transactions to score: .parquet, .csv, .jsonl, .ndjson or .json
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Where the assessments go: .jsonl, .csv or .parquet; rejected rows go to FILE.rejected.jsonl
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// Where the feature matrix goes: .parquet, .csv or .jsonl; `transaction_id` first
    #[arg(long, value_name = "FILE")]
    pub features: Option<PathBuf>,
    /// The model, an ONNX file; without it the built-in one
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Thresholds and rules, a TOML file; without it the model's own thresholds
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Whether the column `tx_fraud` is fed back as the label of each transaction
    #[arg(long, value_enum, default_value = "none")]
    pub labels: Labels,
    /// How long after its event a label becomes known, such as 7d or 12h
    #[arg(long, value_name = "SPAN", default_value = "7d", value_parser = fraud_core::duration::parse)]
    pub label_delay: u32,
    /// Whether rows are sorted by event time (equal seconds keep the file's order) or taken as they come
    #[arg(long, value_enum, default_value = "event-time")]
    pub order: Order,
    /// Where the store's state goes after the last row
    #[arg(long, value_name = "FILE")]
    pub save_state: Option<PathBuf>,
    /// The state to start from, made by --save-state
    #[arg(long, value_name = "FILE")]
    pub load_state: Option<PathBuf>,
    /// A Redis whose shared store is filled, redis://host:port; it is begun where there is none
    #[arg(long, value_name = "URL", conflicts_with_all = ["save_state", "load_state"])]
    pub store: Option<String>,
    /// What the keys of that store begin with
    #[arg(long, value_name = "TEXT", default_value = "fraud", requires = "store")]
    pub store_prefix: String,
    /// File with the password of that Redis
    #[arg(long, value_name = "FILE", requires = "store")]
    pub store_password_file: Option<PathBuf>,
    /// Where the summary goes as JSON
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// The time that `tx_time_seconds` counts from, RFC 3339
    #[arg(long, value_name = "TIME", default_value = "1970-01-01T00:00:00Z", value_parser = epoch)]
    pub time_epoch: i64,
}

fn epoch(text: &str) -> Result<i64, String> {
    let time = text.parse::<jiff::Timestamp>();
    time.map(jiff::Timestamp::as_second).map_err(|_| "write it like 2018-04-01T00:00:00Z".to_owned())
}
