//! Names and written definitions → [`Source`].

use serde::{Deserialize, Serialize};

use super::definition::{Aggregate, Calendar, FeatureDefinition, FeatureSet, KeyKind, Source};
use crate::duration;
use crate::error::FeatureError;

const DAY: u32 = 86_400;
/// The handbook looks at a terminal only up to a week ago, when its frauds have become known.
const TERMINAL_DELAY: u32 = 7 * DAY;

/// One entry of a written feature list.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Item {
    Name(String),
    Definition(Written),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    name: String,
    source: WrittenSource,
    #[serde(skip_serializing_if = "Option::is_none")]
    calendar: Option<Calendar>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aggregate: Option<Aggregate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenSource {
    Amount,
    Calendar,
    Window,
}

impl From<&FeatureDefinition> for Item {
    fn from(feature: &FeatureDefinition) -> Self {
        let name = feature.name.clone();
        if source_of(&name).as_ref() == Ok(&feature.source) {
            return Self::Name(name);
        }
        let bare = |source| Written {
            name: name.clone(),
            source,
            calendar: None,
            key: None,
            aggregate: None,
            window: None,
            delay: None,
        };
        Self::Definition(match feature.source {
            Source::Amount => bare(WrittenSource::Amount),
            Source::Calendar(calendar) => Written { calendar: Some(calendar), ..bare(WrittenSource::Calendar) },
            Source::Window { key, aggregate, window, delay } => Written {
                key: Some(key),
                aggregate: Some(aggregate),
                window: Some(duration::format(window)),
                delay: Some(duration::format(delay)),
                ..bare(WrittenSource::Window)
            },
        })
    }
}

impl TryFrom<Item> for FeatureDefinition {
    type Error = FeatureError;

    fn try_from(item: Item) -> Result<Self, FeatureError> {
        let written = match item {
            Item::Name(name) => return Self::from_name(&name),
            Item::Definition(written) => written,
        };
        let name = written.name;
        let bad = |problem: String| FeatureError::BadDefinition { name: name.clone(), problem };
        let missing = |field: &str| bad(format!("`{field}` is missing"));
        let span =
            |field: &str, text: &str| duration::parse(text).map_err(|problem| bad(format!("`{field}`: {problem}")));
        let source = match written.source {
            WrittenSource::Amount => Source::Amount,
            WrittenSource::Calendar => Source::Calendar(written.calendar.ok_or_else(|| missing("calendar"))?),
            WrittenSource::Window => Source::Window {
                key: written.key.ok_or_else(|| missing("key"))?,
                aggregate: written.aggregate.ok_or_else(|| missing("aggregate"))?,
                window: span("window", &written.window.ok_or_else(|| missing("window"))?)?,
                delay: written.delay.map_or(Ok(0), |text| span("delay", &text))?,
            },
        };
        Ok(Self { name, source })
    }
}

pub(super) fn from_items(items: Vec<Item>) -> Result<FeatureSet, FeatureError> {
    FeatureSet::new(items.into_iter().map(FeatureDefinition::try_from).collect::<Result<_, _>>()?)
}

pub(super) fn read(text: &str) -> Result<FeatureSet, FeatureError> {
    from_items(serde_json::from_str(text).map_err(|error| FeatureError::Unreadable { problem: error.to_string() })?)
}

pub(super) fn write(set: &FeatureSet) -> String {
    // A list of names and numbers always has a JSON form.
    serde_json::to_string(set).unwrap_or_default()
}

/// Reads a name such as `TERMINAL_ID_RISK_7DAY_WINDOW`: key, aggregate, number, unit. Terminals are seen
/// with the handbook's delay of a week; for another delay a definition is written out.
pub(super) fn source_of(name: &str) -> Result<Source, FeatureError> {
    let plain = match name {
        "TX_AMOUNT" => Some(Source::Amount),
        "TX_DURING_WEEKEND" => Some(Source::Calendar(Calendar::Weekend)),
        "TX_DURING_NIGHT" => Some(Source::Calendar(Calendar::Night)),
        "TX_HOUR" => Some(Source::Calendar(Calendar::Hour)),
        "TX_DAY_OF_WEEK" => Some(Source::Calendar(Calendar::DayOfWeek)),
        _ => None,
    };
    plain.or_else(|| window_of(name)).ok_or_else(|| FeatureError::Unknown { name: name.to_owned() })
}

fn window_of(name: &str) -> Option<Source> {
    let body = name.strip_suffix("_WINDOW")?;
    let (key, delay, body) = match body.strip_prefix("CUSTOMER_ID_") {
        Some(body) => (KeyKind::Customer, 0, body),
        None => (KeyKind::Terminal, TERMINAL_DELAY, body.strip_prefix("TERMINAL_ID_")?),
    };
    let (aggregate, span) = body.rsplit_once('_')?;
    let aggregate = match aggregate {
        "NB_TX" => Aggregate::Count,
        "SUM_AMOUNT" => Aggregate::Sum,
        "AVG_AMOUNT" => Aggregate::Mean,
        "MIN_AMOUNT" => Aggregate::Min,
        "MAX_AMOUNT" => Aggregate::Max,
        "STD_AMOUNT" => Aggregate::StdDev,
        "RISK" => Aggregate::FraudShare,
        "SECONDS_SINCE_PREVIOUS" => Aggregate::SecondsSincePrevious,
        _ => return None,
    };
    let unit = [("DAY", DAY), ("HOUR", 3_600), ("MINUTE", 60)];
    let (number, seconds) = unit.iter().find_map(|(unit, seconds)| Some((span.strip_suffix(unit)?, seconds)))?;
    if number.starts_with(['0', '+']) {
        return None;
    }
    let window = number.parse::<u32>().ok()?.checked_mul(*seconds)?;
    Some(Source::Window { key, aggregate, window, delay })
}

pub(super) fn handbook() -> Vec<FeatureDefinition> {
    let feature = |name: &str, source| FeatureDefinition { name: name.to_owned(), source };
    let mut features = vec![
        feature("TX_AMOUNT", Source::Amount),
        feature("TX_DURING_WEEKEND", Source::Calendar(Calendar::Weekend)),
        feature("TX_DURING_NIGHT", Source::Calendar(Calendar::Night)),
    ];
    let keys = [
        (KeyKind::Customer, "CUSTOMER_ID", 0, (Aggregate::Mean, "AVG_AMOUNT")),
        (KeyKind::Terminal, "TERMINAL_ID", TERMINAL_DELAY, (Aggregate::FraudShare, "RISK")),
    ];
    for (key, prefix, delay, second) in keys {
        for days in [1, 7, 30] {
            for (aggregate, word) in [(Aggregate::Count, "NB_TX"), second] {
                let source = Source::Window { key, aggregate, window: days * DAY, delay };
                features.push(feature(&format!("{prefix}_{word}_{days}DAY_WINDOW"), source));
            }
        }
    }
    features
}
