//! `fraud-stream latency`: how long models take to assess one transaction, side by side.
//!
//! All models in one run, in turns: what else the machine does hits them alike. Each has the transactions observed in a
//! store of its own first; only `Scorer::assess` is timed, one transaction a call.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use fraud_core::error::ModelError;
use fraud_core::features::{MemoryStore, Profile, StoreSettings};
use fraud_core::files::{Columns, ReadOptions, Row, TransactionReader};
use fraud_core::model::LoadOptions;
use fraud_core::transaction::ParseOptions;
use fraud_core::{Model, Policy, Scorer, Transaction};
use serde::Serialize;

use crate::replay::ReplayError;

/// Rows read at once.
const CHUNK_ROWS: usize = 4_096;

const EXAMPLES: &str = "\
Example:
  A new model beside the one in service
    fraud-stream latency --input payments.parquet --model champion.onnx --model candidate.onnx

Answers one JSON object: {\"rows\": …, \"rounds\": …, \"models\": [{\"name\": …, \"version\": …, \"median_us\": …, \"p99_us\": …}, …]}, the
models in the order given. Labels of the file are not fed back.

Exit codes: 0 done, 64 arguments or a model that cannot be used, 65 the input cannot be used, 74 a file could not be read.";

/// Arguments of `fraud-stream latency`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct LatencyArgs {
    /// Transactions: .parquet, .csv, .jsonl, .ndjson or .json
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// A model, an ONNX file; may be given several times
    #[arg(long, value_name = "FILE", required = true)]
    pub model: Vec<PathBuf>,
    /// How many transactions of the file are used, from its beginning
    #[arg(long, default_value_t = 20_000)]
    pub rows: usize,
    /// How often each model assesses all of them
    #[arg(long, default_value_t = 11)]
    pub rounds: usize,
}

/// One model's times, in microseconds for one transaction.
#[derive(Debug, Clone, Serialize)]
pub struct Timing {
    /// The model's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Median over the rounds of a round's mean.
    pub median_us: f64,
    /// 99 of 100 transactions took at most so long, in one more round where each has its own clock readings.
    pub p99_us: f64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    /// Transactions a round.
    pub rows: usize,
    /// Rounds.
    pub rounds: usize,
    /// In the order asked for.
    pub models: Vec<Timing>,
}

/// Runs the command; the answer goes to standard output.
///
/// # Errors
/// [`ReplayError`].
pub fn from_arguments(arguments: &LatencyArgs) -> Result<(), ReplayError> {
    let latency = measure(arguments)?;
    println!("{}", serde_json::to_string(&latency).map_err(|error| ReplayError::Internal(error.to_string()))?);
    Ok(())
}

/// Measures.
///
/// # Errors
/// [`ReplayError`]: a model or an input that cannot be used, or a model that fails on a transaction.
pub fn measure(arguments: &LatencyArgs) -> Result<Latency, ReplayError> {
    if arguments.rows == 0 || arguments.rounds == 0 {
        return Err(ReplayError::Arguments("--rows and --rounds must be at least 1".to_owned()));
    }
    let transactions = read(arguments)?;
    let runners = arguments.model.iter().map(|path| {
        let model = Model::from_path(path, &LoadOptions::default())?;
        Runner::new(model, &transactions)
    });
    let mut runners = runners.collect::<Result<Vec<_>, ReplayError>>()?;
    for _ in 0..arguments.rounds {
        for runner in &mut runners {
            runner.round(&transactions)?;
        }
    }
    let models = runners.into_iter().map(|runner| runner.finish(&transactions)).collect::<Result<_, _>>()?;
    Ok(Latency { rows: transactions.len(), rounds: arguments.rounds, models })
}

fn read(arguments: &LatencyArgs) -> Result<Vec<Transaction>, ReplayError> {
    let parse = ParseOptions { any_case: true, ..ParseOptions::default() };
    let options = ReadOptions { parse, columns: Columns::All };
    let mut reader = TransactionReader::open(&arguments.input, options).map_err(ReplayError::Input)?;
    let mut rows: Vec<Row> = Vec::new();
    let mut transactions = Vec::new();
    let (mut count, mut first) = (0, None);
    while transactions.len() < arguments.rows && reader.read(&mut rows, CHUNK_ROWS).map_err(ReplayError::Input)? > 0 {
        for row in rows.drain(..) {
            count += 1;
            match row.outcome {
                Ok(parsed) => transactions.push(parsed.transaction),
                Err(error) => first = first.or_else(|| Some((row.number, error.to_string()))),
            }
        }
    }
    transactions.truncate(arguments.rows);
    if transactions.is_empty() {
        let (row, reason) = first.unwrap_or_else(|| (0, "there are no rows".to_owned()));
        return Err(ReplayError::NothingValid { path: arguments.input.clone(), rows: count, row, reason });
    }
    Ok(transactions)
}

/// A model with the profiles it asks for.
struct Runner {
    scorer: Scorer,
    profiles: Vec<Profile>,
    /// Mean microseconds of each round.
    rounds: Vec<f64>,
}

impl Runner {
    fn new(model: Model, transactions: &[Transaction]) -> Result<Self, ReplayError> {
        let scorer = Scorer::new(Arc::new(model), &Policy::default())?;
        let defaults = StoreSettings::default();
        let history = defaults.history.max(scorer.features().history());
        let store = MemoryStore::new(StoreSettings { history, max_bytes: u64::MAX, ..defaults });
        let mut profiles = vec![Profile::default(); transactions.len()];
        for ((row, transaction), profile) in (1..).zip(transactions).zip(&mut profiles) {
            store
                .observe(transaction, scorer.profile_plan(), profile)
                .map_err(|source| ReplayError::Store { row, source })?;
        }
        Ok(Self { scorer, profiles, rounds: Vec::new() })
    }

    fn round(&mut self, transactions: &[Transaction]) -> Result<(), ModelError> {
        let start = Instant::now();
        for (transaction, profile) in transactions.iter().zip(&self.profiles) {
            std::hint::black_box(self.scorer.assess(transaction, profile)?);
        }
        self.rounds.push(start.elapsed().as_secs_f64() * 1e6 / transactions.len() as f64);
        Ok(())
    }

    fn finish(mut self, transactions: &[Transaction]) -> Result<Timing, ReplayError> {
        let mut single = Vec::with_capacity(transactions.len());
        for (transaction, profile) in transactions.iter().zip(&self.profiles) {
            let start = Instant::now();
            std::hint::black_box(self.scorer.assess(transaction, profile)?);
            single.push(start.elapsed().as_secs_f64() * 1e6);
        }
        single.sort_by(f64::total_cmp);
        self.rounds.sort_by(f64::total_cmp);
        let model = self.scorer.model();
        Ok(Timing {
            name: model.map_or_else(String::new, |model| model.name().to_owned()),
            version: model.map_or_else(String::new, |model| model.version().to_owned()),
            median_us: self.rounds[self.rounds.len() / 2],
            p99_us: single[(single.len() - 1) * 99 / 100],
        })
    }
}
