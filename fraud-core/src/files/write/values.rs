use super::{ColumnType, FileError};
use crate::transaction::{MAX_TIME, MIN_TIME};

/// The values of one column in one batch, borrowed.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// For [`ColumnType::Integer`].
    Integers(&'a [i64]),
    /// For [`ColumnType::Float`]. A NaN is an empty cell in CSV; a NaN or an infinity is `null` in JSON.
    Floats(&'a [f64]),
    /// For [`ColumnType::Text`].
    Texts(&'a Texts),
    /// For [`ColumnType::Boolean`].
    Booleans(&'a [bool]),
    /// For [`ColumnType::Timestamp`]: microseconds since 1970-01-01T00:00:00Z, years 1 to 9999.
    Timestamps(&'a [i64]),
}

impl Values<'_> {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Integers(values) | Self::Timestamps(values) => values.len(),
            Self::Floats(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Booleans(values) => values.len(),
        }
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of column that takes these values.
    #[must_use]
    pub fn column_type(&self) -> ColumnType {
        match self {
            Self::Integers(_) => ColumnType::Integer,
            Self::Floats(_) => ColumnType::Float,
            Self::Texts(_) => ColumnType::Text,
            Self::Booleans(_) => ColumnType::Boolean,
            Self::Timestamps(_) => ColumnType::Timestamp,
        }
    }

    /// Every timestamp can be written as a date of four digits.
    pub(super) fn check_times(&self, column: &str) -> Result<(), FileError> {
        let Self::Timestamps(values) = self else { return Ok(()) };
        let range = MIN_TIME * 1_000_000..(MAX_TIME + 1) * 1_000_000;
        match values.iter().position(|value| !range.contains(value)) {
            Some(row) => Err(FileError::Timestamp { column: column.to_owned(), row, micros: values[row] }),
            None => Ok(()),
        }
    }
}

/// A column of texts in one allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    bytes: String,
    ends: Vec<usize>,
}

impl Texts {
    /// No texts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a text.
    pub fn push(&mut self, text: &str) {
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
    }

    /// Appends what a value displays, without an allocation of its own.
    pub fn push_display(&mut self, value: &impl std::fmt::Display) {
        use std::fmt::Write;
        // Writing to a String cannot fail; a `Display` that reports an error leaves what it wrote.
        let _ = write!(self.bytes, "{value}");
        self.ends.push(self.bytes.len());
    }

    /// Number of texts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text at `index`, or an empty one beyond the end.
    #[must_use]
    pub fn get(&self, index: usize) -> &str {
        let span = self.span(index);
        self.bytes.get(span).unwrap_or_default()
    }

    /// Forgets all texts and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// All texts, one after the other.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.as_bytes()
    }

    /// Where the text at `index` stands in [`Texts::bytes`].
    pub(super) fn span(&self, index: usize) -> std::ops::Range<usize> {
        let Some(&end) = self.ends.get(index) else { return 0..0 };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        start..end
    }

    /// Appends the texts `range` of another column.
    pub(super) fn extend(&mut self, other: &Self, range: std::ops::Range<usize>) {
        for index in range {
            self.push(other.get(index));
        }
    }
}

impl<'a> FromIterator<&'a str> for Texts {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut column = Self::new();
        texts.into_iter().for_each(|text| column.push(text));
        column
    }
}
