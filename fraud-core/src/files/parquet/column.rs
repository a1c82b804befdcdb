//! One column: its type, its decoder, and its values as [`RawValue`]s.

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::column::page::PageReader;
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{
    BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type, Int96Type,
};
use parquet::errors::Result;
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};

use super::input::general;
use crate::files::Problem;
use crate::transaction::RawValue;

/// How stored values are to be read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meaning {
    Boolean,
    Integer,
    Unsigned,
    Number,
    /// Divided by this power of ten.
    Decimal(f64),
    /// Points in time, in parts of a second.
    Instant(i64),
    /// Days since 1970-01-01.
    Date,
    /// Julian day and nanoseconds.
    JulianInstant,
    Text,
}

impl Meaning {
    fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Unsigned | Self::Number | Self::Decimal(_))
    }

    fn is_time(self) -> bool {
        matches!(self, Self::Instant(_) | Self::Date | Self::JulianInstant | Self::Text)
    }
}

/// A column of the file, decoded batch by batch.
pub(super) struct Column {
    /// The field that it holds, in lower case.
    pub(super) name: &'static str,
    descriptor: ColumnDescPtr,
    meaning: Meaning,
    /// Index of the next row's value among the values (nulls are not among them), and of its level.
    next: (usize, usize),
    levels: Vec<i16>,
    values: Values,
}

/// A decoder with its last batch.
struct Typed<T: DataType> {
    reader: Option<ColumnReaderImpl<T>>,
    values: Vec<T::T>,
}

impl<T: DataType> Typed<T> {
    fn new() -> Self {
        Self { reader: None, values: Vec::new() }
    }

    fn start(&mut self, descriptor: ColumnDescPtr, pages: Box<dyn PageReader>) {
        self.reader = Some(ColumnReaderImpl::new(descriptor, pages));
    }

    fn read(&mut self, rows: usize, levels: &mut Vec<i16>) -> Result<usize> {
        self.values.clear();
        let Some(reader) = &mut self.reader else { return Ok(0) };
        Ok(reader.read_records(rows, Some(levels), None, &mut self.values)?.0)
    }
}

macro_rules! values {
    ($($variant:ident($kind:ident) = $physical:ident),* $(,)?) => {
        enum Values { $($variant(Typed<$kind>)),* }

        impl Values {
            fn new(physical: Type) -> Self {
                match physical { $(Type::$physical => Self::$variant(Typed::new())),* }
            }

            fn start(&mut self, descriptor: ColumnDescPtr, pages: Box<dyn PageReader>) {
                match self { $(Self::$variant(typed) => typed.start(descriptor, pages)),* }
            }

            fn read(&mut self, rows: usize, levels: &mut Vec<i16>) -> Result<usize> {
                match self { $(Self::$variant(typed) => typed.read(rows, levels)),* }
            }
        }
    };
}

values! {
    Bool(BoolType) = BOOLEAN,
    Int32(Int32Type) = INT32,
    Int64(Int64Type) = INT64,
    Int96(Int96Type) = INT96,
    Float(FloatType) = FLOAT,
    Double(DoubleType) = DOUBLE,
    Bytes(ByteArrayType) = BYTE_ARRAY,
    Fixed(FixedLenByteArrayType) = FIXED_LEN_BYTE_ARRAY,
}

impl Column {
    /// Checks that the type can hold the field of that name.
    pub(super) fn new(name: &'static str, descriptor: ColumnDescPtr) -> std::result::Result<Self, Problem> {
        let meaning = meaning(&descriptor);
        let (fits, expected): (fn(Meaning) -> bool, _) = match name {
            "tx_amount" => (Meaning::is_number, "a number (integer, float, double or decimal)"),
            "tx_datetime" => {
                (Meaning::is_time, "a timestamp, a date or text (a plain integer can go into tx_time_seconds)")
            }
            "tx_time_seconds" => (Meaning::is_number, "an integer"),
            "tx_fraud" => (|meaning| meaning == Meaning::Boolean || meaning.is_number(), "0 and 1, or a boolean"),
            _ => (|meaning| meaning == Meaning::Text || meaning.is_number(), "an integer or text"),
        };
        let flat = descriptor.max_rep_level() == 0 && descriptor.path().parts().len() == 1;
        match meaning {
            Some(meaning) if flat && fits(meaning) => {
                let values = Values::new(descriptor.physical_type());
                Ok(Self { name, descriptor, meaning, next: (0, 0), levels: Vec::new(), values })
            }
            _ => Err(Problem::Type { column: name, found: describe(&descriptor, flat), expected }),
        }
    }

    /// Whether every value is an integer by its type.
    pub(super) fn is_integer(&self) -> bool {
        self.meaning == Meaning::Integer
    }

    /// The least bytes that one value of the type takes.
    pub(super) fn value_bytes(descriptor: &ColumnDescriptor) -> usize {
        match descriptor.physical_type() {
            Type::INT64 | Type::DOUBLE => 8,
            Type::INT96 => 12,
            Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
            Type::BOOLEAN => 1,
            Type::FIXED_LEN_BYTE_ARRAY => usize::try_from(descriptor.type_length()).unwrap_or(0).max(1),
        }
    }

    /// Goes on with the pages of another row group.
    pub(super) fn start(&mut self, pages: Box<dyn PageReader>) {
        self.values.start(self.descriptor.clone(), pages);
    }

    /// Decodes that many rows, or fails.
    pub(super) fn read(&mut self, rows: usize) -> Result<()> {
        self.levels.clear();
        self.next = (0, 0);
        let read = self.values.read(rows, &mut self.levels)?;
        if read == rows {
            return Ok(());
        }
        Err(general(format!("column {} ends {} rows before its row group does", self.name, rows - read)))
    }

