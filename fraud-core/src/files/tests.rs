//! Each format against the same rows, and against bytes that are no file of its kind.

use std::sync::Arc;

use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::data_type::{
    ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
    Int96, Int96Type,
};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::parser::parse_message_type;
use proptest::prelude::*;

use super::*;
use crate::error::ValueClass;
use crate::transaction::{Amount, Id};

fn options() -> ReadOptions {
    ReadOptions { parse: ParseOptions { labels: true, ..ParseOptions::default() }, columns: Columns::All }
}

fn open(bytes: impl AsRef<[u8]>, format: Format) -> Result<TransactionReader, FileError> {
    TransactionReader::from_bytes(bytes.as_ref().to_vec(), format, options())
}

fn rows_of(mut reader: TransactionReader) -> Result<Vec<Row>, FileError> {
    let mut rows = Vec::new();
    while reader.read(&mut rows, 3)? > 0 {}
    Ok(rows)
}

fn read(bytes: impl AsRef<[u8]>, format: Format) -> Vec<Row> {
    rows_of(open(bytes, format).unwrap()).unwrap()
}

fn parsed(row: &Row) -> &Parsed {
    row.outcome.as_ref().unwrap()
}

/// A Parquet file of one row group, its columns written by the closures in order.
type ColumnWriter<'a> = Box<dyn Fn(&mut SerializedRowGroupWriter<'_, &mut Vec<u8>>) + 'a>;

fn parquet_file(schema: &str, properties: WriterProperties, columns: Vec<ColumnWriter<'_>>) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(&format!("message t {{ {schema} }}")).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for column in columns {
        column(&mut group);
    }
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

macro_rules! column {
    ($kind:ty, $values:expr) => {
        column!($kind, $values, None)
    };
    ($kind:ty, $values:expr, $levels:expr) => {
        Box::new(|group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>| {
            let mut column = group.next_column().unwrap().unwrap();
            let levels: Option<&[i16]> = $levels;
            column.typed::<$kind>().write_batch(&$values, levels, None).unwrap();
            column.close().unwrap();
        }) as ColumnWriter<'_>
    };
}

fn text(value: &str) -> ByteArray {
    ByteArray::from(value.as_bytes().to_vec())
}

fn snappy() -> WriterProperties {
    WriterProperties::builder().set_compression(Compression::SNAPPY).build()
}

/// Rows such as the handbook has them.
fn handbook_like(rows: i64, properties: WriterProperties) -> Vec<u8> {
    let ids: Vec<i64> = (0..rows).collect();
    let times: Vec<i64> = ids.iter().map(|id| 1_522_540_831_500_000 + id * 1_000_000).collect();
    let amounts: Vec<f64> = ids.iter().map(|id| *id as f64 / 100.0).collect();
    let frauds: Vec<i32> = ids.iter().map(|id| i32::from(id % 7 == 0)).collect();
    parquet_file(
        "REQUIRED INT64 TRANSACTION_ID; REQUIRED INT64 TX_DATETIME (TIMESTAMP(MICROS,false)); \
         REQUIRED INT64 CUSTOMER_ID; REQUIRED INT64 TERMINAL_ID; REQUIRED DOUBLE TX_AMOUNT; REQUIRED INT32 TX_FRAUD; \
         REQUIRED INT32 EXTRA;",
        properties,
        vec![
            column!(Int64Type, ids),
            column!(Int64Type, times),
            column!(Int64Type, ids.iter().map(|id| id % 50).collect::<Vec<_>>()),
            column!(Int64Type, ids.iter().map(|id| id % 90).collect::<Vec<_>>()),
            column!(DoubleType, amounts),
            column!(Int32Type, frauds),
            column!(Int32Type, frauds),
        ],
    )
}

#[test]
fn reads_parquet_as_the_handbook_has_it() {
    for properties in [
        snappy(),
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build(),
        WriterProperties::builder().set_dictionary_enabled(false).set_data_page_row_count_limit(100).build(),
        WriterProperties::builder()
            .set_compression(Compression::LZ4_RAW)
            .set_max_row_group_row_count(Some(1000))
            .build(),
    ] {
        let bytes = handbook_like(10_000, properties);
        let reader = open(&bytes, Format::Parquet).unwrap();
        assert_eq!(reader.integer_ids(), Some(true));
        assert_eq!(reader.progress(), Progress { done: 0, total: 10_000 });
        let rows = rows_of(reader).unwrap();
        assert_eq!(rows.len(), 10_000);
        for (index, row) in rows.iter().enumerate() {
            let id = index as i64;
            let Parsed { transaction, label, unknown_fields, .. } = parsed(row);
            assert_eq!(row.number, index as u64 + 1);
            assert_eq!(transaction.transaction_id, Id::from(id));
            assert_eq!(transaction.customer_id, Id::from(id % 50));
            assert_eq!(transaction.terminal_id, Id::from(id % 90));
            assert_eq!(transaction.amount, Amount::from_units(id * 100).unwrap());
            assert_eq!(transaction.time, 1_522_540_831 + id);
            assert_eq!((*label, *unknown_fields), (Some(id % 7 == 0), 1));
        }
    }
}

