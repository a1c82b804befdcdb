//! Row groups of columns: Parquet.

use std::collections::HashSet;
use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, Type};

use super::target::Target;
use super::{Column, ColumnType, FileError, Texts, Values};

/// Rows per row group: the bytes depend on the rows alone, however they were cut into batches.
pub(super) const GROUP_ROWS: usize = 1 << 17;
/// Values looked at when a column's encoding is chosen.
const SAMPLE: usize = 1 << 13;

/// Collects rows until a row group is full.
pub(super) struct GroupWriter {
    path: std::path::PathBuf,
    columns: Vec<Column>,
    pending: Vec<Pending>,
    rows: usize,
    sink: Sink,
}

/// Encodings are chosen from the first row group, so the file begins with it.
enum Sink {
    Waiting(Target),
    Open(Box<SerializedFileWriter<Target>>),
    Failed,
}

enum Pending {
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    Texts(Texts),
    Booleans(Vec<bool>),
}

impl GroupWriter {
    pub(super) fn new(target: Target, columns: &[Column]) -> Self {
        let pending = columns.iter().map(|column| Pending::new(column.column_type)).collect();
        let path = target.path().to_owned();
        Self { path, columns: columns.to_vec(), pending, rows: 0, sink: Sink::Waiting(target) }
    }

