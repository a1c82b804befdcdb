//! One client whose every answer is known beforehand.

use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fraud_core::features::{Label, LabelOutcome, MemoryStore, Profile, StoreSettings};
use fraud_core::model::LoadOptions;
use fraud_core::{Id, Model, ParseOptions, Parsed, Policy, Scorer};
use serde_json::{Value, json};

use crate::common::{Answer, bare_model, default_model, post, read_answer};
use crate::service::{Process, Store};
use crate::{LANES, Tally};

pub const DAY: i64 = 86_400;
const CUSTOMERS: u64 = 15_000 / LANES;
const TERMINALS: u64 = 10_000 / LANES;
/// Days that the windows look back, after which history is complete.
const HISTORY: u64 = 37;
/// Days within which payments are sent again: the store remembers two, and another lane may be one ahead.
const AGAIN: i64 = 1;

/// The models that may answer, by the version they say.
pub struct Models(Vec<Scorer>);

impl Models {
    pub fn new() -> Self {
        let scorer = |file: Vec<u8>| {
            let model = Model::from_bytes(&file, &LoadOptions::default()).unwrap();
            Scorer::new(Arc::new(model), &Policy::default()).unwrap()
        };
        Self(vec![scorer(default_model()), scorer(bare_model())])
    }

    fn of_version(&self, version: &str) -> &Scorer {
        let named = |scorer: &&Scorer| scorer.model().is_some_and(|model| model.version() == version);
        self.0.iter().find(named).unwrap_or_else(|| panic!("no model has version {version}"))
    }
}

/// A payment that was answered.
struct Sent {
    id: String,
    time: i64,
    body: String,
}

/// One client, with a store that sees what the service's sees of its customers and terminals.
pub struct Lane<'a> {
    number: u64,
    models: &'a Models,
    store: MemoryStore,
    profile: Profile,
    stream: Option<TcpStream>,
    count: u64,
    random: u64,
    start: i64,
    /// Of the last days, the latest at the end.
    recent: VecDeque<Sent>,
}

