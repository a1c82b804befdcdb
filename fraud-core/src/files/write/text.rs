//! Rows as lines: CSV and JSON.

use std::io::Write;

use super::target::Target;
use super::{Column, FileError, Values};

/// Bytes gathered before they go to the file.
const BUFFER: usize = 1 << 20;
const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Writes rows as lines, each ended by a line feed.
#[derive(Debug)]
pub(super) struct LineWriter {
    target: Target,
    buffer: Vec<u8>,
    dates: Dates,
    /// What stands before each column's value: a comma, or a JSON key. Empty names mean CSV.
    keys: Vec<Vec<u8>>,
    json: bool,
}

impl LineWriter {
    pub(super) fn new(target: Target, columns: &[Column], json: bool) -> Self {
        let mut buffer = Vec::with_capacity(BUFFER + (BUFFER >> 2));
        let mut keys = Vec::with_capacity(columns.len());
        for (index, column) in columns.iter().enumerate() {
            let mut key = Vec::new();
            if json {
                key.push(if index == 0 { b'{' } else { b',' });
                push_json(&mut key, &column.name);
                key.push(b':');
            } else {
                if index > 0 {
                    key.push(b',');
                    buffer.push(b',');
                }
                push_csv_text(&mut buffer, &column.name);
            }
            keys.push(key);
        }
        if !json {
            buffer.push(b'\n');
        }
        Self { target, buffer, dates: Dates::default(), keys, json }
    }

    pub(super) fn write(&mut self, values: &[Values<'_>], rows: usize) -> Result<(), FileError> {
        for row in 0..rows {
            for (key, column) in self.keys.iter().zip(values) {
                self.buffer.extend_from_slice(key);
                if self.json {
                    push_json_cell(&mut self.buffer, &mut self.dates, (column, row));
                } else {
                    push_csv_cell(&mut self.buffer, &mut self.dates, (column, row));
                }
            }
            self.buffer.extend_from_slice(if self.json { b"}\n" } else { b"\n" });
            if self.buffer.len() >= BUFFER {
                self.flush()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<u64, FileError> {
        self.flush()?;
        self.target.commit()
    }

    fn flush(&mut self) -> Result<(), FileError> {
        if let Err(source) = self.target.write_all(&self.buffer) {
            return Err(FileError::Io { path: self.target.path().to_owned(), action: "write", source });
        }
        self.buffer.clear();
        Ok(())
    }
}

type Cell<'a> = (&'a Values<'a>, usize);

fn push_csv_cell(out: &mut Vec<u8>, dates: &mut Dates, (column, row): Cell<'_>) {
    match column {
        Values::Integers(values) => push_json(out, &values[row]),
        Values::Floats(values) if values[row].is_finite() => push_float(out, values[row]),
        Values::Floats(values) if values[row].is_nan() => {}
        Values::Floats(values) => out.extend_from_slice(if values[row] > 0.0 { b"inf" } else { b"-inf" }),
        Values::Texts(values) => push_csv_text(out, values.get(row)),
        Values::Booleans(values) => push_boolean(out, values[row]),
        Values::Timestamps(values) => dates.push(out, values[row], b' '),
    }
}

fn push_json_cell(out: &mut Vec<u8>, dates: &mut Dates, (column, row): Cell<'_>) {
    match column {
        Values::Integers(values) => push_json(out, &values[row]),
        Values::Floats(values) if values[row].is_finite() => push_float(out, values[row]),
        Values::Floats(_) => out.extend_from_slice(b"null"),
        Values::Texts(values) => push_json(out, values.get(row)),
        Values::Booleans(values) => push_boolean(out, values[row]),
        Values::Timestamps(values) => {
            out.push(b'"');
            dates.push(out, values[row], b'T');
            out.extend_from_slice(b"Z\"");
        }
    }
}

/// The JSON text of a number or a text: the shortest digits that read back as the same number.
fn push_json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    // Neither a number nor a text can fail to serialise, nor can a vector fail to grow.
    drop(serde_json::to_writer(out, value));
}

fn push_boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// The shortest digits that read back as the same number, always with a point or an exponent.
pub(super) fn push_float(out: &mut Vec<u8>, value: f64) {
    // Amounts have two decimals: at most 15 significant digits identify a double, so when the nearest
    // hundredth reads back as the value, its digits are the shortest ones.
    let hundredths = (value * 100.0).round();
    if hundredths.abs() < 1e15 && hundredths / 100.0 == value && !(value == 0.0 && value.is_sign_negative()) {
        let hundredths = hundredths as i64;
        let (whole, part) = (hundredths.abs() / 100, hundredths.abs() % 100);
        if hundredths < 0 {
            out.push(b'-');
        }
        push_json(out, &whole);
        out.extend_from_slice(&[b'.', digit(part / 10)]);
        if part % 10 != 0 {
            out.push(digit(part));
        }
    } else {
        push_json(out, &value);
    }
}

/// The last decimal digit of a number that is not negative.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn digit(value: i64) -> u8 {
    b'0' + (value % 10) as u8
}

/// Quoted where RFC 4180 asks for it, and where empty, so that a row is never an empty line.
fn push_csv_text(out: &mut Vec<u8>, text: &str) {
    if !text.is_empty() && !text.bytes().any(|byte| matches!(byte, b'"' | b',' | b'\n' | b'\r')) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Writes dates; rows in order of time mostly share theirs, so the last one is kept.
#[derive(Debug)]
struct Dates {
    day: i64,
    text: [u8; 10],
}

impl Default for Dates {
    fn default() -> Self {
        Self { day: 0, text: *b"1970-01-01" }
    }
}

impl Dates {
    /// `YYYY-MM-DD`, the separator, `HH:MM:SS`, and the microseconds where there are any.
    fn push(&mut self, out: &mut Vec<u8>, micros: i64, separator: u8) {
        let (seconds, fraction) = (micros.div_euclid(MICROS_PER_SECOND), micros.rem_euclid(MICROS_PER_SECOND));
        let (day, second) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
        if day != self.day {
            self.day = day;
            self.text = date(day);
        }
        out.extend_from_slice(&self.text);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        out.extend_from_slice(&[separator, digit(hour / 10), digit(hour), b':']);
        out.extend_from_slice(&[digit(minute / 10), digit(minute), b':', digit(second / 10), digit(second)]);
        if fraction != 0 {
            out.push(b'.');
            out.extend([100_000, 10_000, 1_000, 100, 10, 1].map(|unit| digit(fraction / unit)));
        }
    }
}

/// The date of a day counted from 1970-01-01, proleptic Gregorian, years 1 to 9999.
fn date(day: i64) -> [u8; 10] {
    // Years are counted from 1 March 0000, so that a leap day is the last day of its year.
    let day = day + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let mut text = *b"0000-00-00";
    let digits = [(0, year / 1_000), (1, year / 100), (2, year / 10), (3, year), (5, month / 10), (6, month)];
    for (place, value) in digits.into_iter().chain([(8, day_of_month / 10), (9, day_of_month)]) {
        text[place] = digit(value);
    }
    text
}
