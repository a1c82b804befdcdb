//! The way to the thread that commits, and back.
//!
//! A batch is observed while the one before is being committed. Should that one fail, it is sent again as it was:
//! its outputs are kept.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use fraud_core::service::clock;

use super::error::StreamError;
use super::headers;
use super::outputs::Outputs;
use super::queues::Queues;
use super::reader::{Merge, Taken};
use super::run::{Shared, Trouble};
use super::settings::{KafkaSettings, StreamSettings};
use super::sink::Sink;

/// How long the loop sleeps at most when nothing comes.
const TICK: Duration = Duration::from_millis(100);
/// How long a batch that waits for the one before waits for more records at a time.
const GLANCE: Duration = Duration::from_millis(1);
/// A commit that takes longer than this is trouble.
const SLOW: Duration = Duration::from_secs(5);
/// While a commit takes longer than this, the input's ends are asked for.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of a batch at most.
const BATCH_BYTES: usize = 32 << 20;

/// A batch that is in.
struct Done {
    outputs: Outputs,
    took: Duration,
}

/// Both ends that the reading thread holds. Once it is dropped the other thread ends.
pub(super) struct Pipe<'a> {
    shared: &'a Arc<Shared>,
    queues: &'a Queues,
    kafka: &'a KafkaSettings,
    work: SyncSender<Outputs>,
    done: Receiver<Result<Done, StreamError>>,
    in_flight: usize,
    /// Since when the one that is being committed is.
    since: Instant,
    spare: Vec<Outputs>,
    names: [Arc<str>; 4],
}

impl<'a> Pipe<'a> {
    /// Starts the thread that commits.
    pub(super) fn open<'scope>(
        scope: &'scope Scope<'scope, '_>,
        sink: &'scope Sink,
        (settings, shared, queues): (&'a StreamSettings, &'a Arc<Shared>, &'a Queues),
    ) -> Self {
        let (work, to_commit) = sync_channel::<Outputs>(1);
        let (committed, done) = sync_channel(4);
        scope.spawn(move || commit_all(sink, &to_commit, &committed));
        let kafka = &settings.kafka;
        let names = [&kafka.input_topic, &settings.labels.topic, &kafka.predictions_topic, &kafka.dead_letter_topic];
        let names = names.map(|name| name.as_str().into());
        Self { shared, queues, kafka, work, done, in_flight: 0, since: Instant::now(), spare: Vec::new(), names }
    }

    /// Outputs to fill.
    pub(super) fn outputs(&mut self) -> Outputs {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes records until there are enough, or the first has waited long enough and nothing is being committed: a
    /// batch that could not go yet may as well grow.
    pub(super) fn collect<'q>(
        &mut self,
        merge: &mut Merge<'q>,
        records: &mut Vec<Taken<'q>>,
    ) -> Result<(), StreamError> {
        records.clear();
        merge.serve()?;
        let Some(first) = merge.next(Instant::now() + TICK)? else { return Ok(()) };
        let deadline = Instant::now() + self.kafka.batch_wait.0;
        let mut late = false;
        let mut bytes = headers::size_of(&first.message);
        records.push(first);
        while records.len() < self.kafka.batch_records && bytes < BATCH_BYTES {
            if late {
                self.take_answers()?;
                if self.in_flight == 0 || self.shared.stopping() {
                    break;
                }
            }
            let until = if late { Instant::now() + GLANCE } else { deadline };
            match merge.next(until)? {
                Some(taken) => {
                    bytes += headers::size_of(&taken.message);
                    records.push(taken);
                    // Looked at now and then: a stream that never pauses must not stretch a batch.
                    late = late || (records.len().is_multiple_of(64) && Instant::now() >= deadline);
                }
                None => late = true,
            }
        }
        Ok(())
    }

    /// Notes what is in by now.
    ///
    /// # Errors
    /// What ended the committing thread.
    pub(super) fn take_answers(&mut self) -> Result<(), StreamError> {
        while let Ok(answer) = self.done.try_recv() {
            self.note(answer?);
        }
        Ok(())
    }

    /// Hands a batch over, made of these records.
    ///
    /// # Errors
    /// What ended the committing thread.
    pub(super) fn hand_over(&mut self, outputs: Outputs, records: &[Taken<'_>]) -> Result<(), StreamError> {
        let inputs = records.iter().filter(|taken| taken.source.stream.is_input()).count() as u64;
        let metrics = &self.shared.metrics;
        metrics.shared.consumed(&self.names[0], inputs);
        metrics.shared.consumed(&self.names[1], records.len() as u64 - inputs);
        if !records.is_empty() {
            metrics.batch.observe(records.len() as f64);
        }
        self.send(outputs)
    }

    fn send(&mut self, mut outputs: Outputs) -> Result<(), StreamError> {
        loop {
            match self.work.try_send(outputs) {
                Ok(()) => {
                    if self.in_flight == 0 {
                        self.since = Instant::now();
                    }
                    self.in_flight += 1;
                    return Ok(());
                }
                Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => outputs = back,
            }
            // Full: a batch must come back before the next can go. Gone: the reason is in the other channel.
            self.wait()?;
        }
    }

    /// Waits until everything handed over is in.
    ///
    /// # Errors
    /// What ended the committing thread.
    pub(super) fn settle(&mut self) -> Result<(), StreamError> {
        while self.in_flight > 0 {
            self.wait()?;
        }
        Ok(())
    }

    /// Waits for one batch. Nothing is read meanwhile, so the client library is let call back, and whoever looks at the
    /// stream is told that it stands.
    fn wait(&mut self) -> Result<(), StreamError> {
        loop {
            match self.done.recv_timeout(TICK) {
                Ok(answer) => {
                    self.note(answer?);
                    return Ok(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(StreamError::Internal("the committing thread is gone".to_owned()));
                }
            }
            self.queues.serve()?;
            if self.since.elapsed() > SLOW {
                self.shared.trouble(Trouble::Commit, true);
            }
            if self.since.elapsed() > LOOK {
                self.queues.look_at_input(&self.shared.lag);
            }
        }
    }

    /// Notes that a batch is in.
    fn note(&mut self, done: Done) {
        let Done { mut outputs, took } = done;
        self.in_flight -= 1;
        self.since = Instant::now();
        self.shared.trouble(Trouble::Commit, false);
        let metrics = &self.shared.metrics;
        let (predictions, dead) = outputs.counts();
        metrics.shared.produced(&self.names[2], predictions);
        metrics.shared.produced(&self.names[3], dead);
        metrics.commit.observe(took.as_secs_f64());
        let now = i64::try_from(clock::unix_millis()).unwrap_or(i64::MAX);
        for time in outputs.record_times() {
            metrics.end_to_end.observe((now - time).max(0) as f64 / 1_000.0);
        }
        self.shared.lag.committed(&outputs.ends);
        outputs.clear();
        if self.spare.len() < 3 {
            self.spare.push(outputs);
        }
    }
}

fn commit_all(sink: &Sink, work: &Receiver<Outputs>, done: &SyncSender<Result<Done, StreamError>>) {
    while let Ok(outputs) = work.recv() {
        let begin = Instant::now();
        let answer = sink.commit(&outputs).map(|()| Done { outputs, took: begin.elapsed() });
        let over = answer.is_err();
        if done.send(answer).is_err() || over {
            return;
        }
    }
}
