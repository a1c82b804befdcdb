use proptest::prelude::*;

use super::*;
use crate::error::{ParseError, ValueClass};

const GOOD: &str = r#"{"transaction_id":"t1","customer_id":7,"terminal_id":"9","tx_amount":12.34567,"tx_datetime":"2018-04-01 00:00:31"}"#;

fn parse(text: &str) -> Result<Parsed, ParseError> {
    Parsed::from_json(text.as_bytes(), ParseOptions::default())
}

/// The transaction above with one field replaced.
fn with(field: &str, value: &str) -> Result<Parsed, ParseError> {
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(GOOD).unwrap();
    object.remove(field);
    let rest = serde_json::to_string(&object).unwrap();
    parse(&format!("{},\"{field}\":{value}}}", &rest[..rest.len() - 1]))
}

fn problems(result: Result<Parsed, ParseError>) -> Vec<(&'static str, ValueClass)> {
    match result {
        Err(ParseError::Invalid(error)) => error.problems.iter().map(|p| (p.field, p.found)).collect(),
        other => panic!("expected a validation error, got {other:?}"),
    }
}

fn time_of(text: &str) -> Option<i64> {
    with("tx_datetime", &format!("\"{text}\"")).ok().map(|parsed| parsed.transaction.time)
}

#[test]
fn reads_every_field() {
    let Parsed { transaction, label, label_fields, unknown_fields } = parse(GOOD).unwrap();
    assert_eq!(transaction.transaction_id, Id::from_text("t1").unwrap());
    assert_eq!(transaction.customer_id, Id::from_text("7").unwrap());
    assert_eq!(transaction.terminal_id, Id::from(9));
    assert_eq!(transaction.amount.units(), 123_457);
    assert_eq!(transaction.time, 1_522_540_831);
    assert_eq!((label, label_fields, unknown_fields), (None, 0, 0));
}

#[test]
fn integers_and_their_text_are_one_id() {
    assert_eq!(Id::from_text("-12"), Some(Id::from(-12)));
    assert_eq!(Id::from_text("0"), Some(Id::from(0)));
    assert_eq!(Id::from_text("9223372036854775807"), Some(Id::from(i64::MAX)));
    for other in ["012", "+12", "-0", "00", "1e3", "12 ", "9223372036854775808"] {
        let id = Id::from_text(other).unwrap();
        assert!(matches!(id.as_ref(), IdRef::Text(_)), "{other}");
        assert_eq!(id.to_string(), other);
    }
    assert_eq!(Id::from_text(""), None);
    assert_eq!(Id::from_text(&"ä".repeat(65)), None);
    assert!(Id::from_text(&"ä".repeat(64)).is_some());
    assert_eq!(with("customer_id", "7.0").unwrap(), with("customer_id", "\"7\"").unwrap());
    assert_eq!(problems(with("customer_id", "18446744073709551615")), [("customer_id", ValueClass::OutOfRange)]);
}

#[test]
fn event_time_is_floored_utc() {
    assert_eq!(time_of("2018-04-01T00:00:31Z"), Some(1_522_540_831));
    assert_eq!(time_of("2018-04-01t02:00:31.999+02:00"), Some(1_522_540_831));
    assert_eq!(time_of("1969-12-31T23:59:59.5Z"), Some(-1));
    assert_eq!(time_of("1969-12-31 23:59:59.5"), Some(-1));
    assert_eq!(time_of("0001-01-01 00:00:00"), Some(MIN_TIME));
    assert_eq!(time_of("9999-12-31T23:59:59Z"), None, "beyond what the calendar library holds");
    for bad in
        ["2018-04-01", "2018-04-01T00:00:31", "2018-02-30 00:00:00", "now", "2018-04-01T00:00:31Z[UTC]", "1522540831"]
    {
        assert_eq!(problems(with("tx_datetime", &format!("\"{bad}\""))), [("tx_datetime", ValueClass::Text)], "{bad}");
    }
}

