//! The command as a person runs it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

const SIZE: [&str; 6] = ["--customers", "200", "--terminals", "400", "--days", "40"];

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fraud-loadgen")).arg("simulate").args(arguments).output().unwrap()
}

fn simulate_to(path: &Path, more: &[&str]) -> Vec<u8> {
    let output = simulate(&[&SIZE, more, &["--output", path.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{output:?}");
    fs::read(path).unwrap()
}

fn refused(arguments: &[&str], code: i32) -> String {
    let output = simulate(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bytes_in_every_format_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    for ending in ["parquet", "csv", "jsonl"] {
        let path = |name: &str| folder.path().join(format!("{name}.{ending}"));
        let one = simulate_to(&path("one"), &["--seed", "3", "--threads", "1"]);
        assert!(one == simulate_to(&path("again"), &["--seed", "3", "--threads", "1"]), "{ending}");
        assert!(one == simulate_to(&path("five"), &["--seed", "3", "--threads", "5"]), "{ending}");
        assert!(one != simulate_to(&path("other"), &["--seed", "4"]), "{ending}");
    }
}

#[test]
fn the_formats_hold_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let parquet = folder.path().join("a.parquet");
    let csv = String::from_utf8(simulate_to(&folder.path().join("a.csv"), &[])).unwrap();
    let json = String::from_utf8(simulate_to(&folder.path().join("a.jsonl"), &[])).unwrap();
    simulate_to(&parquet, &[]);
    let reader = SerializedFileReader::new(fs::File::open(parquet).unwrap()).unwrap();
    let (mut lines, mut objects) = (csv.lines(), json.lines());
    let header = lines.next().unwrap();
    assert_eq!(
        header,
        "transaction_id,tx_datetime,customer_id,terminal_id,tx_amount,tx_time_seconds,tx_time_days,tx_fraud,tx_fraud_scenario"
    );
    let (mut rows, mut frauds) = (0, 0);
    for row in reader.get_row_iter(None).unwrap() {
        let row = row.unwrap();
        let cells: Vec<&Field> = row.get_column_iter().map(|(_, cell)| cell).collect();
        let integer = |index: usize| match cells[index] {
            Field::Long(value) => *value,
            other => panic!("column {index} is {other:?}"),
        };
        let Field::TimestampMicros(micros) = cells[1] else { panic!("{:?}", cells[1]) };
        let Field::Double(amount) = cells[4] else { panic!("{:?}", cells[4]) };
        let seconds = integer(5);
        assert_eq!(integer(0), rows);
        assert_eq!(*micros, (1_522_540_800 + seconds) * 1_000_000);
        assert_eq!(seconds / 86_400, integer(6));
        assert_eq!(integer(7), i64::from(integer(8) > 0));
        assert!((0..200).contains(&integer(2)) && (0..400).contains(&integer(3)) && (0..=3).contains(&integer(8)));
        assert_eq!((amount * 100.0).round() / 100.0, *amount);
        let time = jiff::Timestamp::from_microsecond(*micros).unwrap().to_string();
        let [id, customer, terminal, days, fraud, scenario] = [0, 2, 3, 6, 7, 8].map(integer);
        let datetime = time.replace('T', " ").replace('Z', "");
        assert_eq!(
            lines.next().unwrap(),
            format!("{id},{datetime},{customer},{terminal},{amount:?},{seconds},{days},{fraud},{scenario}")
        );
        assert_eq!(
            objects.next().unwrap(),
            format!(
                "{{\"transaction_id\":{id},\"tx_datetime\":\"{time}\",\"customer_id\":{customer},\
                 \"terminal_id\":{terminal},\"tx_amount\":{amount:?},\"tx_time_seconds\":{seconds},\
                 \"tx_time_days\":{days},\"tx_fraud\":{fraud},\"tx_fraud_scenario\":{scenario}}}"
            )
        );
        rows += 1;
        frauds += fraud;
    }
    assert!(rows > 10_000 && frauds > 100, "{rows} rows, {frauds} frauds");
    assert!(lines.next().is_none() && objects.next().is_none());
}

#[test]
fn the_summary_says_what_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let output = simulate(&[&SIZE[..], &["--start", "2024-02-29", "--output", path.to_str().unwrap()]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let file = fs::read_to_string(&path).unwrap();
    let rows = file.lines().count() - 1;
    let first = text.lines().next().unwrap();
    assert_eq!(first.split(' ').next().unwrap().replace(',', ""), rows.to_string());
    assert!(first.ends_with("of 200 customers at 400 terminals, 40 days from 2024-02-29, seed 0"), "{first}");
    for scenario in 1..=3 {
        let count = file.lines().filter(|line| line.ends_with(&format!(",{scenario}"))).count();
        let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{scenario} "))).unwrap();
        assert!(line.replace(',', "").contains(&format!(" {count} ")), "{line}: {count}");
    }
    assert!(file.lines().nth(1).unwrap().contains(",2024-02-29 0"));
}

#[test]
fn bad_arguments_exit_with_64_and_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    let to = path.to_str().unwrap();
    assert!(refused(&[], 64).contains("--output"));
    assert!(refused(&["--output", "a.txt"], 64).contains("name the file .parquet, .csv or .jsonl"));
    assert!(refused(&["--output", to, "--customers", "0"], 64).contains("--customers must be at least 1"));
    assert!(refused(&["--output", to, "--radius", "nan"], 64).contains("above 0"));
    assert!(refused(&["--output", to, "--start", "2018-02-30"], 64).contains("--start"));
    assert!(refused(&["--output", to, "--start", "9999-12-01"], 64).contains("years 1 to 9999"));
    assert!(refused(&["--output", to, "--drift-amount-factor", "2"], 64).contains("--drift-day"));
    assert!(refused(&["--output", to, "--drift-day", "5"], 64).contains("changes nothing"));
    assert!(refused(&["--output", to, "--colour", "red"], 64).contains("--colour"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_cannot_be_written_exits_with_74() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing").join("a.csv");
    let message = refused(&[&SIZE[..], &["--output", missing.to_str().unwrap()]].concat(), 74);
    assert!(message.contains("cannot create"), "{message}");
    let directory = folder.path().join("a.csv");
    fs::create_dir(&directory).unwrap();
    refused(&[&SIZE[..], &["--output", directory.to_str().unwrap()]].concat(), 74);
}

#[test]
fn help_shows_examples() {
    let output = simulate(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("Examples:") && text.contains("Exit codes:"), "{text}");
}
