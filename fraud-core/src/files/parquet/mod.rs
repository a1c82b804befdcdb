//! Parquet, read through the crate's column decoders: no Arrow, and no trust in what a file says of itself.

mod column;
mod input;
mod thrift;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FooterTail, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use self::column::Column;
use self::input::{Input, Pages};
use self::thrift::Scan;
use super::{Columns, Header, Problem, Progress, ReadOptions, Row, RowError, Source};
use crate::transaction::{RawTransaction, RawValue};

/// The eight bytes at the end: length of the metadata, and `PAR1`.
const TAIL_BYTES: u64 = 8;
/// Largest metadata that is read. A row group costs about a hundred bytes a column.
const MAX_METADATA_BYTES: u64 = 16 << 20;
/// No file packs more rows into a byte; one that claims to is not to be believed.
const MAX_ROWS_PER_BYTE: u64 = 64;
/// Rows decoded at once.
const BATCH_ROWS: usize = 4_096;

pub(super) struct ParquetReader {
    input: Arc<Input>,
    metadata: ParquetMetaData,
    options: ReadOptions,
    /// The columns that are read, and where each stands among the file's leaves.
    columns: Vec<(usize, Column)>,
    unknown: u32,
    integer_ids: bool,
    /// The row group to open next, and what is left of the open one and of the decoded batch.
    next_group: usize,
    group_rows: usize,
    batch_rows: usize,
    done: u64,
    broken: bool,
}

impl From<ParquetError> for Problem {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::General(problem) | ParquetError::EOF(problem) | ParquetError::NYI(problem) => {
                Self::Damaged(problem)
            }
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// The decoders meet hostile bytes with an error nearly always; where one panics instead, it is that error.
fn guarded<T>(read: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(Problem::Damaged("its contents contradict each other".to_owned())))
}

impl ParquetReader {
    pub(super) fn open(source: Box<dyn Source>, length: u64, options: ReadOptions) -> Result<Self, Problem> {
        guarded(|| {
            let input = Input::new(source, length);
            let metadata = metadata(&input)?;
            check_sizes(&metadata, length)?;
            Self::with_metadata(input, metadata, options)
        })
    }

    fn with_metadata(input: Input, metadata: ParquetMetaData, options: ReadOptions) -> Result<Self, Problem> {
        let schema = metadata.file_metadata().schema_descr_ptr();
        // A nested column counts once, under the name of its root.
        let roots = schema.root_schema().get_fields();
        let header = Header::new(roots.iter().map(|field| field.name()), options.parse.labels)?;
        let mut columns = Vec::new();
        let mut integer_ids = false;
        for (name, root) in header.known() {
            if matches!(name, "tx_time_days" | "tx_fraud_scenario") || (name == "tx_fraud" && !options.parse.labels) {
                continue;
            }
            let Some(leaf) = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == root) else {
                return Err(Problem::Type { column: name, found: "empty".to_owned(), expected: "a column of values" });
            };
            let column = Column::new(name, schema.column(leaf))?;
            let is_id = name == "transaction_id";
            integer_ids |= is_id && column.is_integer();
            let time = matches!(name, "tx_datetime" | "tx_time_seconds");
            if options.columns == Columns::All || time || (is_id && !column.is_integer()) {
                columns.push((leaf, column));
            }
        }
        for group in metadata.row_groups() {
            for (leaf, column) in &columns {
                check_chunk(group, &group.columns()[*leaf], column.name)?;
            }
        }
        Ok(Self {
            input: Arc::new(input),
            metadata,
            options,
            columns,
            unknown: header.unknown,
            integer_ids,
            next_group: 0,
            group_rows: 0,
            batch_rows: 0,
            done: 0,
            broken: false,
        })
    }

    pub(super) fn progress(&self) -> Progress {
        let total = self.metadata.row_groups().iter().map(|group| group.num_rows().unsigned_abs()).sum();
        Progress { done: self.done, total }
    }

    pub(super) fn integer_ids(&self) -> Option<bool> {
        self.integer_ids.then_some(true)
    }

    pub(super) fn read(&mut self, rows: &mut Vec<Row>, limit: usize) -> Result<(), Problem> {
        if self.broken {
            return Ok(());
        }
        let mut left = limit;
        while left > 0 {
            if self.batch_rows == 0 {
                let filled = guarded(|| self.fill());
                self.broken = filled.is_err();
                if !filled? {
                    break;
                }
            }
            let take = left.min(self.batch_rows);
            for _ in 0..take {
                let row = self.row();
                rows.push(row);
            }
            self.batch_rows -= take;
            left -= take;
        }
        Ok(())
    }

    /// Decodes the next batch; false at the end of the file.
    fn fill(&mut self) -> Result<bool, Problem> {
        while self.group_rows == 0 {
            let Some(group) = self.metadata.row_groups().get(self.next_group) else { return Ok(false) };
            self.group_rows = usize::try_from(group.num_rows()).unwrap_or_default();
            for (leaf, column) in &mut self.columns {
                let chunk = group.column(*leaf);
                let inner = SerializedPageReader::new(self.input.clone(), chunk, self.group_rows, None)?;
                let value_bytes = Column::value_bytes(chunk.column_descr());
                column.start(Box::new(Pages::new(inner, value_bytes)));
            }
            self.next_group += 1;
        }
        let batch = self.group_rows.min(BATCH_ROWS);
        for (_, column) in &mut self.columns {
            column.read(batch)?;
        }
        self.group_rows -= batch;
        self.batch_rows = batch;
        Ok(true)
    }

    fn row(&mut self) -> Row {
        let mut raw = RawTransaction { unknown_fields: self.unknown, ..RawTransaction::default() };
        if self.options.columns == Columns::TimeAndId {
            for field in [&mut raw.transaction_id, &mut raw.customer_id, &mut raw.terminal_id, &mut raw.tx_amount] {
                *field = RawValue::Integer(0);
            }
        }
        for (_, column) in &mut self.columns {
            let name = column.name;
            if let Some(field) = raw.field_mut(name) {
                *field = column.next();
            }
        }
        self.done += 1;
        let mut parse = self.options.parse;
        parse.labels &= self.options.columns == Columns::All;
        Row { number: self.done, outcome: raw.validate(parse).map_err(RowError::from) }
    }
}