#[test]
fn reads_every_parquet_type_that_a_field_may_have() {
    let levels: &[i16] = &[1, 0, 1];
    let mut julian = Int96::new();
    julian.set_data(1_000_000_000, 0, 2_440_589);
    let bytes = parquet_file(
        "REQUIRED BYTE_ARRAY transaction_id (UTF8); OPTIONAL INT32 customer_id; REQUIRED INT32 terminal_id (INTEGER(32,false)); \
         REQUIRED FIXED_LEN_BYTE_ARRAY(5) tx_amount (DECIMAL(10,2)); REQUIRED INT96 tx_datetime; \
         OPTIONAL FLOAT tx_fraud; OPTIONAL group extra { REQUIRED INT32 a; REQUIRED INT32 b; }",
        snappy(),
        vec![
            column!(ByteArrayType, [text("a"), text("7"), text("ü")]),
            column!(Int32Type, [5, -6], Some(levels)),
            column!(Int32Type, [-1, 2, 3]),
            column!(
                FixedLenByteArrayType,
                [[0, 0, 0, 48, 57], [255, 255, 255, 255, 255], [0, 0, 0, 0, 1]]
                    .map(|bytes| FixedLenByteArray::from(bytes.to_vec()))
            ),
            column!(Int96Type, [julian, julian, julian]),
            column!(FloatType, [1.0, 0.5], Some(levels)),
            column!(Int32Type, [1, 1], Some(levels)),
            column!(Int32Type, [1, 1], Some(levels)),
        ],
    );
    let rows = read(bytes, Format::Parquet);
    let first = parsed(&rows[0]);
    assert_eq!(first.transaction.transaction_id, Id::from_text("a").unwrap());
    assert_eq!(first.transaction.customer_id, Id::from(5));
    assert_eq!(first.transaction.terminal_id, Id::from(i64::from(u32::MAX)));
    assert_eq!(first.transaction.amount, Amount::from_major(123.45).unwrap());
    assert_eq!(first.transaction.time, 86_401);
    assert_eq!((first.label, first.unknown_fields), (Some(true), 1));
    // A null customer and a negative amount; then half a fraud.
    let problems = |row: &Row| match &row.outcome {
        Err(RowError::Invalid(error)) => {
            error.problems.iter().map(|problem| (problem.field, problem.found)).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    let expected: Vec<(&str, ValueClass)> =
        vec![("customer_id", ValueClass::Null), ("tx_amount", ValueClass::Negative)];
    assert_eq!(problems(&rows[1]), expected);
    assert_eq!(problems(&rows[2]), vec![("tx_fraud", ValueClass::Float)]);
    assert_eq!((rows[1].number, rows[2].number), (2, 3));
}

#[test]
fn reads_dates_decimals_and_texts_from_parquet() {
    let bytes = parquet_file(
        "REQUIRED DOUBLE transaction_id; REQUIRED BYTE_ARRAY customer_id; REQUIRED INT64 terminal_id; \
         REQUIRED INT64 tx_amount (DECIMAL(18,4)); REQUIRED INT32 tx_datetime (DATE); REQUIRED BYTE_ARRAY tx_fraud (UTF8);",
        snappy(),
        vec![
            column!(DoubleType, [12.0]),
            column!(ByteArrayType, [text("c")]),
            column!(Int64Type, [1]),
            column!(Int64Type, [12_345_678]),
            column!(Int32Type, [-1]),
            column!(ByteArrayType, [text("1")]),
        ],
    );
    let error = open(&bytes, Format::Parquet).err().unwrap().to_string();
    assert!(error.contains("`tx_fraud` is BYTE_ARRAY, it must be 0 and 1, or a boolean"), "{error}");
    let unlabelled = ReadOptions::default();
    let rows = rows_of(TransactionReader::from_bytes(bytes, Format::Parquet, unlabelled).unwrap()).unwrap();
    let Parsed { transaction, label, .. } = parsed(&rows[0]);
    assert_eq!(transaction.transaction_id, Id::from(12));
    assert_eq!(transaction.amount, Amount::from_units(12_345_678).unwrap());
    assert_eq!((transaction.time, *label), (-86_400, None));
}

/// A DECIMAL without a scale is a whole number, whatever holds it: ids have more digits than a float.
#[test]
fn reads_decimals_without_a_fraction_as_integers() {
    let large = (1_i64 << 53) + 1;
    let wide = |value: i128| FixedLenByteArray::from(value.to_be_bytes().to_vec());
    let bytes = parquet_file(
        "REQUIRED FIXED_LEN_BYTE_ARRAY(16) transaction_id (DECIMAL(38,0)); REQUIRED INT64 customer_id (DECIMAL(18,0)); \
         REQUIRED BYTE_ARRAY terminal_id (DECIMAL(30,0)); REQUIRED INT32 tx_amount (DECIMAL(9,0)); \
         REQUIRED INT64 tx_time_seconds (DECIMAL(12,0)); REQUIRED INT32 tx_fraud (DECIMAL(1,0));",
        snappy(),
        vec![
            column!(FixedLenByteArrayType, [wide(i128::from(large)), wide(-3), wide(1 << 70)]),
            column!(Int64Type, [large, 2, 3]),
            column!(ByteArrayType, [vec![0x20, 0, 0, 0, 0, 0, 1], vec![0xff], vec![7]].map(ByteArray::from)),
            column!(Int32Type, [12, 0, 1]),
            column!(Int64Type, [86_401, 0, 1]),
            column!(Int32Type, [1, 0, 0]),
        ],
    );
    let reader = open(bytes, Format::Parquet).unwrap();
    assert_eq!(reader.integer_ids(), Some(true));
    let rows = rows_of(reader).unwrap();
    let Parsed { transaction, label, .. } = parsed(&rows[0]);
    let ids = [&transaction.transaction_id, &transaction.customer_id, &transaction.terminal_id];
    assert_eq!(ids, [&Id::from(large), &Id::from(large), &Id::from(large)]);
    assert_eq!(transaction.amount, Amount::from_units(120_000).unwrap());
    assert_eq!((transaction.time, *label), (86_401, Some(true)));
    assert_eq!(parsed(&rows[1]).transaction.transaction_id, Id::from(-3));
    assert_eq!(parsed(&rows[1]).transaction.terminal_id, Id::from(-1));
    let Err(RowError::Invalid(error)) = &rows[2].outcome else { panic!("{:?}", rows[2]) };
    assert_eq!((error.problems[0].field, error.problems[0].found), ("transaction_id", ValueClass::OutOfRange));
}

#[test]
fn a_first_look_reads_time_only() {
    let first_look = ReadOptions { columns: Columns::TimeAndId, ..options() };
    let bytes = handbook_like(5_000, snappy());
    let all = read(&bytes, Format::Parquet);
    let times = rows_of(TransactionReader::from_bytes(bytes, Format::Parquet, first_look).unwrap()).unwrap();
    let time = |row: &Row| (row.number, parsed(row).transaction.time);
    assert!(all.iter().map(time).eq(times.iter().map(time)));
}

#[test]
fn reads_csv_with_everything_that_csv_has() {
    let text = "\u{feff}\"TRANSACTION_ID\",customer_id,TERMINAL_ID,tx_amount,TX_DATETIME,TX_FRAUD,note\r\n\
                1,c1,t1,12.50,2018-04-01 00:00:31,0,\"said \"\"hi\"\",\nand left\"\r\n\
                \r\n\
                \"2\",\"c,2\",t2,7,2018-04-01T02:00:31+02:00,,x\r\n\
                3,c3,t3\r\n\
                4,,t4,abc,2018-04-01 00:00:33,2,x\n\
                5,c5,t5,1e1,2018-04-01 00:00:33,true,x";
    let rows = read(text, Format::Csv);
    assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), [2, 5, 6, 7, 8]);
    assert_eq!(parsed(&rows[0]).transaction.amount, Amount::from_major(12.5).unwrap());
    assert_eq!((parsed(&rows[0]).label, parsed(&rows[0]).unknown_fields), (Some(false), 1));
    assert_eq!(parsed(&rows[1]).transaction.transaction_id, Id::from(2));
    assert_eq!(parsed(&rows[1]).transaction.customer_id, Id::from_text("c,2").unwrap());
    assert_eq!(parsed(&rows[1]).transaction.time, parsed(&rows[0]).transaction.time);
    assert_eq!(parsed(&rows[1]).label, None);
    assert_eq!(rows[2].outcome, Err(RowError::Ragged { expected: 7, found: 3 }));
    let Err(RowError::Invalid(error)) = &rows[3].outcome else { panic!("{:?}", rows[3]) };
    let fields: Vec<_> = error.problems.iter().map(|problem| (problem.field, problem.found)).collect();
    let integer = ValueClass::Integer;
    assert_eq!(fields, [("customer_id", ValueClass::Null), ("tx_amount", ValueClass::Text), ("tx_fraud", integer)]);
    assert_eq!(parsed(&rows[4]).transaction.amount, Amount::from_major(10.0).unwrap());
    assert_eq!(parsed(&rows[4]).label, Some(true));
}

