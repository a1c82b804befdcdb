use std::fs;
use std::path::{Path, PathBuf};

use ::parquet::basic::{LogicalType, TimeUnit};
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;
use proptest::prelude::*;

use super::*;

/// A table held in memory, one vector a column type.
#[derive(Debug, Clone, Default)]
struct Table {
    integers: Vec<i64>,
    floats: Vec<f64>,
    texts: Vec<String>,
    booleans: Vec<bool>,
    times: Vec<i64>,
}

impl Table {
    fn columns() -> Vec<Column> {
        vec![
            Column::integer("number"),
            Column::float("amount, in units"),
            Column::text("say \"who\""),
            Column::boolean("flag"),
            Column::timestamp("time"),
        ]
    }

    fn len(&self) -> usize {
        self.integers.len()
    }

    fn write(&self, path: &Path, batch_rows: usize) -> Written {
        let mut writer = TableWriter::create(path, &Self::columns()).unwrap();
        for start in (0..self.len()).step_by(batch_rows.max(1)) {
            let range = start..self.len().min(start + batch_rows.max(1));
            let texts: Texts = self.texts[range.clone()].iter().map(String::as_str).collect();
            let batch = [
                Values::Integers(&self.integers[range.clone()]),
                Values::Floats(&self.floats[range.clone()]),
                Values::Texts(&texts),
                Values::Booleans(&self.booleans[range.clone()]),
                Values::Timestamps(&self.times[range]),
            ];
            writer.write(&batch).unwrap();
        }
        writer.finish().unwrap()
    }

