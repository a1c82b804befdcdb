//! The command from end to end, on small files.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use fraud_stream::replay::{Labels, Options, run};
use serde_json::Value;
use support::{DAY, Folder, Numbers, Row, START, parquet_rows, payments, write};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_format_gives_the_same() {
    let folder = Folder::new();
    let rows = payments(45, 60);
    for extension in ["parquet", "csv", "jsonl"] {
        write(&folder.file(&format!("in.{extension}")), &rows);
        folder.replays(&format!(
            "--input in.{extension} --output {extension}.jsonl --features {extension}.csv --labels tx_fraud --summary {extension}.summary"
        ));
    }
    let assessments = folder.text("parquet.jsonl");
    assert_eq!(assessments.lines().count(), rows.len());
    for (line, row) in lines(&assessments).iter().zip(&rows) {
        assert_eq!(line["transaction_id"], row.id.to_string());
        let p = line["fraud_probability"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&p));
        assert!(line["decision"] != "approve" || line["reasons"].as_array().unwrap().is_empty());
    }
    let complete = |line: &&Value| line["history_complete"] == true;
    assert!(lines(&assessments).iter().filter(complete).count() > 60, "eight days come after the 37 of history");
    for extension in ["csv", "jsonl"] {
        assert!(folder.text(&format!("{extension}.jsonl")) == assessments, "{extension}: other assessments");
        assert!(folder.text(&format!("{extension}.csv")) == folder.text("parquet.csv"), "{extension}: other features");
    }
    let summary: Value = serde_json::from_str(&folder.text("csv.summary")).unwrap();
    assert_eq!(summary["transactions"], rows.len());
    assert_eq!(summary["rejected"], 0);
    assert_eq!(summary["order"], "already_sorted");
    assert_eq!(summary["first_time"], "2018-04-01T00:00:00Z".replace("00:00:00", &clock(rows[0].time)));
    assert_eq!(summary["quality"]["transactions"], rows.len());
    assert_eq!(summary["quality"]["frauds"], rows.iter().filter(|row| row.fraud).count());
    assert_eq!(summary["quality"]["card_precision_at_100"]["days"], 45);
    let fraud: f64 = rows.iter().filter(|row| row.fraud).map(|row| row.amount).sum();
    let quality = |name: &str| summary["quality"][name].as_f64().unwrap();
    assert!((quality("fraud_amount_caught") + quality("fraud_amount_missed") - fraud).abs() < 1e-6);
    let decided: u64 =
        ["approve", "review", "decline"].iter().map(|name| summary["decisions"][name].as_u64().unwrap()).sum();
    assert_eq!(decided, rows.len() as u64);
}