#[test]
fn reads_json_lines() {
    let text = "\u{feff}{\"transaction_id\":1,\"customer_id\":\"c\",\"terminal_id\":\"t\",\"tx_amount\":3,\"tx_time_seconds\":5}\r\n\
                \n\
                {\"TRANSACTION_ID\":\"2\",\"CUSTOMER_ID\":\"c\",\"TERMINAL_ID\":\"t\",\"TX_AMOUNT\":3.5,\"TX_TIME_SECONDS\":5,\"TX_FRAUD\":1,\"x\":{}}\n\
                {\"transaction_id\":3\n\
                [1]\n\
                {\"transaction_id\":4,\"customer_id\":\"c\",\"terminal_id\":\"t\",\"tx_amount\":3,\"tx_time_seconds\":6}";
    let rows = read(text, Format::JsonLines);
    assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), [1, 3, 4, 5, 6]);
    assert_eq!(parsed(&rows[0]).transaction.time, 5);
    assert_eq!((parsed(&rows[1]).label, parsed(&rows[1]).unknown_fields), (Some(true), 1));
    assert!(matches!(rows[2].outcome, Err(RowError::Parse(_))), "{:?}", rows[2]);
    assert!(matches!(rows[3].outcome, Err(RowError::Invalid(_))), "{:?}", rows[3]);
    assert_eq!(parsed(&rows[4]).transaction.transaction_id, Id::from(4));
}