    /// Rows whose every column differs from its neighbours, some of it repeating.
    fn of(rows: usize) -> Self {
        let mut table = Self::default();
        for row in 0..rows {
            let row_number = i64::try_from(row).unwrap();
            table.integers.push(row_number * 7 - 1_000);
            table.floats.push((row_number % 5_000) as f64 / 100.0);
            table.texts.push(if row % 3 == 0 { format!("id,{row}") } else { "many".to_owned() });
            table.booleans.push(row % 7 == 0);
            table.times.push(1_522_540_831_000_000 + row_number * 61_000_000);
        }
        table
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn assert_same_rows(path: &Path, table: &Table) {
    let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    let mut rows = 0;
    for (index, row) in reader.get_row_iter(None).unwrap().enumerate() {
        let cells: Vec<Field> = row.unwrap().into_columns().into_iter().map(|(_, field)| field).collect();
        assert_eq!(cells[0], Field::Long(table.integers[index]));
        let Field::Double(float) = cells[1] else { panic!("{:?}", cells[1]) };
        assert_eq!(float.to_bits(), table.floats[index].to_bits());
        assert_eq!(cells[2], Field::Str(table.texts[index].clone()));
        assert_eq!(cells[3], Field::Bool(table.booleans[index]));
        assert_eq!(cells[4], Field::TimestampMicros(table.times[index]));
        rows += 1;
    }
    assert_eq!(rows, table.len());
}

#[test]
fn parquet_gives_back_every_row_over_several_row_groups() {
    let folder = folder();
    let path = folder.path().join("table.parquet");
    let table = Table::of(parquet::GROUP_ROWS + 1_234);
    let written = table.write(&path, 10_000);
    assert_eq!(written.rows, table.len() as u64);
    assert_eq!(written.bytes, fs::metadata(&path).unwrap().len());
    let reader = SerializedFileReader::new(fs::File::open(&path).unwrap()).unwrap();
    assert_eq!(reader.num_row_groups(), 2);
    let time = reader.metadata().file_metadata().schema_descr().column(4);
    assert_eq!(time.logical_type_ref(), Some(&LogicalType::timestamp(false, TimeUnit::MICROS)));
    assert_same_rows(&path, &table);
}

#[test]
fn no_rows_make_a_readable_file() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    for name in ["a.parquet", "a.csv", "a.jsonl"] {
        assert_eq!(Table::default().write(&at(name), 1).rows, 0);
    }
    assert_same_rows(&at("a.parquet"), &Table::default());
    assert_eq!(fs::read_to_string(at("a.csv")).unwrap(), "number,\"amount, in units\",\"say \"\"who\"\"\",flag,time\n");
    assert_eq!(fs::read_to_string(at("a.jsonl")).unwrap(), "");
}

#[test]
fn lines_look_as_documented() {
    let folder = folder();
    let table = Table {
        integers: vec![-3, i64::MAX],
        floats: vec![57.16, f64::NAN],
        texts: vec!["a \"b\",\nc".to_owned(), String::new()],
        booleans: vec![true, false],
        times: vec![1_522_540_831_000_000, -62_135_596_799_999_999],
    };
    let csv = folder.path().join("a.CSV");
    table.write(&csv, 2);
    let text = fs::read_to_string(csv).unwrap();
    let (_, body) = text.split_once('\n').unwrap();
    assert_eq!(
        body,
        "-3,57.16,\"a \"\"b\"\",\nc\",true,2018-04-01 00:00:31\n\
         9223372036854775807,,\"\",false,0001-01-01 00:00:00.000001\n"
    );
    let json = folder.path().join("a.ndjson");
    table.write(&json, 2);
    assert_eq!(
        fs::read_to_string(json).unwrap(),
        "{\"number\":-3,\"amount, in units\":57.16,\"say \\\"who\\\"\":\"a \\\"b\\\",\\nc\",\"flag\":true,\
         \"time\":\"2018-04-01T00:00:31Z\"}\n\
         {\"number\":9223372036854775807,\"amount, in units\":null,\"say \\\"who\\\"\":\"\",\"flag\":false,\
         \"time\":\"0001-01-01T00:00:00.000001Z\"}\n"
    );
}

#[test]
fn a_batch_that_does_not_fit_is_refused_and_the_table_goes_on() {
    let folder = folder();
    let path = folder.path().join("a.csv");
    let mut writer = TableWriter::create(&path, &[Column::integer("n"), Column::timestamp("t")]).unwrap();
    let far = Values::Timestamps(&[0, i64::MAX]);
    let refused = |result: Result<(), FileError>| result.unwrap_err().to_string();
    let message = refused(writer.write(&[Values::Integers(&[1])]));
    assert_eq!(message, "the table's columns: the batch has 1 columns, the table 2");
    let message = refused(writer.write(&[Values::Floats(&[1.0]), Values::Timestamps(&[0])]));
    assert_eq!(message, "column `n`: takes integers, the batch has floats");
    let message = refused(writer.write(&[Values::Integers(&[1]), Values::Timestamps(&[])]));
    assert_eq!(message, "column `t`: has 0 rows, the batch's first column 1");
    let result = writer.write(&[Values::Integers(&[1, 2]), far]);
    assert!(matches!(result, Err(FileError::Timestamp { row: 1, micros: i64::MAX, .. })), "{result:?}");
    writer.write(&[Values::Integers(&[5]), Values::Timestamps(&[0])]).unwrap();
    assert_eq!(writer.finish().unwrap().rows, 1);
    assert_eq!(fs::read_to_string(path).unwrap(), "n,t\n5,1970-01-01 00:00:00\n");
}

#[test]
fn a_table_needs_columns_of_different_names_and_a_known_ending() {
    let folder = folder();
    let path = folder.path().join("a.csv");
    for columns in [vec![], vec![Column::float("")], vec![Column::float("x"), Column::text("x")]] {
        assert!(matches!(TableWriter::create(&path, &columns), Err(FileError::Columns { .. })));
    }
    for name in ["a", "a.txt", ".csv", "a.parquet.gz"] {
        assert!(matches!(format_of(Path::new(name)), Err(FileError::Extension { .. })), "{name}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_target_changes_only_when_the_table_is_finished() {
    let folder = folder();
    let path = folder.path().join("a.csv");
    fs::write(&path, "before").unwrap();
    let columns = [Column::integer("n")];
    let mut writer = TableWriter::create(&path, &columns).unwrap();
    writer.write(&[Values::Integers(&vec![1; 1_000_000])]).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "before");
    drop(writer);
    assert_eq!(fs::read_to_string(&path).unwrap(), "before");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the partial file is gone");
    TableWriter::create(&path, &columns).unwrap().finish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "n\n");
    let nowhere = folder.path().join("missing").join("a.csv");
    let error = TableWriter::create(&nowhere, &columns).unwrap_err();
    assert!(matches!(error, FileError::Io { action: "create", .. }), "{error}");
}

#[test]
fn writers_of_the_same_file_do_not_meet() {
    let folder = folder();
    let path = folder.path().join("a.csv");
    let columns = [Column::integer("n")];
    let begin = |value: i64| {
        let mut writer = TableWriter::create(&path, &columns).unwrap();
        writer.write(&[Values::Integers(&[value; 3])]).unwrap();
        writer
    };
    let (first, second) = (begin(1), begin(2));
    second.finish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "n\n2\n2\n2\n");
    first.finish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "n\n1\n1\n1\n");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_link_stays_and_its_target_is_replaced() {
    let folder = folder();
    let (link, real) = (folder.path().join("link.csv"), folder.path().join("real.csv"));
    fs::write(&real, "before").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    TableWriter::create(&link, &[Column::integer("n")]).unwrap().finish().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(real).unwrap(), "n\n");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_not_a_short_file() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    // The writers themselves, on a device that takes nothing.
    for (format, expected) in [(Format::Parquet, "write"), (Format::Csv, "write")] {
        let folder = folder();
        let path = folder.path().join(if format == Format::Csv { "a.csv" } else { "a.parquet" });
        let target = Target::on_device(Path::new("/dev/full"), &path);
        let columns = [Column::float("x")];
        let sink = match format {
            Format::Parquet => Sink::Groups(GroupWriter::new(target, &columns)),
            _ => Sink::Lines(LineWriter::new(target, &columns, false)),
        };
        let mut writer = TableWriter { path: path.clone(), columns: columns.to_vec(), rows: 0, sink: Some(sink) };
        let values: Vec<f64> = (0..400_000).map(|row| f64::from(row).sqrt()).collect();
        let error = writer.write(&[Values::Floats(&values)]).unwrap_err();
        assert!(matches!(&error, FileError::Io { action, .. } if *action == expected), "{error}");
        assert!(matches!(writer.write(&[Values::Floats(&[1.0])]), Err(FileError::Discarded { .. })));
        assert!(matches!(writer.finish(), Err(FileError::Discarded { .. })));
        assert!(!path.exists());
    }
}

