//! Observing: many transactions in one round trip, as if they had come one after the other.
//!
//! All commands go out at once, so each part is asked before it is known what the others will say. What turns out
//! to have been asked in vain is taken back: a transaction whose id belongs to another payment, and one that is late
//! by a time that another process has moved on meanwhile. Then whatever came after it and may have seen it is taken
//! back too, and asked again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::Value;

use super::names::{Digest, ID_CHUNK, Written};
use super::part::{self, Chunks, IdAnswer, PARTIES, PARTS, PartyAnswer, Row};
use super::script::{Call, Script};
use super::shared::{Shared, Times};
use super::windows::{self, Events};
use super::{Observation, RedisStore, answer, cells};
use crate::error::{SharedStoreError, StoreError};
use crate::features::profile::{Profile, ProfilePlan};
use crate::features::store::replies;

/// Most transactions, or labels, of one round trip.
pub(super) const MOST: usize = 256;
/// How often transactions are asked again because of what other processes did meanwhile.
const TRIES: u32 = 4;
/// A profile that another process gave a moment ago is waited for so often, and so long each time.
const WAITS: u32 = 4;
const WAIT: Duration = Duration::from_millis(3);

/// What came of each transaction, and the commands that remain to be sent once the answers are on their way.
pub(super) struct Observed {
    pub results: Vec<Result<(), StoreError>>,
    pub later: Vec<Call>,
}

/// How a transaction stands, now that everything is known.
enum Verdict {
    Fresh {
        late: bool,
    },
    /// `again`: from where it came first, so that it is no duplicate.
    Repeat {
        again: bool,
    },
    Conflict,
    /// It was asked under a time that was wrong, and that matters.
    Stale,
}

/// A transaction's answers.
struct Answers {
    id: IdAnswer,
    parties: [PartyAnswer; 2],
}

/// A transaction that was asked for, and what came.
type Asked = (Row, Result<Answers, StoreError>);

/// One run over some transactions.
struct Run<'a> {
    store: &'a RedisStore,
    plan: &'a ProfilePlan,
    record: bool,
    profiles: &'a mut [Profile],
    observed: Observed,
    /// Transactions recorded by this run, by digest.
    recorded: HashMap<Digest, usize>,
    /// Repeats whose first profile is not there yet, with the row to wait for.
    waiting: Vec<(usize, Written)>,
}

impl RedisStore {
    pub(super) async fn run(
        &self,
        rows: &[Observation<'_>],
        (plan, record): (&ProfilePlan, bool),
        profiles: &mut [Profile],
    ) -> Observed {
        let observed = Observed { results: Vec::with_capacity(rows.len()), later: Vec::new() };
        let (recorded, waiting) = (HashMap::new(), Vec::new());
        let mut run = Run { store: self, plan, record, profiles, observed, recorded, waiting };
        if let Err(error) = run.all(rows).await {
            if !matches!(error, StoreError::Feature(_)) {
                self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
            }
            // What was answered before stands; the rest gets the reason.
            run.observed.results.resize(rows.len(), Err(error));
        }
        run.observed
    }
}

impl Run<'_> {
    fn shared(&self) -> &Shared {
        &self.store.shared
    }

