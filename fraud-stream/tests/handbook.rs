//! The handbook's published transactions: replay's features against the definitions, computed here in another way
//! (each key's whole history at once, windows by binary search), and against the authors' own values.
//!
//! The data lies outside of the project; without it these tests say so and pass.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::HashMap;
use std::path::PathBuf;

use fraud_core::files::write::{Column, TableWriter, Values};
use fraud_stream::replay::{Labels, Options, run};
use support::{DAY, Folder, parquet_columns};

const FEATURES: [&str; 15] = [
    "TX_AMOUNT",
    "TX_DURING_WEEKEND",
    "TX_DURING_NIGHT",
    "CUSTOMER_ID_NB_TX_1DAY_WINDOW",
    "CUSTOMER_ID_AVG_AMOUNT_1DAY_WINDOW",
    "CUSTOMER_ID_NB_TX_7DAY_WINDOW",
    "CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW",
    "CUSTOMER_ID_NB_TX_30DAY_WINDOW",
    "CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW",
    "TERMINAL_ID_NB_TX_1DAY_WINDOW",
    "TERMINAL_ID_RISK_1DAY_WINDOW",
    "TERMINAL_ID_NB_TX_7DAY_WINDOW",
    "TERMINAL_ID_RISK_7DAY_WINDOW",
    "TERMINAL_ID_NB_TX_30DAY_WINDOW",
    "TERMINAL_ID_RISK_30DAY_WINDOW",
];
/// 2018-04-01, from which the data counts its seconds.
const START: i64 = 1_522_540_800;

fn handbook() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/handbook");
    if folder.join("transactions.parquet").exists() {
        return Some(folder);
    }
    println!("skipped: {} is not there", folder.display());
    None
}

/// The columns of the published transactions, in their order, which is that of time.
struct Data {
    ids: Vec<i64>,
    customers: Vec<i64>,
    terminals: Vec<i64>,
    times: Vec<i64>,
    cents: Vec<i64>,
    frauds: Vec<i64>,
}

impl Data {
    fn read(days: i64) -> Option<Self> {
        let names = ["transaction_id", "customer_id", "terminal_id", "tx_time_seconds", "tx_amount", "tx_fraud"];
        let columns = parquet_columns(&handbook()?.join("transactions.parquet"), &names);
        let rows = columns[3].partition_point(|second| *second < (days * DAY) as f64);
        let integers = |column: usize, scale: f64| {
            columns[column][..rows].iter().map(|value| (value * scale).round() as i64).collect::<Vec<_>>()
        };
        let times: Vec<_> = integers(3, 1.0).into_iter().map(|second| START + second).collect();
        assert!(times.is_sorted());
        Some(Self {
            ids: integers(0, 1.0),
            customers: integers(1, 1.0),
            terminals: integers(2, 1.0),
            times,
            cents: integers(4, 100.0),
            frauds: integers(5, 1.0),
        })
    }

    fn write(&self, path: &std::path::Path) {
        let integers = ["transaction_id", "customer_id", "terminal_id", "tx_time_seconds", "tx_fraud"];
        let mut columns: Vec<_> = integers.iter().map(|name| Column::integer(name)).collect();
        columns.push(Column::float("tx_amount"));
        let mut writer = TableWriter::create(path, &columns).unwrap();
        let amounts: Vec<_> = self.cents.iter().map(|cents| *cents as f64 / 100.0).collect();
        writer
            .write(&[
                Values::Integers(&self.ids),
                Values::Integers(&self.customers),
                Values::Integers(&self.terminals),
                Values::Integers(&self.times),
                Values::Integers(&self.frauds),
                Values::Floats(&amounts),
            ])
            .unwrap();
        writer.finish().unwrap();
    }

    /// The fifteen features by their definitions, column by column.
    fn features(&self) -> Vec<Vec<f64>> {
        let mut features = vec![vec![f64::NAN; self.ids.len()]; FEATURES.len()];
        for (row, time) in self.times.iter().enumerate() {
            let day_of_week = (time / DAY + 4) % 7; // 0 is Sunday
            features[0][row] = self.cents[row] as f64 / 100.0;
            features[1][row] = f64::from(u8::from(day_of_week == 0 || day_of_week == 6));
            features[2][row] = f64::from(u8::from(time % DAY < 7 * 3_600));
        }
        for history in histories(&self.customers) {
            let times: Vec<_> = history.iter().map(|row| self.times[*row]).collect();
            let cents = running_sum(history.iter().map(|row| self.cents[*row]));
            for (place, row) in history.iter().enumerate() {
                for (window, column) in [(1, 3), (7, 5), (30, 7)] {
                    let first = times.partition_point(|time| *time <= times[place] - window * DAY);
                    let count = (place + 1 - first) as f64;
                    features[column][*row] = count;
                    features[column + 1][*row] = (cents[place + 1] - cents[first]) as f64 / 100.0 / count;
                }
            }
        }
        for history in histories(&self.terminals) {
            let times: Vec<_> = history.iter().map(|row| self.times[*row]).collect();
            let frauds = running_sum(history.iter().map(|row| self.frauds[*row]));
            for (place, row) in history.iter().enumerate() {
                let edge = times[place] - 7 * DAY;
                let end = times.partition_point(|time| *time <= edge);
                for (window, column) in [(1, 9), (7, 11), (30, 13)] {
                    let first = times.partition_point(|time| *time <= edge - window * DAY);
                    let count = end - first;
                    features[column][*row] = count as f64;
                    features[column + 1][*row] = (frauds[end] - frauds[first]) as f64 / count.max(1) as f64;
                }
            }
        }
        features
    }