#[test]
fn bytes_depend_on_rows_not_on_batches() {
    let table = Table::of(parquet::GROUP_ROWS + 77);
    for name in ["a.parquet", "a.csv", "a.jsonl"] {
        let folder = folder();
        let bytes = |part: &str, batch| -> Vec<u8> {
            let path = folder.path().join(format!("{part}{name}"));
            table.write(&path, batch);
            fs::read(path).unwrap()
        };
        let whole = bytes("whole", table.len());
        assert!(whole == bytes("parts", 4_099), "{name}");
        assert!(whole == bytes("groups", parquet::GROUP_ROWS), "{name}");
    }
}

fn any_table() -> impl Strategy<Value = Table> {
    let time = -62_135_596_800_000_000_i64..253_402_300_800_000_000;
    let float = prop_oneof![any::<f64>(), (-1_000_000..1_000_000_i64).prop_map(|hundredths| hundredths as f64 / 100.0)];
    let row = (any::<i64>(), float, any::<String>(), any::<bool>(), time);
    proptest::collection::vec(row, 0..40).prop_map(|rows| {
        let mut table = Table::default();
        for (integer, float, text, boolean, time) in rows {
            table.integers.push(integer);
            table.floats.push(float);
            table.texts.push(text);
            table.booleans.push(boolean);
            table.times.push(time);
        }
        table
    })
}

fn parsed_time(text: &str) -> i64 {
    let text = format!("{}Z", text.trim_end_matches('Z').replace(' ', "T"));
    text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

fn read_csv(path: &PathBuf) -> Vec<csv::StringRecord> {
    csv::Reader::from_path(path).unwrap().records().map(Result::unwrap).collect()
}

proptest! {
    #[test]
    fn parquet_round_trips(table in any_table(), batch in 1_usize..20) {
        let folder = folder();
        let path = folder.path().join("a.parquet");
        table.write(&path, batch);
        assert_same_rows(&path, &table);
    }

    #[test]
    fn csv_round_trips(table in any_table(), batch in 1_usize..20) {
        let folder = folder();
        let path = folder.path().join("a.csv");
        table.write(&path, batch);
        let rows = read_csv(&path);
        prop_assert_eq!(rows.len(), table.len());
        for (index, row) in rows.iter().enumerate() {
            prop_assert_eq!(row[0].parse::<i64>().unwrap(), table.integers[index]);
            if table.floats[index].is_nan() {
                prop_assert_eq!(&row[1], "");
            } else {
                prop_assert_eq!(row[1].parse::<f64>().unwrap().to_bits(), table.floats[index].to_bits());
            }
            prop_assert_eq!(&row[2], &table.texts[index]);
            prop_assert_eq!(&row[3], if table.booleans[index] { "true" } else { "false" });
            prop_assert_eq!(parsed_time(&row[4]), table.times[index]);
        }
    }

    #[test]
    fn json_round_trips(table in any_table(), batch in 1_usize..20) {
        let folder = folder();
        let path = folder.path().join("a.jsonl");
        table.write(&path, batch);
        let text = fs::read_to_string(&path).unwrap();
        prop_assert_eq!(text.lines().count(), table.len());
        for (index, line) in text.lines().enumerate() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            prop_assert_eq!(row["number"].as_i64().unwrap(), table.integers[index]);
            let float = table.floats[index];
            if float.is_finite() {
                prop_assert_eq!(row["amount, in units"].as_f64().unwrap().to_bits(), float.to_bits());
            } else {
                prop_assert!(row["amount, in units"].is_null());
            }
            prop_assert_eq!(row["say \"who\""].as_str().unwrap(), table.texts[index].as_str());
            prop_assert_eq!(row["flag"].as_bool().unwrap(), table.booleans[index]);
            prop_assert_eq!(parsed_time(row["time"].as_str().unwrap()), table.times[index]);
        }
    }

    #[test]
    fn the_short_way_to_write_a_float_equals_the_long_one(float in prop_oneof![
        any::<f64>(),
        (-100_000_000_000_000_000..100_000_000_000_000_000_i64).prop_map(|units| units as f64 / 100.0),
        (-10_000_000..10_000_000_i64).prop_map(|units| units as f64 / 1_000.0),
    ]) {
        if float.is_finite() {
            let mut short = Vec::new();
            text::push_float(&mut short, float);
            prop_assert_eq!(String::from_utf8(short).unwrap(), serde_json::to_string(&float).unwrap());
        }
    }
}
