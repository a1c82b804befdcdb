use crate::features::*;
use crate::transaction::{Amount, Id, Transaction};

fn transaction(time: i64) -> Transaction {
    let id = Id::from(1);
    let amount = Amount::from_units(123_456).unwrap();
    Transaction { transaction_id: id.clone(), customer_id: id.clone(), terminal_id: id, amount, time }
}

fn values(names: &[&str], transaction: &Transaction, windows: Vec<WindowStats>) -> Vec<f64> {
    let set = FeatureSet::from_names(names.iter().copied()).unwrap();
    let mut row = vec![f64::NAN; set.len()];
    FeaturePlan::compile(&set).write(transaction, &Profile { windows, ..Profile::default() }, &mut row);
    row
}

#[test]
fn the_calendar_is_utc() {
    let names = ["TX_AMOUNT", "TX_DURING_WEEKEND", "TX_DURING_NIGHT", "TX_HOUR", "TX_DAY_OF_WEEK"];
    // 2018-04-01 was a Sunday; 1969-12-31 a Wednesday.
    assert_eq!(values(&names, &transaction(1_522_540_800), vec![]), [12.3456, 1.0, 1.0, 0.0, 6.0]);
    assert_eq!(values(&names, &transaction(1_522_540_800 + 7 * 3_600), vec![])[2..], [0.0, 7.0, 6.0]);
    assert_eq!(values(&names, &transaction(1_522_540_800 + 7 * 3_600 - 1), vec![])[2..], [1.0, 6.0, 6.0]);
    assert_eq!(values(&names, &transaction(-1), vec![])[1..], [0.0, 0.0, 23.0, 2.0]);
}

#[test]
fn aggregates_are_as_defined() {
    let names = [
        "NB_TX",
        "SUM_AMOUNT",
        "AVG_AMOUNT",
        "MIN_AMOUNT",
        "MAX_AMOUNT",
        "STD_AMOUNT",
        "RISK",
        "SECONDS_SINCE_PREVIOUS",
    ]
    .map(|word| format!("CUSTOMER_ID_{word}_1DAY_WINDOW"));
    let names = names.each_ref().map(String::as_str);
    // The amounts 1, 2 and 6.
    let amounts = [10_000_u128, 20_000, 60_000];
    let stats = WindowStats {
        count: 3,
        sum: amounts.iter().sum(),
        sum_of_squares: amounts.iter().map(|amount| amount * amount).sum(),
        min: 10_000,
        max: 60_000,
        frauds: 1,
        since_previous: 17,
    };
    let deviation = (14.0_f64 / 3.0).sqrt();
    let found = values(&names, &transaction(0), vec![stats]);
    assert_eq!([&found[..5], &found[6..]].concat(), [3.0, 9.0, 3.0, 1.0, 6.0, 1.0 / 3.0, 17.0]);
    assert!((found[5] - deviation).abs() < 1e-12);
    let empty = WindowStats { since_previous: 86_400, ..WindowStats::default() };
    assert_eq!(values(&names, &transaction(0), vec![empty]), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 86_400.0]);
}

#[test]
fn a_window_is_asked_for_once_with_all_that_is_needed_of_it() {
    let set = FeatureSet::from_names([
        "TERMINAL_ID_RISK_1DAY_WINDOW",
        "CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW",
        "CUSTOMER_ID_NB_TX_1DAY_WINDOW",
        "CUSTOMER_ID_MAX_AMOUNT_7DAY_WINDOW",
    ]);
    let plan = FeaturePlan::compile(&set.unwrap());
    let seen: Vec<_> = plan.profile().windows().iter().map(|w| (w.key, w.window, w.delay, w.needs.extremes)).collect();
    let day = 86_400;
    let expected = [
        (KeyKind::Customer, day, 0, false),
        (KeyKind::Customer, 7 * day, 0, true),
        (KeyKind::Terminal, day, 7 * day, false),
    ];
    assert_eq!(seen, expected);
    assert_eq!(plan.profile().history(), 8 * day);
}

#[test]
fn the_default_set_is_the_handbooks() {
    let set = FeatureSet::handbook();
    assert_eq!((set.len(), set.history()), (15, 37 * 86_400));
    let named: FeatureSet = FeatureSet::from_names(set.names()).unwrap();
    assert_eq!(named, set, "every name of the set stands in the catalogue with the same meaning");
    assert_eq!(FeatureSet::from_json(&set.to_json()).unwrap(), set);
}

#[test]
fn lists_are_written_as_they_are_read() {
    let text = r#"["TX_HOUR",{"name":"N1H","source":"window","key":"terminal","aggregate":"std_dev","window":"1h","delay":"90s"},{"name":"a","source":"amount"}]"#;
    let set = FeatureSet::from_json(text).unwrap();
    assert_eq!(set.to_json(), text);
    assert_eq!(set.history(), 3_690);
}

#[test]
fn what_cannot_be_computed_is_refused_by_name() {
    for (text, part) in [
        (r#"["TX_AMOUNT","TX_AMOUNT"]"#, "`TX_AMOUNT` is listed twice"),
        (r#"["CUSTOMER_ID_NB_TX_07DAY_WINDOW"]"#, "`CUSTOMER_ID_NB_TX_07DAY_WINDOW` is not known"),
        (r#"["CUSTOMER_ID_NB_TX_91DAY_WINDOW"]"#, "the window is 7862400 s"),
        (r#"["CUSTOMER_ID_NB_TX_99999999DAY_WINDOW"]"#, "is not known"),
        (r#"[{"name":"x","source":"window","key":"customer","window":"1d"}]"#, "feature `x`: `aggregate` is missing"),
        (r#"[{"name":"x","source":"window","key":"customer","aggregate":"sum","window":"soon"}]"#, "`soon` is no span"),
        (
            r#"[{"name":"x","source":"window","key":"customer","aggregate":"sum","window":"1d","delay":"91d"}]"#,
            "the delay",
        ),
        (r#"[{"name":"x","source":"amount","windw":"1d"}]"#, "cannot be read"),
        ("{}", "cannot be read"),
    ] {
        let error = FeatureSet::from_json(text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let error = FeatureSet::handbook().check_history(30 * 86_400).unwrap_err().to_string();
    assert!(error.contains("`TERMINAL_ID_NB_TX_30DAY_WINDOW` needs 3196800 s"), "{error}");
}