    /// The next row's value.
    pub(super) fn next(&mut self) -> RawValue<'_> {
        let (value, level) = self.next;
        let null = self.levels.get(level).is_some_and(|level| *level < self.descriptor.max_def_level());
        self.next = (value + usize::from(!null), level + 1);
        if null { RawValue::Null } else { self.value(value) }
    }

    #[allow(clippy::cast_sign_loss)] // Unsigned integers are stored in the bits of signed ones.
    fn value(&self, index: usize) -> RawValue<'_> {
        let read = match &self.values {
            Values::Bool(typed) => typed.values.get(index).map(|value| RawValue::Boolean(*value)),
            Values::Int32(typed) => typed.values.get(index).map(|value| match self.meaning {
                Meaning::Unsigned => RawValue::Integer(i64::from(*value as u32)),
                _ => integer(i64::from(*value), self.meaning),
            }),
            Values::Int64(typed) => typed.values.get(index).map(|value| integer(*value, self.meaning)),
            Values::Int96(typed) => typed.values.get(index).map(|value| RawValue::Instant(value.to_seconds())),
            Values::Float(typed) => typed.values.get(index).map(|value| RawValue::Float(f64::from(*value))),
            Values::Double(typed) => typed.values.get(index).map(|value| RawValue::Float(*value)),
            Values::Bytes(typed) => typed.values.get(index).map(|value| bytes(value.data(), self.meaning)),
            Values::Fixed(typed) => typed.values.get(index).map(|value| bytes(value.data(), self.meaning)),
        };
        // A row without a value cannot be: the decoder checks its counts.
        read.unwrap_or(RawValue::Missing)
    }
}

fn integer<'a>(value: i64, meaning: Meaning) -> RawValue<'a> {
    match meaning {
        Meaning::Decimal(divisor) => RawValue::Float(value as f64 / divisor),
        Meaning::Instant(parts) => RawValue::Instant(value.div_euclid(parts)),
        Meaning::Date => RawValue::Instant(value * 86_400),
        // Stored in the bits of a signed integer: a negative one is beyond the 63 bits of an id.
        Meaning::Unsigned if value < 0 => RawValue::OutOfRange,
        _ => RawValue::Integer(value),
    }
}

fn bytes(bytes: &[u8], meaning: Meaning) -> RawValue<'_> {
    match meaning {
        Meaning::Integer => {
            let whole = big_endian(bytes).and_then(|whole| i64::try_from(whole).ok());
            whole.map_or(RawValue::OutOfRange, RawValue::Integer)
        }
        Meaning::Decimal(divisor) => {
            big_endian(bytes).map_or(RawValue::OutOfRange, |unscaled| RawValue::Float(unscaled as f64 / divisor))
        }
        _ => std::str::from_utf8(bytes).map_or(RawValue::NotUtf8, |text| RawValue::Text(text.into())),
    }
}

/// A signed big-endian integer of up to 16 bytes.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let sign = if bytes.first().is_some_and(|first| first & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = [sign; 16];
    wide.get_mut(16usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}

/// `None` for a type that holds no field of a transaction.
fn meaning(descriptor: &ColumnDescriptor) -> Option<Meaning> {
    let logical = descriptor.logical_type_ref();
    let converted = descriptor.converted_type();
    if matches!(logical, Some(LogicalType::Decimal(_))) || converted == ConvertedType::DECIMAL {
        return match descriptor.type_scale() {
            // Whole numbers, as databases write them: an id of theirs may have more digits than a float holds.
            0 => Some(Meaning::Integer),
            scale @ 1..=38 => Some(Meaning::Decimal(10f64.powi(scale))),
            _ => None,
        };
    }
    match descriptor.physical_type() {
        Type::BOOLEAN => Some(Meaning::Boolean),
        Type::FLOAT | Type::DOUBLE => Some(Meaning::Number),
        Type::INT96 => Some(Meaning::JulianInstant),
        Type::FIXED_LEN_BYTE_ARRAY => None,
        Type::BYTE_ARRAY => match logical {
            None | Some(LogicalType::String | LogicalType::Enum | LogicalType::Json) => Some(Meaning::Text),
            Some(_) => None,
        },
        Type::INT32 | Type::INT64 => match (logical, converted) {
            (Some(LogicalType::Timestamp(time)), _) => Some(Meaning::Instant(match time.unit {
                TimeUnit::MILLIS => 1_000,
                TimeUnit::MICROS => 1_000_000,
                TimeUnit::NANOS => 1_000_000_000,
            })),
            (Some(LogicalType::Date), _) | (None, ConvertedType::DATE) => Some(Meaning::Date),
            (Some(LogicalType::Integer(int)), _) if !int.is_signed => Some(Meaning::Unsigned),
            (Some(LogicalType::Integer(_)), _) => Some(Meaning::Integer),
            (Some(_), _) => None,
            (None, ConvertedType::TIMESTAMP_MILLIS) => Some(Meaning::Instant(1_000)),
            (None, ConvertedType::TIMESTAMP_MICROS) => Some(Meaning::Instant(1_000_000)),
            (None, ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS) => None,
            (
                None,
                ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64,
            ) => Some(Meaning::Unsigned),
            (None, _) => Some(Meaning::Integer),
        },
    }
}

fn describe(descriptor: &ColumnDescriptor, flat: bool) -> String {
    if !flat {
        return "nested (a list, map or struct)".to_owned();
    }
    match descriptor.logical_type_ref() {
        Some(logical) => format!("{} ({logical:?})", descriptor.physical_type()),
        None => descriptor.physical_type().to_string(),
    }
}