impl<'a> Lane<'a> {
    pub fn new(number: u64, models: &'a Models, start: i64) -> Self {
        Self {
            number,
            models,
            store: MemoryStore::new(StoreSettings::default()),
            profile: Profile::default(),
            stream: None,
            count: 0,
            random: 0x9e37_79b9_7f4a_7c15 ^ number,
            start,
            recent: VecDeque::new(),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    /// Sends a day's payments in order of time; now and then one again, or a label of an earlier one.
    pub fn day(&mut self, day: u64, payments: u64, with: (&Process, &Tally)) {
        for n in 0..payments {
            let time = self.start + day.cast_signed() * DAY + (n * DAY.cast_unsigned() / payments).cast_signed();
            let sent = self.payment(time);
            self.predict(&sent, false, with);
            self.recent.push_back(sent);
            while self.recent.front().is_some_and(|sent| sent.time < time - AGAIN * DAY) {
                self.recent.pop_front();
            }
            match self.below(50) {
                0 => self.again(with),
                1 => self.label(time, with),
                _ => {}
            }
        }
    }

    fn payment(&mut self, time: i64) -> Sent {
        self.count += 1;
        let id = format!("{}-{}", self.number, self.count);
        let (customer, terminal) =
            (self.below(CUSTOMERS) * LANES + self.number, self.below(TERMINALS) * LANES + self.number);
        // A few dear ones, so that all decisions occur.
        let cents = if self.below(40) == 0 { 20_000 + self.below(200_000) } else { 100 + self.below(15_000) };
        let body = format!(
            "{{\"transaction_id\": \"{id}\", \"customer_id\": {customer}, \"terminal_id\": {terminal}, \
             \"tx_amount\": {}.{:02}, \"tx_time_seconds\": {time}}}",
            cents / 100,
            cents % 100
        );
        Sent { id, time, body }
    }

    fn again(&mut self, with: (&Process, &Tally)) {
        let at = self.below(self.recent.len() as u64) as usize;
        let Some(sent) = self.recent.remove(at) else { return };
        self.predict(&sent, true, with);
        with.1.repeated.fetch_add(1, Ordering::Relaxed);
        self.recent.insert(at, sent);
    }

    fn label(&mut self, time: i64, (process, tally): (&Process, &Tally)) {
        let at = self.below(self.recent.len() as u64) as usize;
        let (fraud, observed_at) = (self.below(2) == 0, time + 3_600);
        let id = self.recent[at].id.clone();
        let stamp = fraud_core::service::clock::rfc3339_text(observed_at.cast_unsigned() * 1_000);
        let body = json!({"transaction_id": id, "label": u8::from(fraud), "observed_at": stamp}).to_string();
        let answer = self.send("/labels", &body, (process, tally));
        let outcome = self.store.label(&Id::from_text(&id).unwrap(), Label { fraud, observed_at });
        let expected = match outcome {
            LabelOutcome::Applied => "recorded",
            LabelOutcome::Unchanged => "unchanged",
            LabelOutcome::UnknownTransaction => "unknown",
        };
        let said = answer.json()["results"][0]["status"].clone();
        // One that had to be sent twice may have been recorded the first time.
        assert!(said == expected || (said == "unchanged" && expected == "recorded"), "{said}, not {expected}: {body}");
        tally.labelled.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends one payment and compares the answer with what the library says.
    fn predict(&mut self, sent: &Sent, repeated: bool, (process, tally): (&Process, &Tally)) {
        let interrupted = || {
            let put_off = if process.store() == Store::Redis { tally.put_off.load(Ordering::Relaxed) } else { 0 };
            tally.reopened.load(Ordering::Relaxed) + put_off
        };
        let before = interrupted();
        let answer = self.send("/predict", &sent.body, (process, tally)).json();
        let scorer = self.models.of_version(answer["model_version"].as_str().unwrap());
        let transaction = Parsed::from_json(sent.body.as_bytes(), ParseOptions::default()).unwrap().transaction;
        self.store.observe(&transaction, scorer.profile_plan(), &mut self.profile).unwrap();
        let assessment = scorer.assess(&transaction, &self.profile).unwrap();
        let mut expected: Value = serde_json::from_str(&serde_json::to_string(&assessment).unwrap()).unwrap();
        expected["prediction_time"] = answer["prediction_time"].clone();
        let day = (sent.time - self.start).div_euclid(DAY).cast_unsigned();
        if (HISTORY - 1..=HISTORY + 1).contains(&day) {
            // Another lane may have begun a moment earlier.
            expected["history_complete"] = answer["history_complete"].clone();
        }
        if !repeated && interrupted() != before {
            // The answer to its first sending was lost with the connection, the service's or that to Redis.
            expected["duplicate"] = answer["duplicate"].clone();
        }
        assert_eq!(answer, expected, "{}", sent.body);
        tally.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends until it is answered with 200: put off when the service says so, anew when a connection ends.
    fn send(&mut self, path: &str, body: &str, (process, tally): (&Process, &Tally)) -> Answer {
        let raw = post(path, body);
        let count = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        for _ in 0..10_000 {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                None => {
                    count(&tally.reopened);
                    let Ok(stream) = TcpStream::connect(process.address) else {
                        std::thread::sleep(Duration::from_millis(5));
                        continue;
                    };
                    stream.set_nodelay(true).unwrap();
                    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                    self.stream.insert(stream)
                }
            };
            let answer = stream.write_all(&raw).ok().and_then(|()| read_answer(stream));
            if answer.as_ref().is_none_or(|answer| answer.header("connection") == Some("close")) {
                self.stream = None;
            }
            match answer {
                None => {}
                Some(answer) if answer.status == 200 => return answer,
                Some(answer) if answer.status == 503 => {
                    assert!(answer.header("retry-after").is_some());
                    count(&tally.put_off);
                    std::thread::sleep(Duration::from_millis(2));
                }
                Some(answer) => panic!("{answer:?} to {body}"),
            }
        }
        panic!("no answer to {body}\n{}", process.log());
    }

    /// Every payment of the last days is still known.
    pub fn nothing_was_lost(&mut self, with: (&Process, &Tally)) {
        for sent in std::mem::take(&mut self.recent) {
            self.predict(&sent, true, with);
            assert!(self.profile.duplicate);
        }
    }
}
