//! Transactions on their way to requests.

use std::fmt::Write;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::draft::{Draft, Stream, StreamError};
use super::encode::{self, Dates, Encoder, Row};
use super::labels::{LabelSettings, Labels};
use super::malformed::Malformed;
use super::scenario::{Overlay, Scenario, ScenarioShare};
use super::truth::{Line, TruthFile};
use crate::load::batch::{Batch, Kind, Source, Truth};
use crate::load::clock::SECOND;
use crate::load::schedule::Arrival;

/// Streams of random numbers, one for each purpose, so that one option does not change what another draws.
const SCENARIOS: u64 = 1;
const MALFORMED: u64 = 2;

/// Where event times come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum EventTime {
    /// The intended start: a payment happens when it is sent.
    #[default]
    Arrival,
    /// The transaction's own; its identifier stays its own as well.
    Source,
}

/// How transactions become requests.
#[derive(Debug, Clone)]
pub struct TrafficSettings {
    /// Everything random follows from it.
    pub seed: u64,
    /// Unix seconds of the start of the run, for event times.
    pub base: i64,
    /// Where event times come from.
    pub event_time: EventTime,
    /// Transactions in one request; 1 asks `/predict`, more ask `/predict/batch`.
    pub rows: usize,
    /// Share of the transactions that are broken on purpose, 0 to 1.
    pub malformed: f64,
    /// Fraud laid over the transactions.
    pub scenarios: Vec<ScenarioShare>,
    /// Names of the phases, in order.
    pub phases: Vec<String>,
    /// Labels, if they are sent.
    pub labels: Option<LabelSettings>,
    /// Transactions to send at most.
    pub limit: u64,
}

/// Makes requests of a stream of transactions.
pub struct Traffic {
    settings: TrafficSettings,
    stream: Box<dyn Stream>,
    score: Encoder,
    label: Option<Encoder>,
    truth: Option<TruthFile>,
    overlay: Overlay,
    scenario_random: ChaCha8Rng,
    malformed_random: ChaCha8Rng,
    labels: Option<Labels>,
    dates: Dates,
    label_dates: Dates,
    prefix: String,
    id: String,
    /// Who paid last, as text: the key of a Kafka message.
    customer: String,
    sent: u64,
}

impl Traffic {
    /// Requests of `stream`; those with labels are made where `label` is given.
    #[must_use]
    pub fn new(settings: TrafficSettings, stream: Box<dyn Stream>, (score, label): (Encoder, Option<Encoder>)) -> Self {
        let random = |stream| {
            let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
            random.set_stream(stream);
            random
        };
        Self {
            overlay: Overlay::new(&settings.scenarios, &settings.phases),
            scenario_random: random(SCENARIOS),
            malformed_random: random(MALFORMED),
            labels: settings.labels.filter(|_| label.is_some()).map(Labels::new),
            // Two runs are two sets of payments, unless seed and start are the same.
            prefix: format!("lg-{:x}-{:x}-", settings.base, settings.seed),
            settings,
            stream,
            score,
            label,
            truth: None,
            dates: Dates::default(),
            label_dates: Dates::default(),
            id: String::new(),
            customer: String::new(),
            sent: 0,
        }
    }

    /// Writes the ground truth beside.
    #[must_use]
    pub fn with_truth(mut self, truth: TruthFile) -> Self {
        self.truth = Some(truth);
        self
    }

    /// How many transactions requests were made of.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The request of an arrival; `false` when there is no transaction left.
    fn score(&mut self, arrival: Arrival, out: &mut Vec<u8>, truths: &mut Vec<Truth>) -> Result<bool, StreamError> {
        let many = self.settings.rows > 1;
        let mut body = Vec::new();
        if many {
            body.push(b'[');
        }
        let before = truths.len();
        for _ in 0..self.settings.rows {
            if self.sent >= self.settings.limit {
                break;
            }
            let Some(draft) = self.stream.next()? else { break };
            if truths.len() > before {
                body.push(b',');
            }
            truths.push(self.transaction(draft, arrival, &mut body)?);
        }
        if truths.len() == before {
            return Ok(false);
        }
        if many {
            body.push(b']');
        }
        self.score.request(out, (&self.customer, &self.id), |out| out.extend_from_slice(&body));
        Ok(true)
    }

