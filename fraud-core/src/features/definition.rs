//! What a feature is.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::catalogue;
use crate::error::FeatureError;

/// Longest window and longest delay, in seconds: 90 days each.
pub const MAX_SPAN_SECONDS: u32 = 90 * 86_400;

/// Whose transactions a window looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// The ones of the transaction's customer.
    Customer,
    /// The ones of the transaction's terminal.
    Terminal,
}

/// What is computed over a window. An empty window gives 0 (but see [`Aggregate::SecondsSincePrevious`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// How many transactions.
    Count,
    /// Their amounts together, in major units.
    Sum,
    /// Their mean amount, in major units.
    Mean,
    /// Their smallest amount, in major units.
    Min,
    /// Their greatest amount, in major units.
    Max,
    /// The population standard deviation of their amounts, in major units.
    StdDev,
    /// The share of them known to be fraud, 0 to 1; those without a label count as not known to be.
    FraudShare,
    /// Seconds from the latest of them (the current transaction apart) to the window's right edge; the
    /// window's length where there is none.
    SecondsSincePrevious,
}

/// A property of the event time, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calendar {
    /// 1 on Saturday and Sunday, else 0.
    Weekend,
    /// 1 when the hour is at most 6, else 0.
    Night,
    /// The hour, 0 to 23.
    Hour,
    /// The day of the week, 0 (Monday) to 6.
    DayOfWeek,
}

/// Where a feature's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The transaction's amount, in major units.
    Amount,
    /// Its event time.
    Calendar(Calendar),
    /// An aggregate over the transactions of its customer or terminal with event time in
    /// (t − delay − window, t − delay], t being its own; without a delay it is among them.
    Window {
        /// Whose transactions.
        key: KeyKind,
        /// What of them.
        aggregate: Aggregate,
        /// Length in seconds, 1 to [`MAX_SPAN_SECONDS`].
        window: u32,
        /// How far the right edge lies back, in seconds, 0 to [`MAX_SPAN_SECONDS`].
        delay: u32,
    },
}

/// A feature: a name and what it means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FeatureDefinition {
    /// Its name, as models and answers write it.
    pub name: String,
    /// Its meaning.
    pub source: Source,
}

impl FeatureDefinition {
    /// The catalogue's feature of that name.
    ///
    /// # Errors
    /// [`FeatureError::Unknown`] or [`FeatureError::BadDefinition`].
    pub fn from_name(name: &str) -> Result<Self, FeatureError> {
        Ok(Self { name: name.to_owned(), source: catalogue::source_of(name)? })
    }

    /// How far back it looks, in seconds.
    #[must_use]
    pub fn history(&self) -> u32 {
        match self.source {
            Source::Window { window, delay, .. } => window + delay,
            Source::Amount | Source::Calendar(_) => 0,
        }
    }
}

/// The features of a model, in the order of its inputs; no name twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureSet(Vec<FeatureDefinition>);

impl FeatureSet {
    /// A set of these features in this order.
    ///
    /// # Errors
    /// [`FeatureError::Repeated`], or [`FeatureError::BadDefinition`] for a span out of range.
    pub fn new(features: Vec<FeatureDefinition>) -> Result<Self, FeatureError> {
        let mut names = std::collections::HashSet::new();
        for feature in &features {
            if !names.insert(feature.name.as_str()) {
                return Err(FeatureError::Repeated { name: feature.name.clone() });
            }
            if let Source::Window { window, delay, .. } = feature.source {
                let bad = |problem: String| Err(FeatureError::BadDefinition { name: feature.name.clone(), problem });
                if window == 0 || window > MAX_SPAN_SECONDS {
                    return bad(format!("the window is {window} s, it must be 1 s to 90 days"));
                }
                if delay > MAX_SPAN_SECONDS {
                    return bad(format!("the delay is {delay} s, it must be at most 90 days"));
                }
            }
        }
        Ok(Self(features))
    }

    /// The catalogue's features of these names.
    ///
    /// # Errors
    /// As [`FeatureSet::new`] and [`FeatureDefinition::from_name`].
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, FeatureError> {
        Self::new(names.into_iter().map(FeatureDefinition::from_name).collect::<Result<_, _>>()?)
    }

    /// Reads a JSON array whose items are names or definitions:
    /// `["TX_AMOUNT", {"name": "N1H", "source": "window", "key": "terminal", "aggregate": "count",
    /// "window": "1h", "delay": "0s"}]`.
    ///
    /// # Errors
    /// [`FeatureError`], naming the feature.
    pub fn from_json(text: &str) -> Result<Self, FeatureError> {
        catalogue::read(text)
    }

    /// The same list as [`FeatureSet::from_json`] reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        catalogue::write(self)
    }

    /// The fifteen features of the *Reproducible Machine Learning for Credit Card Fraud Detection*
    /// handbook, in its order.
    #[must_use]
    pub fn handbook() -> Self {
        Self(catalogue::handbook())
    }

    /// The definitions in order.
    #[must_use]
    pub fn definitions(&self) -> &[FeatureDefinition] {
        &self.0
    }

    /// The names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|feature| feature.name.as_str())
    }

    /// Where the feature of that name stands.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|feature| feature.name == name)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How far back the furthest-looking feature looks, in seconds.
    #[must_use]
    pub fn history(&self) -> u32 {
        self.0.iter().map(FeatureDefinition::history).max().unwrap_or(0)
    }

    /// Refuses, by name, the first feature that looks further back than `kept_seconds`.
    ///
    /// # Errors
    /// [`FeatureError::TooMuchHistory`].
    pub fn check_history(&self, kept_seconds: u32) -> Result<(), FeatureError> {
        match self.0.iter().find(|feature| feature.history() > kept_seconds) {
            None => Ok(()),
            Some(feature) => Err(FeatureError::TooMuchHistory {
                name: feature.name.clone(),
                needed_seconds: feature.history(),
                kept_seconds,
            }),
        }
    }
}

impl Serialize for FeatureSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(catalogue::Item::from))
    }
}

impl<'de> Deserialize<'de> for FeatureSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        catalogue::from_items(Vec::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