    async fn all(&mut self, rows: &[Observation<'_>]) -> Result<(), StoreError> {
        self.shared().store.check_history(self.plan)?;
        self.store.ready().await?;
        let mut tries = 0;
        while self.observed.results.len() < rows.len() {
            let done = self.observed.results.len();
            let end = rows.len().min(done + MOST);
            self.chunk(rows.get(done..end).unwrap_or_default(), tries + 1 >= TRIES).await?;
            tries = if self.observed.results.len() > done { 0 } else { tries + 1 };
        }
        self.wait_for_replies().await
    }

    /// Asks for some transactions and judges them in their order, up to the first that another must be asked before.
    async fn chunk(&mut self, rows: &[Observation<'_>], last_try: bool) -> Result<(), StoreError> {
        let secret = match self.shared().identity() {
            Some(known) => known.secret.clone(),
            None => return Err(super::guard::no_store(self.shared()).into()),
        };
        let lateness = i64::from(self.shared().store.lateness);
        let mut assumed = self.shared().times().latest;
        let mut asked: Vec<Row> = Vec::with_capacity(rows.len());
        for Observation { transaction, origin } in rows {
            let written = Written::of(&secret, transaction);
            let records = self.record && !is_late(written.time, assumed, lateness);
            asked.push(Row { written, origin: *origin, assumed, records });
            if records {
                assumed = assumed.max(Some(transaction.time));
            }
        }
        let (mut times, answers) = self.ask(&asked).await?;
        let asked: Vec<_> = asked.into_iter().zip(answers).collect();
        for (index, (row, answers)) in asked.iter().enumerate() {
            let answers = answers.as_ref().map_err(Clone::clone)?;
            match self.judge((row, answers), times.latest, last_try) {
                Verdict::Stale => {
                    self.take_back(&asked[index..]).await?;
                    break;
                }
                Verdict::Conflict => {
                    self.count(|counters| &counters.conflicts);
                    self.observed.results.push(Err(StoreError::Conflict));
                    if !row.records {
                        continue;
                    }
                    self.take_back(&asked[index..=index]).await?;
                    let after = &asked[index + 1..];
                    if after.iter().any(|(other, _)| has_met(row, other)) {
                        self.take_back(after).await?;
                        break;
                    }
                }
                verdict => self.answer(row, (answers, &verdict), &mut times)?,
            }
        }
        self.shared().set_times(times);
        Ok(())
    }

    /// Sends the commands of all rows, and reads the store's times before any of them.
    async fn ask(&self, rows: &[Row]) -> Result<(Times, Vec<Result<Answers, StoreError>>), StoreError> {
        let shared = self.shared();
        let [latest, earliest] = shared.names.times();
        let keys = [shared.names.meta(), latest, earliest];
        let mut times = Call::script(Script::Meta, &keys).arg(shared.epoch().unwrap_or_default()).arg(1);
        let known = shared.times();
        let (mut high, mut low) = (known.latest, known.earliest);
        for row in rows.iter().filter(|row| row.records) {
            let second = row.written.time;
            if high.is_none_or(|high| second > high) || low.is_none_or(|low| second < low) {
                times = times.arg(second).arg(&row.written.digest);
                high = high.max(Some(second));
                low = Some(low.map_or(second, |low| low.min(second)));
            }
        }
        let mut calls = Vec::with_capacity(rows.len() * PARTS + 1);
        calls.push(times);
        calls.extend(rows.iter().flat_map(|row| row.calls(shared, self.plan)));
        let marks: Vec<_> = rows.iter().map(|row| tags(row).map(|tag| shared.mark(tag))).collect();
        let mut values = self.store.call(&calls).await?.into_iter();
        let times = read_times(&values.next().unwrap_or(Value::Nil)).map_err(|problem| shared.refused(problem))?;
        let mut answers = Vec::with_capacity(rows.len());
        for (row, marks) in rows.iter().zip(marks) {
            let mut next = || values.next().unwrap_or(Value::Nil);
            let parts = [next(), next(), next()];
            let read = read_row(parts).map_err(|problem| shared.refused(problem));
            answers.push(read.map(|(writes, answers)| {
                tags(row).into_iter().zip(marks.into_iter().zip(writes)).for_each(|(tag, seen)| {
                    shared.note_writes(tag, seen);
                });
                answers
            }));
        }
        Ok((times, answers))
    }

    /// Fills in the profile of a transaction that counts.
    fn answer(
        &mut self,
        row: &Row,
        (answers, verdict): (&Answers, &Verdict),
        times: &mut Times,
    ) -> Result<(), StoreError> {
        let index = self.observed.results.len();
        let (time, now) = (row.written.time, times.latest);
        let (repeat, again, late) = match verdict {
            Verdict::Repeat { again } => (true, *again, false),
            Verdict::Fresh { late } => (false, false, *late),
            // Not answered but asked again, or refused.
            Verdict::Stale | Verdict::Conflict => return Ok(()),
        };
        let dedupe = i64::from(self.shared().store.dedupe);
        let remembered = again || now.is_some_and(|now| now - time <= dedupe);
        let mut profile = self.profiles.get_mut(index).map(std::mem::take).unwrap_or_default();
        let given = repeat && remembered && read_reply(&answers.id.reply, self.plan, &mut profile);
        if !given {
            let earliest = if late { times.earliest } else { Some(times.earliest.map_or(time, |it| it.min(time))) };
            let floor = part::floor(self.shared(), now);
            self.make(row, answers, (floor, &mut profile))?;
            profile.history_complete = is_complete((time, earliest, floor), self.plan);
            let earlier = self.recorded.get(&row.written.digest).and_then(|earlier| self.profiles.get(*earlier));
            match earlier.filter(|_| repeat && remembered) {
                Some(earlier) => profile.clone_from(earlier),
                None if repeat && remembered && answers.id.reply.is_empty() => {
                    self.waiting.push((index, row.written.clone()));
                }
                None => {}
            }
        }
        (profile.plan, profile.duplicate, profile.late) = (self.plan.fingerprint(), repeat && !again, late);
        if !repeat && row.records {
            let now = now.map_or(time, |now| now.max(time));
            *times = Times { latest: Some(now), earliest: Some(times.earliest.map_or(time, |it| it.min(time))) };
            self.recorded.insert(row.written.digest, index);
            if now - time <= dedupe || row.origin != 0 {
                let reply = write_reply(self.plan, &profile);
                let call = part::reply_write(self.shared(), &row.written, (now, &reply));
                self.observed.later.push(call);
            }
        }
        match (repeat, late) {
            (true, _) if !again => self.count(|counters| &counters.duplicates),
            (false, true) => self.count(|counters| &counters.late),
            _ => {}
        }
        if let Some(place) = self.profiles.get_mut(index) {
            *place = profile;
        }
        self.observed.results.push(Ok(()));
        Ok(())
    }

    /// Makes a profile of what the parties answered, and cells of what they had to send one by one.
    fn make(
        &mut self,
        row: &Row,
        answers: &Answers,
        (floor, out): (Option<i64>, &mut Profile),
    ) -> Result<(), StoreError> {
        let read = |at: usize| Events::read(&answers.parties[at]).map_err(|problem| self.shared().refused(problem));
        let parties = [read(0)?, read(1)?];
        // What expired may not be deleted yet.
        let kept = floor.is_none_or(|floor| row.written.time > floor);
        let view =
            |at: usize| windows::view((row.written.time, row.written.amount), answers.parties[at].there && kept, floor);
        windows::fill([view(0), view(1)], self.plan, [&parties[0], &parties[1]], out);
        for (at, kind) in PARTIES.into_iter().enumerate() {
            let party = (kind, row.written.party(kind));
            let kept = cells::keep(self.shared(), party, (&answers.parties[at], &parties[at]), row.assumed);
            self.observed.later.extend(kept);
        }
        Ok(())
    }

    /// Takes back what these transactions entered: everything where the id was free, their parties where it is
    /// another payment's, and nothing of a repeat, or of one that another process has answered meanwhile.
    async fn take_back(&self, rows: &[Asked]) -> Result<(), StoreError> {
        let shared = self.shared();
        let (mut claimed, mut entered) = (Vec::new(), Vec::new());
        for (row, answers) in rows.iter().filter(|(row, _)| row.records) {
            match answers.as_ref().map(|answers| answers.id.known) {
                Ok(None) => claimed.push(row),
                Ok(Some(entry)) if entry.digest != row.written.digest => entered.push(row),
                // Parts of it may be there. Sent again, it finds them.
                Ok(Some(_)) | Err(_) => {}
            }
        }
        let calls: Vec<_> = claimed.iter().map(|row| row.id_retraction(shared)).collect();
        let taken = self.checked(&calls).await?;
        let taken = claimed.into_iter().zip(taken).filter(|(_, value)| answer::integer(value) == Some(1));
        entered.extend(taken.map(|(row, _)| row));
        if entered.is_empty() {
            return Ok(());
        }
        let [latest, earliest] = shared.names.times();
        let keys = [shared.names.meta(), latest, earliest];
        let mut times = Call::script(Script::Meta, &keys).arg(shared.epoch().unwrap_or_default()).arg(0);
        let mut calls = Vec::with_capacity(entered.len() * 2 + 1);
        for row in entered {
            times = times.arg(row.written.time).arg(&row.written.digest);
            calls.extend(row.party_retractions(shared));
        }
        calls.push(times);
        self.checked(&calls).await?;
        Ok(())
    }

    /// Sends commands of which none may fail.
    async fn checked(&self, calls: &[Call]) -> Result<Vec<Value>, StoreError> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let values = self.store.call(calls).await?;
        for value in &values {
            answer::checked(value).map_err(|problem| self.shared().refused(problem))?;
        }
        Ok(values)
    }

    /// Repeats whose first profile is on its way from another process wait for it a little; where none comes, the
    /// first one broke off and the one made now is the first.
    async fn wait_for_replies(&mut self) -> Result<(), StoreError> {
        for wait in 0..WAITS {
            if self.waiting.is_empty() {
                return Ok(());
            }
            if wait > 0 {
                tokio::time::sleep(WAIT).await;
            }
            let calls: Vec<_> =
                self.waiting.iter().map(|(_, written)| part::reply_read(&self.store.shared.names, written)).collect();
            let values = self.store.call(&calls).await?;
            let mut values = values.iter();
            let (plan, profiles) = (self.plan, &mut *self.profiles);
            self.waiting.retain(|(index, _)| {
                let reply = values.next().and_then(answer::bytes).unwrap_or_default();
                let Some(profile) = profiles.get_mut(*index).filter(|_| !reply.is_empty()) else { return true };
                let (made, duplicate) = (profile.clone(), profile.duplicate);
                if !read_reply(reply, plan, profile) {
                    *profile = made;
                }
                profile.duplicate = duplicate;
                false
            });
        }
        if self.record {
            for (index, written) in std::mem::take(&mut self.waiting) {
                let reply = write_reply(self.plan, &self.profiles[index]);
                let now = self.shared().times().latest.unwrap_or(written.time);
                let call = part::reply_write(self.shared(), &written, (now, &reply));
                self.observed.later.push(call);
            }
        }
        Ok(())
    }

    /// How a transaction stands at the store's time `now`, which others may have moved on since it was asked. On the last
    /// try it is taken as it was asked.
    fn judge(&self, (row, answers): (&Row, &Answers), now: Option<i64>, last_try: bool) -> Verdict {
        let (shared, time) = (self.shared(), row.written.time);
        let floor = part::floor(shared, now);
        let lateness = i64::from(shared.store.lateness);
        let mut late = is_late(time, now, lateness);
        let known = answers.id.known.filter(|entry| floor.is_none_or(|floor| entry.time > floor));
        if now != row.assumed {
            let searched = Chunks::of(shared, time, row.assumed);
            let expired = known.is_none() && answers.id.known.is_some();
            let unseen = now.is_some_and(|now| now.div_euclid(ID_CHUNK) > searched.last.max(searched.own));
            let unseen = unseen || (row.assumed.is_none() && known.is_none());
            // Events that expired since can be left out of those that came; out of a cell they cannot.
            let cells = answers.parties.iter().any(|party| !party.found.is_empty());
            let clipped = (cells || row.assumed > now)
                && floor.is_some_and(|floor| time - i64::from(self.plan.history()) <= floor);
            let differs = late != is_late(time, row.assumed, lateness);
            if !last_try && (expired || (known.is_none() && (unseen || differs)) || clipped) {
                return Verdict::Stale;
            }
            late = if self.record { !row.records } else { late };
        }
        match known {
            Some(entry) if entry.digest != row.written.digest => Verdict::Conflict,
            Some(entry) => Verdict::Repeat { again: entry.origin != 0 && entry.origin == row.origin },
            None => Verdict::Fresh { late },
        }
    }

    fn count(&self, counter: impl Fn(&super::shared::Counters) -> &AtomicU64) {
        if self.record {
            counter(&self.shared().counters).fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether a transaction that was asked after another may have seen it.
fn has_met(one: &Row, after: &Row) -> bool {
    let moved = after.assumed > one.assumed;
    moved || PARTIES.iter().any(|kind| one.written.party(*kind) == after.written.party(*kind))
}

fn is_late(time: i64, now: Option<i64>, lateness: i64) -> bool {
    now.is_some_and(|now| time < now - lateness)
}

fn tags(row: &Row) -> [usize; PARTS] {
    [row.written.id.tag, row.written.customer.tag, row.written.terminal.tag]
}

/// Whether all that the plan looks back on was recorded, had it happened, and is kept.
fn is_complete((time, earliest, floor): (i64, Option<i64>, Option<i64>), plan: &ProfilePlan) -> bool {
    let begin = earliest.unwrap_or(i64::MAX).max(floor.unwrap_or(i64::MIN)).min(time);
    time - begin >= i64::from(plan.history())
}

fn read_times(value: &Value) -> Result<Times, String> {
    let read = |values: &[Value]| {
        let [latest, earliest] = values else { return None };
        Some(Times { latest: answer::integer(latest), earliest: answer::integer(earliest) })
    };
    answer::list(answer::checked(value)?).and_then(read).ok_or_else(|| "the times are something else".to_owned())
}

fn read_row([id, customer, terminal]: [Value; PARTS]) -> Result<([u64; PARTS], Answers), String> {
    let (id_writes, id) = part::read_id(id)?;
    let (customer_writes, customer) = part::read_party(customer)?;
    let (terminal_writes, terminal) = part::read_party(terminal)?;
    Ok(([id_writes, customer_writes, terminal_writes], Answers { id, parties: [customer, terminal] }))
}

/// A given profile, with the plan that it was made by before it.
pub(super) fn write_reply(plan: &ProfilePlan, profile: &Profile) -> Vec<u8> {
    let mut reply = plan.fingerprint().to_be_bytes().to_vec();
    replies::encode(plan, profile, &mut reply);
    reply
}

fn read_reply(reply: &[u8], plan: &ProfilePlan, profile: &mut Profile) -> bool {
    let Some((fingerprint, rest)) = reply.split_first_chunk::<8>() else { return false };
    *fingerprint == plan.fingerprint().to_be_bytes() && replies::decode(plan, rest, profile).is_some()
}

impl Shared {
    /// What an error of the server itself means.
    pub(super) fn refused(&self, problem: String) -> StoreError {
        if problem.contains("OOM") {
            let [bytes, limit] = [0, 1].map(|at: usize| self.memory[at].load(Ordering::Relaxed));
            return StoreError::Full { bytes, limit };
        }
        SharedStoreError::Answer { problem }.into()
    }
}