#[test]
fn a_long_line_is_one_rejected_row() {
    let good = |id: u32| {
        format!(
            "{{\"transaction_id\":{id},\"customer_id\":1,\"terminal_id\":1,\"tx_amount\":1,\"tx_time_seconds\":1}}\n"
        )
    };
    let long = "x".repeat(3 * MAX_LINE_BYTES);
    let rows = read(format!("{}{long}\n{}{long}", good(1), good(2)), Format::JsonLines);
    let too_long = Err(RowError::TooLong { limit: MAX_LINE_BYTES });
    assert_eq!(rows.len(), 4);
    assert_eq!((&rows[1].outcome, &rows[3].outcome), (&too_long, &too_long));
    assert_eq!((rows[2].number, rows[2].outcome.is_ok()), (3, true));

    let header = "transaction_id,customer_id,terminal_id,tx_amount,tx_time_seconds,tx_fraud\n";
    let rows = read(format!("{header}1,1,1,1,1,0\n\"{long}\",1\n2,1,1,1,1,0\n3,{long}"), Format::Csv);
    assert_eq!(rows.len(), 4);
    assert_eq!((&rows[1].outcome, &rows[3].outcome), (&too_long, &too_long));
    assert_eq!((rows[2].number, rows[2].outcome.is_ok()), (4, true));
}

#[test]
fn missing_and_repeated_columns_are_one_error() {
    let message = |bytes: &[u8], format| open(bytes, format).err().unwrap().to_string();
    let error = message(b"transaction_id,amount\n1,2\n", Format::Csv);
    assert!(error.contains("missing customer_id, terminal_id, tx_amount, tx_datetime, tx_fraud"), "{error}");
    assert!(error.contains("the file has transaction_id, amount"), "{error}");
    let error = message(b"customer_id,CUSTOMER_ID\n", Format::Csv);
    assert!(error.contains("`customer_id` is there twice"), "{error}");
    let file = parquet_file("REQUIRED INT32 a;", snappy(), vec![column!(Int32Type, [1])]);
    let error = message(&file, Format::Parquet);
    assert!(error.contains("missing transaction_id") && error.contains("the file has a"), "{error}");
}

#[test]
fn files_that_are_something_else_are_one_error() {
    let zeros = vec![0; 1_000_000];
    for format in [Format::Parquet, Format::Csv, Format::JsonLines] {
        assert!(matches!(open(&zeros, format), Err(FileError::Damaged { .. })), "{format:?}");
    }
    for format in [Format::Parquet, Format::Csv] {
        assert!(open(b"", format).is_err(), "{format:?}");
    }
    assert!(read("", Format::JsonLines).is_empty());
    let array = open(b" [\n{}]", Format::JsonLines).err().unwrap().to_string();
    assert!(array.contains("jq"), "{array}");
    assert!(matches!(Format::of(Path::new("a.xlsx")), Err(FileError::UnknownFormat { .. })));
    assert_eq!(Format::of(Path::new("A.PARQUET")).unwrap(), Format::Parquet);
}

