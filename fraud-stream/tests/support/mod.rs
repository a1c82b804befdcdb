//! What the tests of replay share: transactions, files of them, and the command.
#![allow(dead_code)] // Each test file uses some of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fraud_core::files::write::{Column, TableWriter, Texts, Values};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::Value;

pub(crate) const DAY: i64 = 86_400;
pub(crate) const START: i64 = 1_522_540_800;

/// One row of a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) time: i64,
    pub(crate) customer: i64,
    pub(crate) terminal: i64,
    pub(crate) amount: f64,
    pub(crate) fraud: bool,
}

/// A small generator of numbers, the same everywhere.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Payments in order of time, about `per_day` a day, with equal seconds among them.
pub(crate) fn payments(days: i64, per_day: u64) -> Vec<Row> {
    let mut numbers = Numbers::new(7);
    let mut rows = Vec::new();
    for day in 0..days {
        let mut seconds: Vec<_> = (0..per_day).map(|_| numbers.below(DAY as u64) / 7 * 7).collect();
        seconds.sort_unstable();
        for second in seconds {
            let fraud = numbers.below(40) == 0;
            let amount = numbers.below(30_000) as f64 / 100.0;
            rows.push(Row {
                id: rows.len() as i64,
                time: START + day * DAY + second as i64,
                customer: numbers.below(25) as i64,
                terminal: numbers.below(40) as i64,
                amount: if fraud { amount + 220.0 } else { amount },
                fraud,
            });
        }
    }
    rows
}

/// Writes rows with the handbook's column names in the format of the extension.
pub(crate) fn write(path: &Path, rows: &[Row]) {
    let names = ["TRANSACTION_ID", "CUSTOMER_ID", "TERMINAL_ID", "TX_FRAUD"];
    let mut columns: Vec<_> = names.iter().map(|name| Column::integer(name)).collect();
    columns.push(Column::timestamp("TX_DATETIME"));
    columns.push(Column::float("TX_AMOUNT"));
    columns.push(Column::text("note"));
    let mut writer = TableWriter::create(path, &columns).unwrap();
    let integers = |of: fn(&Row) -> i64| rows.iter().map(of).collect::<Vec<_>>();
    let (ids, customers) = (integers(|row| row.id), integers(|row| row.customer));
    let (terminals, frauds) = (integers(|row| row.terminal), integers(|row| i64::from(row.fraud)));
    let times = integers(|row| row.time * 1_000_000);
    let amounts: Vec<_> = rows.iter().map(|row| row.amount).collect();
    let notes: Texts = rows.iter().map(|_| "a, \"b\"").collect();
    writer
        .write(&[
            Values::Integers(&ids),
            Values::Integers(&customers),
            Values::Integers(&terminals),
            Values::Integers(&frauds),
            Values::Timestamps(&times),
            Values::Floats(&amounts),
            Values::Texts(&notes),
        ])
        .unwrap();
    writer.finish().unwrap();
}

/// A folder with its files, gone at the end.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Runs `fraud-stream replay` in this folder.
    pub(crate) fn replay(&self, arguments: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_fraud-stream"))
            .current_dir(self.path())
            .arg("replay")
            .args(arguments.split_whitespace())
            .output()
            .unwrap()
    }

    /// Runs it and expects it to succeed; gives what it printed.
    pub(crate) fn replays(&self, arguments: &str) -> String {
        let output = self.replay(arguments);
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it and expects it to fail with that code; gives what it said.
    pub(crate) fn refuses(&self, arguments: &str, code: i32) -> String {
        let output = self.replay(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        said
    }
}

/// Columns of a Parquet file by name, numbers as f64.
pub(crate) fn parquet_columns(path: &Path, names: &[&str]) -> Vec<Vec<f64>> {
    use parquet::column::reader::ColumnReader;
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let mut columns = vec![Vec::new(); names.len()];
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).unwrap();
        let rows = group.metadata().num_rows() as usize;
        for (name, column) in names.iter().zip(&mut columns) {
            let leaf = (0..schema.num_columns()).find(|leaf| schema.column(*leaf).name() == *name);
            let leaf = leaf.unwrap_or_else(|| panic!("{} has no column {name}", path.display()));
            macro_rules! numbers {
                ($reader:expr, $kind:ty) => {{
                    let (mut values, mut levels): (Vec<$kind>, _) = (Vec::new(), Vec::new());
                    let read = $reader.read_records(rows, Some(&mut levels), None, &mut values).unwrap();
                    assert_eq!((read.0, values.len()), (rows, rows), "{name} has nulls");
                    column.extend(values.into_iter().map(|value| value as f64));
                }};
            }
            match group.get_column_reader(leaf).unwrap() {
                ColumnReader::Int32ColumnReader(mut reader) => numbers!(reader, i32),
                ColumnReader::Int64ColumnReader(mut reader) => numbers!(reader, i64),
                ColumnReader::FloatColumnReader(mut reader) => numbers!(reader, f32),
                ColumnReader::DoubleColumnReader(mut reader) => numbers!(reader, f64),
                _ => panic!("{name} is no number"),
            }
        }
    }
    columns
}

/// The names and values of each row of a small Parquet file.
pub(crate) fn parquet_rows(path: &Path) -> Vec<Vec<(String, Value)>> {
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let value = |field: Field| match field {
        Field::Bool(value) => value.into(),
        Field::Long(value) => value.into(),
        Field::Double(value) => value.into(),
        Field::Str(value) => value.into(),
        other => panic!("{other:?}"),
    };
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| row.unwrap().into_columns().into_iter().map(|(name, field)| (name, value(field))).collect())
        .collect()
}
