//! Comma-separated values with a header, quotes as in RFC 4180.

use std::io::{BufRead, BufReader};

use csv_core::ReadRecordResult;

use super::json_lines::check_text;
use super::{Header, MAX_LINE_BYTES, Problem, Progress, ReadOptions, Row, RowError, Source};
use crate::transaction::{ParseOptions, RawTransaction, RawValue};

const BUFFER_BYTES: usize = 1 << 17;
/// More columns than any file of transactions has.
const MAX_CELLS: usize = 4_096;

pub(super) struct CsvReader {
    records: Records,
    options: ParseOptions,
    columns: Vec<(&'static str, usize)>,
    cells: usize,
    unknown: u32,
}

impl CsvReader {
    pub(super) fn open(source: Box<dyn Source>, total: u64, options: ReadOptions) -> Result<Self, Problem> {
        let mut input = BufReader::with_capacity(BUFFER_BYTES, source);
        let bom = check_text(input.fill_buf()?)?;
        input.consume(bom);
        let mut records = Records {
            input,
            core: csv_core::Reader::new(),
            text: vec![0; 4_096],
            ends: vec![0; 64],
            blank_lines: 0,
            done: bom as u64,
            total,
        };
        let damaged = |problem: &str| Problem::Damaged(problem.to_owned());
        let names = match records.next()? {
            None => return Err(damaged("it is empty; the first line must name the columns")),
            Some(Record { cells: None, .. }) => {
                return Err(damaged("its first line is too long to be a header that names the columns"));
            }
            Some(Record { cells: Some(cells), .. }) => {
                let names: Result<Vec<_>, _> = cells.map(|cell| std::str::from_utf8(cell).map(str::trim)).collect();
                let names = names.map_err(|_| damaged("its header is not UTF-8"))?;
                names.into_iter().map(str::to_owned).collect::<Vec<_>>()
            }
        };
        let header = Header::new(names.iter().map(String::as_str), options.parse.labels)?;
        // Days and scenario never matter, the label only when it is asked for.
        let wanted = |name: &str| match name {
            "tx_time_days" | "tx_fraud_scenario" => false,
            "tx_fraud" => options.parse.labels,
            _ => true,
        };
        let columns = header.known().filter(|(name, _)| wanted(name)).collect();
        Ok(Self { records, options: options.parse, columns, cells: names.len(), unknown: header.unknown })
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { done: self.records.done, total: self.records.total }
    }

    pub(super) fn read(&mut self, rows: &mut Vec<Row>, limit: usize) -> Result<(), Problem> {
        for _ in 0..limit {
            let Some(record) = self.records.next()? else { return Ok(()) };
            let outcome = match record.cells {
                None => Err(RowError::TooLong { limit: MAX_LINE_BYTES }),
                Some(cells) if cells.len() != self.cells => {
                    Err(RowError::Ragged { expected: self.cells, found: cells.len() })
                }
                Some(cells) => {
                    let mut raw = RawTransaction { unknown_fields: self.unknown, ..RawTransaction::default() };
                    for (name, position) in &self.columns {
                        if let Some(field) = raw.field_mut(name) {
                            *field = value(name, cells.cell(*position));
                        }
                    }
                    raw.validate(self.options).map_err(RowError::from)
                }
            };
            rows.push(Row { number: record.line, outcome });
        }
        Ok(())
    }
}

/// What a cell holds, by the column it stands in: a file without types has only the name to go by.
fn value<'a>(name: &str, cell: &'a [u8]) -> RawValue<'a> {
    let Ok(text) = std::str::from_utf8(cell) else { return RawValue::NotUtf8 };
    let text = text.trim();
    match name {
        _ if text.is_empty() => RawValue::Null,
        "tx_amount" | "tx_time_seconds" => number(text),
        "tx_fraud" => match text {
            "true" | "True" | "TRUE" => RawValue::Boolean(true),
            "false" | "False" | "FALSE" => RawValue::Boolean(false),
            _ => number(text),
        },
        _ => RawValue::Text(text.into()),
    }
}

fn number(text: &str) -> RawValue<'_> {
    if let Ok(value) = text.parse::<i64>() {
        return RawValue::Integer(value);
    }
    match text.parse::<f64>() {
        Ok(_) if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => RawValue::OutOfRange,
        Ok(value) => RawValue::Float(value),
        Err(_) => RawValue::Text(text.into()),
    }
}

/// Splits the bytes into records, none of them longer than the limit in memory.
struct Records {
    input: BufReader<Box<dyn Source>>,
    core: csv_core::Reader,
    text: Vec<u8>,
    ends: Vec<usize>,
    /// Line ends skipped between records, which the splitter did not see.
    blank_lines: u64,
    done: u64,
    total: u64,
}

struct Record<'a> {
    /// The line that it starts on, from 1.
    line: u64,
    /// `None` when it is longer than the limit.
    cells: Option<Cells<'a>>,
}

/// The cells of a record.
#[derive(Clone)]
struct Cells<'a> {
    text: &'a [u8],
    ends: &'a [usize],
    next: usize,
}

impl<'a> Cells<'a> {
    fn cell(&self, index: usize) -> &'a [u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start..self.ends[index]]
    }
}

impl<'a> Iterator for Cells<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let index = self.next;
        self.next += 1;
        (index < self.ends.len()).then(|| self.cell(index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.ends.len().saturating_sub(self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Cells<'_> {}

impl Records {
    fn next(&mut self) -> Result<Option<Record<'_>>, Problem> {
        self.skip_line_ends()?;
        let line = self.core.line() + self.blank_lines;
        let (mut written, mut ended, mut too_long) = (0, 0, false);
        loop {
            let input = self.input.fill_buf()?;
            let (result, used, wrote, ends) =
                self.core.read_record(input, &mut self.text[written..], &mut self.ends[ended..]);
            self.input.consume(used);
            self.done += used as u64;
            written += wrote;
            ended += ends;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if !too_long && self.text.len() < MAX_LINE_BYTES => {
                    self.text.resize(self.text.len() * 2, 0);
                }
                ReadRecordResult::OutputEndsFull if !too_long && self.ends.len() < MAX_CELLS => {
                    self.ends.resize(self.ends.len() * 2, 0);
                }
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    // The rest of the record goes by unseen.
                    too_long = true;
                    (written, ended) = (0, 0);
                }
                ReadRecordResult::Record => {
                    let cells = Cells { text: &self.text[..written], ends: &self.ends[..ended], next: 0 };
                    return Ok(Some(Record { line, cells: (!too_long).then_some(cells) }));
                }
                ReadRecordResult::End => return Ok(None),
            }
        }
    }

    /// Takes the line ends before a record, so that its line is known before its first byte.
    fn skip_line_ends(&mut self) -> Result<(), Problem> {
        loop {
            let input = self.input.fill_buf()?;
            let length = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if length == 0 {
                return Ok(());
            }
            self.blank_lines += input[..length].iter().filter(|byte| **byte == b'\n').count() as u64;
            self.input.consume(length);
            self.done += length as u64;
        }
    }
}