fn clock(time: i64) -> String {
    let second = (time - START) % DAY;
    format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

#[test]
fn unsorted_input_gives_what_sorted_input_gives() {
    let folder = Folder::new();
    let mut rows = payments(20, 80);
    write(&folder.file("sorted.csv"), &rows);
    // Mixed within the file; rows of one second keep their order among themselves.
    let mut numbers = Numbers::new(3);
    rows.sort_by_cached_key(|row| Numbers::new(row.time as u64).below(1_000) + numbers.below(1));
    assert!(rows.windows(2).any(|pair| pair[0].time > pair[1].time));
    write(&folder.file("mixed.csv"), &rows);
    let options = |input: &str, output: &str| Options {
        labels: Labels::TxFraud,
        features: Some(folder.file(&format!("{output}.features.jsonl"))),
        ..Options::new(&folder.file(input), &folder.file(&format!("{output}.jsonl")))
    };
    run(&options("sorted.csv", "sorted")).unwrap();
    run(&options("mixed.csv", "in_memory")).unwrap();
    run(&Options { sort_rows: 7, ..options("mixed.csv", "in_files") }).unwrap();
    run(&Options { workers: 1, ..options("sorted.csv", "one_worker") }).unwrap();
    run(&Options { workers: 7, ..options("sorted.csv", "seven_workers") }).unwrap();
    for other in ["in_memory", "in_files", "one_worker", "seven_workers"] {
        for file in ["jsonl", "features.jsonl"] {
            assert!(
                folder.text(&format!("{other}.{file}")) == folder.text(&format!("sorted.{file}")),
                "{other}.{file}"
            );
        }
    }
    // Nothing but what was asked for is left behind.
    assert_eq!(folder.names().len(), 2 + 2 * 5);
}

#[test]
fn arrival_order_takes_rows_as_they_come() {
    let folder = Folder::new();
    let row = |id, day| Row { id, time: START + day * DAY, customer: 1, terminal: 2, amount: 5.0, fraud: false };
    write(&folder.file("in.csv"), &[row(1, 5), row(2, 0), row(3, 5)]);
    folder.replays("--input in.csv --output came.jsonl --order arrival --summary s.json");
    let came = lines(&folder.text("came.jsonl"));
    let of = |lines: &[Value], field: &str| lines.iter().map(|line| line[field].clone()).collect::<Vec<_>>();
    assert_eq!(of(&came, "transaction_id"), ["1", "2", "3"]);
    assert_eq!(of(&came, "late"), [false, true, false]);
    let summary: Value = serde_json::from_str(&folder.text("s.json")).unwrap();
    assert_eq!((&summary["late"], &summary["order"]), (&Value::from(1), &Value::from("as_they_came")));
    folder.replays("--input in.csv --output sorted.jsonl");
    let sorted = lines(&folder.text("sorted.jsonl"));
    assert_eq!(of(&sorted, "transaction_id"), ["2", "1", "3"]);
    assert_eq!(of(&sorted, "late"), [false, false, false]);
}

#[test]
fn rejected_rows_are_listed_with_their_lines() {
    let folder = Folder::new();
    let text = "transaction_id,customer_id,terminal_id,tx_amount,tx_datetime,tx_fraud\n\
                1,1,1,5,2018-04-01 00:00:00,0\n\
                2,1,1,-5,2018-04-01 00:00:01,0\n\
                3,1,1,5\n\
                1,1,1,6,2018-04-01 00:00:02,0\n\
                1,1,1,5,2018-04-01 00:00:00,0\n\
                4,,1,x,2018-04-01 00:00:03,0\n\
                5,1,1,5,2018-04-01 00:00:04,1\n";
    std::fs::write(folder.file("in.csv"), text).unwrap();
    let printed = folder.replays("--input in.csv --output out.jsonl --labels tx_fraud --summary s.json");
    assert!(printed.contains("Rejected rows  4"), "{printed}");
    assert!(printed.contains("out.jsonl.rejected.jsonl"), "{printed}");
    let out = lines(&folder.text("out.jsonl"));
    let ids: Vec<_> = out.iter().map(|line| line["transaction_id"].as_str().unwrap()).collect();
    // The repeat is answered again, the same id for another payment is not.
    assert_eq!(ids, ["1", "1", "5"]);
    assert_eq!(out.iter().filter(|line| line["duplicate"] == true).count(), 1);
    let mut rejected = lines(&folder.text("out.jsonl.rejected.jsonl"));
    rejected.sort_by_key(|line| line["line"].as_u64());
    let of = |field: &str| rejected.iter().map(|line| line[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("line"), [3, 4, 5, 7]);
    assert_eq!(rejected[0]["fields"], serde_json::json!(["tx_amount"]));
    assert_eq!(rejected[2]["fields"], serde_json::json!(["transaction_id"]));
    assert_eq!(rejected[3]["fields"], serde_json::json!(["customer_id", "tx_amount"]));
    assert!(rejected[1]["reason"].as_str().unwrap().contains("4 cells"), "{}", rejected[1]);
    let summary: Value = serde_json::from_str(&folder.text("s.json")).unwrap();
    assert_eq!((&summary["rejected"], &summary["duplicates"]), (&Value::from(4), &Value::from(1)));
    // The duplicate is no second payment.
    assert_eq!(summary["quality"]["transactions"], 2);
    // A replay without rejected rows takes the list away.
    write(&folder.file("in.csv"), &payments(1, 3));
    folder.replays("--input in.csv --output out.jsonl");
    assert_eq!(folder.names(), ["in.csv", "out.jsonl", "s.json"]);
}

#[test]
fn a_saved_state_continues_as_one_run() {
    let folder = Folder::new();
    let rows = payments(50, 60);
    let cut = rows.len() / 2;
    write(&folder.file("all.parquet"), &rows);
    write(&folder.file("first.parquet"), &rows[..cut]);
    write(&folder.file("second.parquet"), &rows[cut..]);
    folder.replays("--input all.parquet --output all.jsonl --labels tx_fraud --features all.csv");
    folder.replays("--input first.parquet --output a.jsonl --labels tx_fraud --features a.csv --save-state state");
    folder.replays("--input second.parquet --output b.jsonl --labels tx_fraud --features b.csv --load-state state --save-state state");
    assert!(folder.text("a.jsonl") + &folder.text("b.jsonl") == folder.text("all.jsonl"));
    let header_and = folder.text("b.csv");
    let (_, second) = header_and.split_once('\n').unwrap();
    assert!(folder.text("a.csv") + second == folder.text("all.csv"));
    // The same once more: everything is known.
    folder.replays("--input second.parquet --output c.jsonl --labels tx_fraud --load-state state --summary s.json");
    let summary: Value = serde_json::from_str(&folder.text("s.json")).unwrap();
    let again = summary["duplicates"].as_u64().unwrap() + summary["late"].as_u64().unwrap();
    assert_eq!(again, (rows.len() - cut) as u64);
    std::fs::write(folder.file("torn"), &std::fs::read(folder.file("state")).unwrap()[..1_000]).unwrap();
    let said = folder.refuses("--input second.parquet --output d.jsonl --load-state torn", 65);
    assert!(said.contains("torn"), "{said}");
}

#[test]
fn labels_count_only_when_asked_for_and_after_the_delay() {
    let folder = Folder::new();
    let row = |id, day, fraud| Row { id, time: START + day * DAY, customer: id, terminal: 2, amount: 5.0, fraud };
    write(&folder.file("in.csv"), &[row(0, 0, true), row(1, 6, false), row(2, 7, false), row(3, 9, false)]);
    let risk = |arguments: &str| {
        folder.replays(&format!("--input in.csv --output out.jsonl --features f.jsonl {arguments}"));
        lines(&folder.text("f.jsonl"))
            .iter()
            .map(|line| line["TERMINAL_ID_RISK_7DAY_WINDOW"].as_f64().unwrap())
            .collect::<Vec<_>>()
    };
    // The fraud of day 0 lies in the window from day 7 on; known exactly then with a week's delay.
    assert_eq!(risk(""), [0.0, 0.0, 0.0, 0.0]);
    assert_eq!(risk("--labels tx_fraud"), [0.0, 0.0, 1.0, 1.0]);
    assert_eq!(risk("--labels tx_fraud --label-delay 8d"), [0.0, 0.0, 0.0, 1.0]);
}

#[test]
fn assessments_as_tables_say_what_json_says() {
    let folder = Folder::new();
    write(&folder.file("in.csv"), &payments(3, 100));
    for extension in ["jsonl", "csv", "parquet"] {
        folder.replays(&format!("--input in.csv --output out.{extension}"));
    }
    let json = lines(&folder.text("out.jsonl"));
    let table = parquet_rows(&folder.file("out.parquet"));
    assert_eq!((json.len(), table.len()), (300, 300));
    assert_eq!(folder.text("out.csv").lines().count(), 301);
    for (line, row) in json.iter().zip(table) {
        for (name, value) in row {
            match name.as_str() {
                "reasons" => {
                    assert_eq!(serde_json::from_str::<Value>(value.as_str().unwrap()).unwrap(), line["reasons"]);
                }
                "approximate" => assert_eq!(value, false),
                _ => assert_eq!(value, line[&name], "{name}"),
            }
        }
    }
}

#[test]
fn ids_of_the_feature_matrix_are_integers_where_all_are() {
    let folder = Folder::new();
    let line = |id: &str, day: u32| {
        format!(
            "{{\"transaction_id\":\"{id}\",\"customer_id\":1,\"terminal_id\":1,\"tx_amount\":1,\"tx_datetime\":\"2018-04-0{day} 00:00:00\"}}\n"
        )
    };
    let kind = |text: String, arguments: &str| {
        std::fs::write(folder.file("in.jsonl"), text).unwrap();
        folder.replays(&format!("--input in.jsonl --output o.jsonl --features f.parquet {arguments}"));
        let (name, id) = parquet_rows(&folder.file("f.parquet"))[0][0].clone();
        assert_eq!(name, "transaction_id");
        id
    };
    assert_eq!(kind(line("7", 1) + &line("8", 2), ""), 7);
    assert_eq!(kind(line("7", 1) + &line("x", 2), ""), "7");
    assert_eq!(kind(line("7", 2) + &line("x", 1), ""), "x");
    assert_eq!(kind(line("7", 1) + &line("x", 2), "--order arrival"), "7");
}

#[test]
fn seconds_count_from_the_epoch_given() {
    let folder = Folder::new();
    let text = "transaction_id,customer_id,terminal_id,tx_amount,tx_time_seconds\n1,1,1,1,31\n";
    std::fs::write(folder.file("in.csv"), text).unwrap();
    folder.replays("--input in.csv --output o.jsonl --summary s.json --time-epoch 2018-04-01T00:00:00Z");
    let summary: Value = serde_json::from_str(&folder.text("s.json")).unwrap();
    assert_eq!(summary["first_time"], "2018-04-01T00:00:31Z");
}

#[test]
fn what_cannot_be_done_is_refused_with_the_fitting_code() {
    let folder = Folder::new();
    write(&folder.file("in.csv"), &payments(1, 5));
    std::fs::write(folder.file("zeros.parquet"), vec![0; 1 << 20]).unwrap();
    std::fs::write(folder.file("columns.csv"), "a,b\n1,2\n").unwrap();
    std::fs::write(folder.file("junk.jsonl"), "junk\nmore\n").unwrap();
    std::fs::write(folder.file("empty.jsonl"), "").unwrap();
    for (arguments, code, hint) in [
        ("--input in.csv", 64, "--output"),
        ("--input in.csv --output in.csv", 64, "same file"),
        ("--input in.csv --output ./in.csv", 64, "same file"),
        ("--input in.csv --output out.xml", 64, ".jsonl"),
        ("--input in.xls --output out.jsonl", 64, ".parquet"),
        ("--input in.csv --output out.jsonl --label-delay week", 64, "7d"),
        ("--input in.csv --output out.jsonl --time-epoch yesterday", 64, "2018-04-01"),
        ("--input in.csv --output out.jsonl --model in.csv", 64, "ONNX"),
        ("--input absent.csv --output out.jsonl", 74, "absent.csv"),
        ("--input in.csv --output absent/out.jsonl", 74, "absent/out.jsonl"),
        ("--input zeros.parquet --output out.jsonl", 65, "PAR1"),
        ("--input columns.csv --output out.jsonl", 65, "missing transaction_id"),
        ("--input junk.jsonl --output out.jsonl", 65, "none of its 2 rows"),
    ] {
        let said = folder.refuses(arguments, code);
        assert!(said.contains(hint), "{arguments}: {said}");
        assert!(!folder.file("out.jsonl").exists(), "{arguments}");
    }
    assert_eq!(lines(&folder.text("out.jsonl.rejected.jsonl")).len(), 2);
    #[cfg(unix)]
    {
        std::fs::write(folder.file("bad.csv"), folder.text("in.csv") + "x\n").unwrap();
        folder.replays("--input bad.csv --output /dev/null");
        assert!(!std::path::Path::new("/dev/null.rejected.jsonl").exists());
    }
    folder.replays("--input empty.jsonl --output out.jsonl --features f.csv");
    assert_eq!(folder.text("out.jsonl"), "");
    let help = String::from_utf8(folder.replay("--help").stdout).unwrap();
    assert!(help.contains("Examples:") && help.contains("--labels tx_fraud"), "{help}");
}

#[test]
fn latency_measures_the_models_in_their_order() {
    use fraud_stream::latency::{LatencyArgs, measure};
    let folder = Folder::new();
    write(&folder.file("in.csv"), &payments(3, 40));
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fraud-core");
    let default = root.join("models/default.onnx");
    let arguments =
        LatencyArgs { input: folder.file("in.csv"), model: vec![default.clone(), default], rows: 100, rounds: 3 };
    let latency = measure(&arguments).unwrap();
    assert_eq!((latency.rows, latency.models.len()), (100, 2));
    for timing in &latency.models {
        assert_eq!(timing.name, "fraud-default");
        assert!(timing.median_us > 0.0 && timing.p99_us > 0.0);
    }
    let hostile = LatencyArgs { model: vec![root.join("testdata/hostile/cycle.onnx")], ..arguments.clone() };
    assert_eq!(measure(&hostile).unwrap_err().exit_code(), 64);
    std::fs::write(folder.file("empty.csv"), "transaction_id,tx_datetime,customer_id,terminal_id,tx_amount\n").unwrap();
    let empty = LatencyArgs { input: folder.file("empty.csv"), ..arguments };
    assert_eq!(measure(&empty).unwrap_err().exit_code(), 65);
}
