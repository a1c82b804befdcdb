//! Labels that follow their transactions after a while.

use std::collections::VecDeque;
use std::io::Write;

use super::draft::StreamError;
use super::encode::{Dates, text_json};
use crate::load::clock::SECOND;
use crate::load::schedule::to_nanoseconds;

/// Labels of one request, at most.
const MOST: usize = 500;

/// Which transactions are labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Labelled {
    /// Frauds and genuine ones.
    #[default]
    All,
    /// Frauds only.
    Fraud,
}

/// When labels are sent, and which.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct LabelSettings {
    /// Seconds between a transaction and its label.
    pub delay_seconds: f64,
    /// Which transactions are labelled.
    pub of: Labelled,
}

#[derive(Debug)]
struct Label {
    due: u64,
    id: String,
    fraud: bool,
    /// When it was observed, in Unix seconds.
    observed: i64,
}

/// Labels on their way.
#[derive(Debug)]
pub(super) struct Labels {
    settings: LabelSettings,
    coming: VecDeque<Label>,
}

impl Labels {
    pub(super) fn new(settings: LabelSettings) -> Self {
        Self { settings, coming: VecDeque::new() }
    }

    /// Remembers a transaction that was due at `due` with an event time in Unix seconds.
    #[allow(clippy::cast_possible_truncation)] // Saturates.
    pub(super) fn follow(&mut self, id: &str, fraud: bool, (due, time): (u64, i64)) {
        if fraud || self.settings.of == Labelled::All {
            let due = due.saturating_add(to_nanoseconds(self.settings.delay_seconds));
            let observed = time.saturating_add(self.settings.delay_seconds.floor() as i64);
            self.coming.push_back(Label { due, id: id.to_owned(), fraud, observed });
        }
    }

    /// Whether a second's labels are all there, given that nothing due before `now` will follow: answers when they
    /// are sent.
    pub(super) fn ready(&self, now: u64) -> Option<u64> {
        let first = self.coming.front()?.due;
        let end = (first / SECOND + 1) * SECOND;
        (end <= now).then_some(end)
    }

    /// Writes the labels due before `end`, at most 500, as a JSON array.
    pub(super) fn write(&mut self, end: u64, dates: &mut Dates, out: &mut Vec<u8>) -> Result<(), StreamError> {
        out.push(b'[');
        for index in 0..MOST {
            let Some(label) = self.coming.pop_front_if(|label| label.due < end) else { break };
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"transaction_id\":");
            text_json(&label.id, out);
            let observed = dates.text(label.observed)?;
            let _ = write!(out, ",\"label\":{},\"observed_at\":\"{observed}\"}}", u8::from(label.fraud));
        }
        out.push(b']');
        Ok(())
    }
}