    /// Writes the next transaction and what is known of it.
    fn transaction(&mut self, mut draft: Draft, arrival: Arrival, out: &mut Vec<u8>) -> Result<Truth, StreamError> {
        let number = self.sent;
        self.sent += 1;
        let scenario = self.overlay.lay(&mut draft, arrival.phase, &mut self.scenario_random);
        let malformed = (self.settings.malformed > 0.0
            && self.malformed_random.random::<f64>() < self.settings.malformed)
            .then(|| Malformed::draw(&mut self.malformed_random, self.settings.rows > 1));
        let time = match self.settings.event_time {
            EventTime::Source => draft.time,
            EventTime::Arrival => self.settings.base + (arrival.due / SECOND).cast_signed(),
        };
        self.id.clear();
        match draft.id.as_ref().filter(|_| self.settings.event_time == EventTime::Source) {
            // Writing into a text does not fail.
            Some(id) => drop(write!(self.id, "{id}")),
            None => drop(write!(self.id, "{}{number}", self.prefix)),
        }
        self.customer.clear();
        let _ = write!(self.customer, "{}", draft.customer);
        let row = Row {
            id: &self.id,
            customer: &draft.customer,
            terminal: &draft.terminal,
            amount: draft.amount,
            time: self.dates.text(time)?,
        };
        match malformed {
            None => encode::row(&row, out),
            Some(how) => encode::malformed(&row, how, out),
        }
        let fraud = draft.fraud.unwrap_or(false);
        if let Some(truth) = &mut self.truth {
            truth.push(&Line {
                id: &self.id,
                time,
                due: arrival.due as f64 / SECOND as f64,
                fraud,
                scenario_number: draft.scenario_number,
                scenario: scenario.map_or("", Scenario::name),
                malformed: malformed.map_or("", Malformed::name),
            })?;
        }
        if malformed.is_some() {
            return Ok(Truth::Malformed);
        }
        if let (Some(labels), Some(_)) = (&mut self.labels, draft.fraud) {
            labels.follow(&self.id, fraud, (arrival.due, time));
        }
        Ok(if fraud { Truth::Fraud } else { Truth::Genuine })
    }

    /// The labels' requests that are due until `now`.
    fn labels(&mut self, now: u64, phase: u16, batch: &mut Batch) -> Result<(), StreamError> {
        let (Some(labels), Some(encoder)) = (&mut self.labels, &mut self.label) else { return Ok(()) };
        while let Some(end) = labels.ready(now) {
            let mut body = Vec::new();
            labels.write(end, &mut self.label_dates, &mut body)?;
            batch.push(Arrival { due: end, phase }, Kind::Labels, |out, _| {
                encoder.request(out, ("", ""), |out| out.extend_from_slice(&body));
                Ok::<(), StreamError>(())
            })?;
        }
        Ok(())
    }
}

impl Source for Traffic {
    type Error = StreamError;

    fn request(&mut self, arrival: Arrival, batch: &mut Batch) -> Result<bool, StreamError> {
        self.labels(arrival.due, arrival.phase, batch)?;
        let mut more = false;
        let mut empty = false;
        batch
            .push(arrival, Kind::Score, |out, truths| {
                more = self.score(arrival, out, truths)?;
                empty = !more;
                if empty { Err(StreamError::Empty) } else { Ok(()) }
            })
            .or_else(|error| if empty { Ok(()) } else { Err(error) })?;
        Ok(more)
    }

    fn finish(&mut self, batch: &mut Batch) -> Result<(), StreamError> {
        let last = u16::try_from(self.settings.phases.len().saturating_sub(1)).unwrap_or(u16::MAX);
        self.labels(u64::MAX, last, batch)?;
        self.truth.take().map_or(Ok(()), |truth| truth.finish().map(drop).map_err(StreamError::from))
    }
}