    pub(super) fn write(&mut self, values: &[Values<'_>], rows: usize) -> Result<(), FileError> {
        let mut start = 0;
        while start < rows {
            let end = rows.min(start + GROUP_ROWS - self.rows);
            for (pending, values) in self.pending.iter_mut().zip(values) {
                pending.extend(values, start..end);
            }
            self.rows += end - start;
            start = end;
            if self.rows == GROUP_ROWS {
                self.flush()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<u64, FileError> {
        if self.rows > 0 || matches!(self.sink, Sink::Waiting(_)) {
            self.flush()?;
        }
        match std::mem::replace(&mut self.sink, Sink::Failed) {
            Sink::Open(writer) => writer.into_inner().map_err(|error| self.failed(error))?.commit(),
            Sink::Waiting(_) | Sink::Failed => Err(FileError::Discarded { path: self.path }),
        }
    }

    fn flush(&mut self) -> Result<(), FileError> {
        let writer = match std::mem::replace(&mut self.sink, Sink::Failed) {
            Sink::Open(writer) => Ok(writer),
            Sink::Waiting(target) => self.open(target).map(Box::new),
            Sink::Failed => return Err(FileError::Discarded { path: self.path.clone() }),
        };
        let mut writer = writer.map_err(|error| self.failed(error))?;
        if self.rows > 0 {
            self.write_group(&mut writer).map_err(|error| self.failed(error))?;
            self.pending.iter_mut().for_each(Pending::clear);
            self.rows = 0;
        }
        self.sink = Sink::Open(writer);
        Ok(())
    }

    fn open(&self, target: Target) -> Result<SerializedFileWriter<Target>, ParquetError> {
        let fields = self.columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
        let schema = Type::group_type_builder("schema").with_fields(fields).build()?;
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("fraud-core version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_dictionary_enabled(false);
        for (column, pending) in self.columns.iter().zip(&self.pending) {
            let path = ColumnPath::new(vec![column.name.clone()]);
            properties = if pending.repeats() {
                properties.set_column_dictionary_enabled(path, true)
            } else if let Pending::Integers(_) = pending {
                // Differences of neighbours need few bits, for counters and for ids of a small range alike.
                properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
            } else {
                properties
            };
        }
        SerializedFileWriter::new(target, Arc::new(schema), Arc::new(properties.build()))
    }

    fn write_group(&self, writer: &mut SerializedFileWriter<Target>) -> Result<(), ParquetError> {
        let mut group = writer.next_row_group()?;
        for pending in &self.pending {
            let Some(mut column) = group.next_column()? else { break };
            match (column.untyped(), pending) {
                (ColumnWriter::Int64ColumnWriter(out), Pending::Integers(values)) => {
                    out.write_batch(values, None, None)?;
                }
                (ColumnWriter::DoubleColumnWriter(out), Pending::Floats(values)) => {
                    out.write_batch(values, None, None)?;
                }
                (ColumnWriter::BoolColumnWriter(out), Pending::Booleans(values)) => {
                    out.write_batch(values, None, None)?;
                }
                (ColumnWriter::ByteArrayColumnWriter(out), Pending::Texts(values)) => {
                    let all = ByteArray::from(values.bytes());
                    let slices: Vec<_> = (0..values.len())
                        .map(|index| values.span(index))
                        .map(|span| all.slice(span.start, span.len()))
                        .collect();
                    out.write_batch(&slices, None, None)?;
                }
                _ => return Err(ParquetError::General("a column changed its type".to_owned())),
            }
            column.close()?;
        }
        group.close().map(drop)
    }

    fn failed(&self, error: ParquetError) -> FileError {
        let path = self.path.clone();
        match error {
            ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
                Ok(source) => FileError::Io { path, action: "write", source: *source },
                Err(other) => FileError::Encode { path, problem: other.to_string() },
            },
            other => FileError::Encode { path, problem: other.to_string() },
        }
    }
}

fn field(column: &Column) -> Result<Arc<Type>, ParquetError> {
    // Without a zone, as the handbook's files are: data frames of both can be compared and joined.
    let micros = LogicalType::timestamp(false, TimeUnit::MICROS);
    let (physical, logical) = match column.column_type {
        ColumnType::Integer => (Physical::INT64, None),
        ColumnType::Float => (Physical::DOUBLE, None),
        ColumnType::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        ColumnType::Boolean => (Physical::BOOLEAN, None),
        ColumnType::Timestamp => (Physical::INT64, Some(micros)),
    };
    let field = Type::primitive_type_builder(&column.name, physical).with_repetition(Repetition::REQUIRED);
    field.with_logical_type(logical).build().map(Arc::new)
}

impl Pending {
    fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Integer | ColumnType::Timestamp => Self::Integers(Vec::new()),
            ColumnType::Float => Self::Floats(Vec::new()),
            ColumnType::Text => Self::Texts(Texts::new()),
            ColumnType::Boolean => Self::Booleans(Vec::new()),
        }
    }

    fn extend(&mut self, values: &Values<'_>, range: Range<usize>) {
        match (self, values) {
            (Self::Integers(own), Values::Integers(new) | Values::Timestamps(new)) => {
                own.extend_from_slice(&new[range]);
            }
            (Self::Floats(own), Values::Floats(new)) => own.extend_from_slice(&new[range]),
            (Self::Texts(own), Values::Texts(new)) => own.extend(new, range),
            (Self::Booleans(own), Values::Booleans(new)) => own.extend_from_slice(&new[range]),
            // The table has compared the types before; a column left behind would fail in `write_group`.
            _ => {}
        }
    }

    fn clear(&mut self) {
        match self {
            Self::Integers(own) => own.clear(),
            Self::Floats(own) => own.clear(),
            Self::Texts(own) => own.clear(),
            Self::Booleans(own) => own.clear(),
        }
    }

    /// Whether values come so often that a dictionary pays.
    fn repeats(&self) -> bool {
        match self {
            Self::Integers(own) => repeats(own.len(), |row| own[row]),
            Self::Floats(own) => repeats(own.len(), |row| own[row].to_bits()),
            Self::Texts(own) => repeats(own.len(), |row| own.get(row)),
            Self::Booleans(_) => false,
        }
    }
}

/// Whether a value comes four times or more on average among evenly spread samples.
fn repeats<T: Hash + Eq>(rows: usize, value: impl Fn(usize) -> T) -> bool {
    let step = rows.div_ceil(SAMPLE).max(1);
    let distinct: HashSet<T> = (0..rows).step_by(step).map(value).collect();
    distinct.len() * 4 <= rows.div_ceil(step)
}