#[test]
fn seconds_count_from_the_epoch_and_give_way_to_the_date() {
    let text = GOOD.replace(r#""tx_datetime":"2018-04-01 00:00:31""#, r#""tx_time_seconds":31"#);
    assert_eq!(parse(&text).unwrap().transaction.time, 31);
    let options = ParseOptions { epoch: 1_522_540_800, ..ParseOptions::default() };
    assert_eq!(Parsed::from_json(text.as_bytes(), options).unwrap().transaction.time, 1_522_540_831);
    assert_eq!(with("tx_time_seconds", "-5").unwrap().transaction.time, 1_522_540_831);
    for (value, class) in [
        ("-1", ValueClass::Negative),
        ("1.5", ValueClass::Float),
        ("\"31\"", ValueClass::Text),
        ("9223372036854775807", ValueClass::OutOfRange),
        ("null", ValueClass::Null),
    ] {
        let text = text.replace("31", value);
        assert_eq!(problems(parse(&text)), [("tx_time_seconds", class)], "{value}");
    }
}

#[test]
fn every_broken_rule_is_listed() {
    let found = problems(parse(r#"{"customer_id":null,"terminal_id":[],"tx_amount":-1,"tx_datetime":7}"#));
    let expected = [
        ("transaction_id", ValueClass::Missing),
        ("customer_id", ValueClass::Null),
        ("terminal_id", ValueClass::Array),
        ("tx_amount", ValueClass::Negative),
        ("tx_datetime", ValueClass::Integer),
    ];
    assert_eq!(found, expected);
    assert_eq!(problems(with("tx_amount", "1e999")), [("tx_amount", ValueClass::OutOfRange)]);
    assert_eq!(problems(with("tx_amount", "1000000000.01")), [("tx_amount", ValueClass::OutOfRange)]);
    assert_eq!(problems(with("tx_amount", "\"12\"")), [("tx_amount", ValueClass::Text)]);
    assert_eq!(problems(with("tx_amount", "1,\"tx_amount\":1")), [("tx_amount", ValueClass::Repeated)]);
    assert_eq!(problems(with("customer_id", "{\"a\":{}}")), [("customer_id", ValueClass::Object)]);
    assert_eq!(problems(parse("[]")), [("", ValueClass::NotObject)]);
    let message = with("tx_amount", "true").unwrap_err().to_string();
    assert_eq!(message, "`tx_amount` must be a finite number from 0 to 1e9; found a boolean");
}

#[test]
fn what_is_no_json_is_said_with_its_place() {
    for bad in ["", "{", "nope", "{\"a\":1}x", "{\"tx_amount\":NaN}", "{\"a\":\"\u{1}\"}"] {
        assert!(matches!(parse(bad), Err(ParseError::NotJson { .. })), "{bad}");
    }
    assert!(Parsed::from_json(b"{\"customer_id\":\"\xff\"}", ParseOptions::default()).is_err());
    let deep = format!("{{\"a\":{}}}", "[".repeat(1_000_000));
    assert!(matches!(parse(&deep), Err(ParseError::NotJson { .. })));
}

#[test]
fn labels_and_unknown_fields_are_counted_not_used() {
    let text = GOOD
        .replace('}', r#","tx_fraud":"maybe","tx_fraud_scenario":2,"tx_time_days":1,"merchant":{"a":[1]},"x":1e999}"#);
    let parsed = parse(&text).unwrap();
    assert_eq!((parsed.label, parsed.label_fields, parsed.unknown_fields), (None, 2, 2));
    let options = ParseOptions { labels: true, ..ParseOptions::default() };
    let read = |text: &str| Parsed::from_json(text.as_bytes(), options);
    assert_eq!(problems(read(&text)), [("tx_fraud", ValueClass::Text)]);
    for (value, label) in
        [("0", Some(false)), ("1", Some(true)), ("1.0", Some(true)), ("true", Some(true)), ("null", None)]
    {
        assert_eq!(read(&text.replace("\"maybe\"", value)).unwrap().label, label, "{value}");
    }
}

#[test]
fn capitals_are_for_files() {
    let text = GOOD.to_ascii_uppercase().replace("T1", "t1");
    assert_eq!(problems(parse(&text)).len(), 5);
    let options = ParseOptions { any_case: true, ..ParseOptions::default() };
    assert_eq!(Parsed::from_json(text.as_bytes(), options).unwrap(), parse(GOOD).unwrap());
}

#[test]
fn messages_may_come_in_an_envelope() {
    let read = |text: &str| Parsed::from_message(text.as_bytes(), ParseOptions::default());
    let plain = parse(GOOD).unwrap();
    assert_eq!(read(GOOD).unwrap(), plain);
    assert_eq!(read(&format!(r#"{{"meta":{{"data":1}},"data":{GOOD}}}"#)).unwrap(), plain);
    let both = format!(r#"{{"data":{{"customer_id":1}},{}"#, &GOOD[1..]);
    assert_eq!(read(&both).unwrap(), Parsed { unknown_fields: 1, ..plain });
    assert_eq!(problems(read(r#"{"data":[1]}"#)).len(), 5);
    assert_eq!(problems(parse(&format!(r#"{{"data":{GOOD}}}"#))).len(), 5, "HTTP takes no envelope");
}

#[test]
fn amounts_round_half_to_even() {
    let units = |major: f64| Amount::from_major(major).map(Amount::units);
    assert_eq!(units(0.00005), Some(0));
    assert_eq!(units(0.00015), Some(2));
    assert_eq!(units(0.00025), Some(2));
    assert_eq!(units(0.000_249_999), Some(2));
    assert_eq!(units(999_999_999.999_95), Some(10_000_000_000_000));
    assert_eq!(units(0.000_099_99), Some(1));
    assert_eq!(units(1e9), Some(10_000_000_000_000));
    assert_eq!(units(-0.0), Some(0));
    for bad in [-0.01, 1e9 + 1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(units(bad), None);
    }
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Parsed::from_json(&bytes, ParseOptions::default());
        let _ = Parsed::from_message(&bytes, ParseOptions { labels: true, any_case: true, ..ParseOptions::default() });
    }

    /// One byte of a good transaction changed: still an answer, and a good one only when it is good JSON.
    #[test]
    fn a_changed_byte_gives_an_answer(at in 0..GOOD.len(), byte in any::<u8>()) {
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[at] = byte;
        if Parsed::from_json(&bytes, ParseOptions::default()).is_ok() {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
        }
    }

    #[test]
    fn cents_are_exact(cents in 0_i64..=100_000_000_000) {
        let major = cents as f64 / 100.0;
        let amount = Amount::from_major(major).unwrap();
        prop_assert_eq!(amount.units(), cents * 100);
        prop_assert_eq!(amount.major(), major);
    }

    #[test]
    fn ids_survive_json(text in "\\PC{1,30}") {
        let id = Id::from_text(&text).unwrap();
        let back: Id = serde_json::from_str(&serde_json::to_string(&id).unwrap()).unwrap();
        prop_assert_eq!(&back, &id);
        prop_assert_eq!(id.to_string(), text);
    }
}
