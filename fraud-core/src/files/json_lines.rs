//! JSON lines: one object per line.

use std::io::{BufRead, BufReader};

use super::{MAX_LINE_BYTES, Problem, Progress, ReadOptions, Row, RowError, Source};
use crate::transaction::{ParseOptions, Parsed};

const BUFFER_BYTES: usize = 1 << 17;

pub(super) struct JsonLinesReader {
    input: BufReader<Box<dyn Source>>,
    /// The part of a line that did not fit into one buffer.
    partial: Vec<u8>,
    options: ParseOptions,
    line: u64,
    done: u64,
    total: u64,
}

impl JsonLinesReader {
    pub(super) fn open(source: Box<dyn Source>, total: u64, options: ReadOptions) -> Result<Self, Problem> {
        let mut input = BufReader::with_capacity(BUFFER_BYTES, source);
        let bom = check_text(input.fill_buf()?)?;
        let first = input.buffer()[bom..].iter().find(|byte| !byte.is_ascii_whitespace());
        if first == Some(&b'[') {
            let advice = "it holds a JSON array; write one object per line (for example `jq -c '.[]'`)";
            return Err(Problem::Damaged(advice.to_owned()));
        }
        input.consume(bom);
        Ok(Self { input, partial: Vec::new(), options: options.parse, line: 0, done: bom as u64, total })
    }

    pub(super) fn progress(&self) -> Progress {
        Progress { done: self.done, total: self.total }
    }

    pub(super) fn read(&mut self, rows: &mut Vec<Row>, limit: usize) -> Result<(), Problem> {
        let end = rows.len() + limit;
        while rows.len() < end {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                // The last line may lack its line end.
                if !self.partial.is_empty() {
                    self.line += 1;
                    rows.extend(parse(&self.partial, self.line, self.options));
                    self.partial.clear();
                }
                return Ok(());
            }
            let (used, row) = match memchr::memchr(b'\n', buffer) {
                None => {
                    keep(&mut self.partial, buffer);
                    (buffer.len(), None)
                }
                Some(length) => {
                    self.line += 1;
                    let row = if self.partial.is_empty() {
                        parse(&buffer[..length], self.line, self.options)
                    } else {
                        keep(&mut self.partial, &buffer[..length]);
                        let row = parse(&self.partial, self.line, self.options);
                        self.partial.clear();
                        row
                    };
                    (length + 1, row)
                }
            };
            self.input.consume(used);
            self.done += used as u64;
            rows.extend(row);
        }
        Ok(())
    }
}

/// Adds to a line, up to one byte beyond the limit: enough to know that it is too long.
fn keep(partial: &mut Vec<u8>, bytes: &[u8]) {
    let room = (MAX_LINE_BYTES + 1).saturating_sub(partial.len());
    partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// `None` for a blank line.
fn parse(line: &[u8], number: u64, options: ParseOptions) -> Option<Row> {
    if line.len() > MAX_LINE_BYTES {
        return Some(Row { number, outcome: Err(RowError::TooLong { limit: MAX_LINE_BYTES }) });
    }
    if line.iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    Some(Row { number, outcome: Parsed::from_json(line, options).map_err(RowError::from) })
}

/// Refuses a file that starts like no text, and answers the length of its byte order mark.
pub(super) fn check_text(start: &[u8]) -> Result<usize, Problem> {
    const LOOKED_AT: usize = 4_096;
    let problem = match start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is UTF-16, it must be UTF-8",
        [b'P', b'A', b'R', b'1', ..] => "it is a Parquet file; name it .parquet",
        [0x1f, 0x8b, ..] => "it is compressed; unpack it first (gunzip)",
        _ if start.iter().take(LOOKED_AT).any(|byte| *byte == 0) => "it holds zero bytes, so it is no text",
        _ => return Ok(if start.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }),
    };
    Err(Problem::Damaged(problem.to_owned()))
}