    /// Rows of a customer that has another transaction in the same second.
    fn ties(&self) -> Vec<bool> {
        let mut seen: HashMap<(i64, i64), u32> = HashMap::new();
        let keys = || self.customers.iter().copied().zip(self.times.iter().copied());
        keys().for_each(|key| *seen.entry(key).or_default() += 1);
        keys().map(|key| seen[&key] > 1).collect()
    }
}

/// The rows of each key, in their order.
fn histories(keys: &[i64]) -> impl Iterator<Item = Vec<usize>> {
    let mut histories: HashMap<i64, Vec<usize>> = HashMap::new();
    for (row, key) in keys.iter().enumerate() {
        histories.entry(*key).or_default().push(row);
    }
    histories.into_values()
}

fn running_sum(values: impl Iterator<Item = i64>) -> Vec<i64> {
    let sums = values.scan(0, |sum, value| {
        *sum += value;
        Some(*sum)
    });
    std::iter::once(0).chain(sums).collect()
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-9 * other.abs().max(1e-300)
}

/// The matrix as replay writes it: ids, then features.
fn replayed(folder: &Folder, input: &std::path::Path) -> (Vec<f64>, Vec<Vec<f64>>) {
    let matrix = folder.file("features.parquet");
    let options = Options {
        labels: Labels::TxFraud,
        features: Some(matrix.clone()),
        ..Options::new(input, &folder.file("out.jsonl"))
    };
    let summary = run(&options).unwrap();
    print!("{summary}");
    let mut columns = parquet_columns(&matrix, &["transaction_id"].into_iter().chain(FEATURES).collect::<Vec<_>>());
    (columns.remove(0), columns)
}

fn assert_definitions(data: &Data, (ids, features): &(Vec<f64>, Vec<Vec<f64>>)) {
    assert!(ids.iter().copied().eq(data.ids.iter().map(|id| *id as f64)), "another order of rows");
    for ((name, column), expected) in FEATURES.iter().zip(features).zip(data.features()) {
        assert_eq!(column.len(), expected.len());
        let exact = !name.contains("AVG") && !name.contains("RISK") && *name != "TX_AMOUNT";
        let same = |one: f64, other: f64| if exact { one == other } else { close(one, other) };
        let wrong = column.iter().zip(&expected).filter(|(one, other)| !same(**one, **other)).count();
        assert_eq!(wrong, 0, "{name} differs in {wrong} of {} rows", ids.len());
    }
}

/// Against the authors' own values, where those are there: days 0 to 2 and 50 to 64.
fn assert_sample(data: &Data, (ids, features): &(Vec<f64>, Vec<Vec<f64>>), least: usize) {
    let Some(folder) = handbook() else { return };
    let names: Vec<_> = ["TRANSACTION_ID"].into_iter().chain(FEATURES).collect();
    let sample = parquet_columns(&folder.join("features_sample.parquet"), &names);
    let place: HashMap<u64, usize> = ids.iter().enumerate().map(|(row, id)| (*id as u64, row)).collect();
    let ties = data.ties();
    let (mut compared, mut tied) = (0, 0);
    for (sampled, id) in sample[0].iter().enumerate() {
        let Some(row) = place.get(&(*id as u64)) else { continue };
        let same = (0..FEATURES.len()).all(|column| close(features[column][*row], sample[column + 1][sampled]));
        compared += 1;
        tied += usize::from(!same);
        assert!(same || ties[*row], "transaction {id} differs and is no tie");
    }
    println!("{compared} rows agree with the authors' values, {tied} ties apart");
    assert!(compared >= least, "only {compared} rows were compared");
}

/// The first three weeks: every definition, and the authors' values of days 0 to 2.
#[test]
fn features_of_the_first_weeks() {
    let Some(data) = Data::read(21) else { return };
    let folder = Folder::new();
    data.write(&folder.file("in.parquet"));
    let matrix = replayed(&folder, &folder.file("in.parquet"));
    assert_definitions(&data, &matrix);
    assert_sample(&data, &matrix, 28_000);
}

/// All 1,754,155 transactions. Takes a while without optimisation: run with `--ignored`, as `make test-all` does.
#[test]
#[ignore = "takes minutes in a debug build; make test-all runs it"]
fn features_of_all_transactions() {
    let (Some(data), Some(source)) = (Data::read(i64::MAX / DAY), handbook()) else { return };
    assert_eq!(data.ids.len(), 1_754_155);
    let folder = Folder::new();
    let matrix = replayed(&folder, &source.join("transactions.parquet"));
    assert_definitions(&data, &matrix);
    assert_sample(&data, &matrix, 170_000);
}