/// Reads the metadata at the file's end.
fn metadata(input: &Input) -> Result<ParquetMetaData, Problem> {
    let damaged = |problem: &str| Problem::Damaged(problem.to_owned());
    let length = input.len();
    if length < TAIL_BYTES + 4 {
        return Err(damaged("it is too short to be one"));
    }
    let tail = input.get_bytes(length - TAIL_BYTES, TAIL_BYTES as usize)?;
    let tail: [u8; TAIL_BYTES as usize] = tail[..].try_into().map_err(|_| damaged("it has no end"))?;
    let tail = FooterTail::try_new(&tail).map_err(|_| {
        damaged("its last bytes are not PAR1: it was cut, is still being written, or is something else")
    })?;
    if tail.is_encrypted_footer() {
        return Err(damaged("it is encrypted, which is not read"));
    }
    let bytes = tail.metadata_length() as u64;
    if bytes > length - TAIL_BYTES || bytes > MAX_METADATA_BYTES {
        return Err(Problem::Damaged(format!(
            "it claims {bytes} bytes of metadata; the file has {length}, and at most {MAX_METADATA_BYTES} are read"
        )));
    }
    let encoded = input.get_bytes(length - TAIL_BYTES - bytes, bytes as usize)?;
    Scan::new(&encoded).metadata_is_sane().ok_or_else(|| {
        damaged("its metadata is unreadable, or its schema has more than 10,000 entries or 64 levels")
    })?;
    Ok(ParquetMetaDataReader::decode_metadata(&encoded)?)
}

/// Holds the row counts against each other and against the file's size.
fn check_sizes(metadata: &ParquetMetaData, length: u64) -> Result<(), Problem> {
    let mut rows = 0u64;
    for group in metadata.row_groups() {
        let counted = u64::try_from(group.num_rows()).ok().and_then(|count| rows.checked_add(count));
        rows = counted.ok_or_else(|| Problem::Damaged("a row group has an impossible number of rows".to_owned()))?;
    }
    if rows > length.saturating_mul(MAX_ROWS_PER_BYTE) {
        return Err(Problem::Damaged(format!("it claims {rows} rows in {length} bytes")));
    }
    Ok(())
}

/// Holds a column chunk's frame against its row group, and its packing against what can be unpacked safely.
fn check_chunk(group: &RowGroupMetaData, chunk: &ColumnChunkMetaData, name: &str) -> Result<(), Problem> {
    let damaged = |problem: String| Err(Problem::Damaged(format!("column {name}: {problem}")));
    match chunk.compression() {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) | Compression::LZ4_RAW => {}
        other => {
            return damaged(format!(
                "it is packed with {other}, which is not read; write the file with snappy, zstd, lz4_raw or none"
            ));
        }
    }
    let offsets = [chunk.data_page_offset(), chunk.dictionary_page_offset().unwrap_or(0), chunk.compressed_size()];
    if offsets.iter().any(|offset| *offset < 0) || chunk.num_values() != group.num_rows() {
        return damaged("its offsets or counts are impossible".to_owned());
    }
    Ok(())
}