#[test]
fn every_cut_of_a_parquet_file_is_an_error() {
    let bytes = handbook_like(500, snappy());
    for length in (0..bytes.len()).step_by(97) {
        assert!(open(&bytes[..length], Format::Parquet).is_err(), "{length}");
    }
}

#[test]
fn parquet_metadata_that_claims_too_much_is_refused() {
    let mut bytes = handbook_like(500, snappy());
    let end = bytes.len();
    for claim in [u32::MAX, i32::MAX as u32, end as u32 * 2, 0] {
        bytes[end - 8..end - 4].copy_from_slice(&claim.to_le_bytes());
        assert!(matches!(open(&bytes, Format::Parquet), Err(FileError::Damaged { .. })), "{claim}");
    }
}

#[test]
fn parquet_metadata_that_costs_time_and_no_bytes_is_refused() {
    // A list of two thousand million booleans, in seven bytes.
    let metadata = [0xF9, 0xF1, 0xFF, 0xFF, 0xFF, 0xFF, 0x07, 0x00];
    let bytes = [b"PAR1", metadata.as_slice(), &8_u32.to_le_bytes(), b"PAR1"].concat();
    let Err(error) = open(&bytes, Format::Parquet) else { panic!("it was opened") };
    assert!(error.to_string().contains("its metadata is unreadable"), "{error}");
}

fn contents_or_error(bytes: &[u8], format: Format) {
    if let Ok(reader) = open(bytes, format)
        && let Ok(rows) = rows_of(reader)
    {
        assert!(rows.len() as u64 <= bytes.len() as u64 * 64 + 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damaged_parquet_never_panics(
        rows in 1i64..400,
        plain in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        at_the_end in any::<bool>(),
    ) {
        let properties = if plain { WriterProperties::builder().set_dictionary_enabled(false).build() } else { snappy() };
        let mut bytes = handbook_like(rows, properties);
        let start = if at_the_end { bytes.len().saturating_sub(700) } else { 0 };
        let span = bytes.len() - start;
        for (index, byte) in changes {
            bytes[start + index.index(span)] = byte;
        }
        contents_or_error(&bytes, Format::Parquet);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        for format in [Format::Parquet, Format::Csv, Format::JsonLines] {
            contents_or_error(&bytes, format);
        }
        let mut framed = b"PAR1".to_vec();
        framed.extend(&bytes);
        framed.extend((bytes.len() as u32).to_le_bytes());
        framed.extend(b"PAR1");
        contents_or_error(&framed, Format::Parquet);
        let mut headed = b"transaction_id,customer_id,terminal_id,tx_amount,tx_time_seconds,tx_fraud\n".to_vec();
        headed.extend(&bytes);
        contents_or_error(&headed, Format::Csv);
    }

    #[test]
    fn csv_and_json_lines_agree(
        rows in prop::collection::vec((any::<i64>(), "[ -~]{1,30}", 0u32..1_000_000, 0i64..4_000_000_000, any::<bool>()), 1..50)
    ) {
        let mut csv = "transaction_id,customer_id,terminal_id,tx_amount,tx_time_seconds,tx_fraud\n".to_owned();
        let mut json = String::new();
        for (id, customer, cents, time, fraud) in &rows {
            // A cell's outer blanks are not part of it.
            let customer = format!("c{}.", customer);
            let amount = f64::from(*cents) / 100.0;
            csv += &format!("{id},\"{}\",7,{amount},{time},{}\n", customer.replace('"', "\"\""), u8::from(*fraud));
            let customer = serde_json::to_string(&customer).unwrap();
            json += &format!(
                "{{\"transaction_id\":\"{id}\",\"customer_id\":{customer},\"terminal_id\":7,\"tx_amount\":{amount},\
                 \"tx_time_seconds\":{time},\"tx_fraud\":{fraud}}}\n"
            );
        }
        let transactions = |rows: Vec<Row>| {
            rows.into_iter().map(|row| row.outcome.map(|parsed| (parsed.transaction, parsed.label))).collect::<Vec<_>>()
        };
        let (csv, json) = (transactions(read(csv, Format::Csv)), transactions(read(json, Format::JsonLines)));
        prop_assert!(csv.iter().all(Result::is_ok));
        prop_assert_eq!(csv, json);
    }
}
