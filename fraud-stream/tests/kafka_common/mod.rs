//! A real broker, a producer, the real binary, and a reader of what was committed.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// Whether the long variants run.
#[allow(clippy::disallowed_methods)] // No setting of the program.
pub fn long() -> bool {
    std::env::var_os("FRAUD_TEST_ALL").is_some()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A broker of one's own; gone when dropped.
pub struct Kafka {
    home: tempfile::TempDir,
    pub address: String,
}

impl Kafka {
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let address = script("start", home.path(), false);
        Self { home, address }
    }

    /// One with TLS, passwords and access lists as well.
    pub fn start_secure() -> Self {
        let home = tempfile::tempdir().unwrap();
        let address = script("start", home.path(), true);
        Self { home, address }
    }

    /// The address of a protected listener: `sasl_ssl` or `ssl`.
    pub fn protected(&self, listener: &str) -> String {
        std::fs::read_to_string(self.home.path().join(format!("address.{listener}"))).unwrap().trim().to_owned()
    }

    /// A file of the protected listeners.
    pub fn secret(&self, name: &str) -> String {
        self.home.path().join("secure").join(name).to_str().unwrap().to_owned()
    }

    /// Runs one of Kafka's own tools.
    pub fn tool(&self, class: &str, arguments: &[&str]) {
        let output = Command::new(root().join("scripts/kafka.sh"))
            .arg("tool")
            .arg(self.home.path())
            .arg(class)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{class}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// One broker for all tests that leave it alone.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Kafka>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let fresh = Arc::new(Self::start());
            *shared = Arc::downgrade(&fresh);
            fresh
        })
    }

    pub fn kill(&self) {
        script("kill", self.home.path(), false);
    }

    /// Sends the broker's process a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let pid = std::fs::read_to_string(self.home.path().join("pid")).unwrap();
        assert!(Command::new("kill").arg(format!("-{name}")).arg(pid.trim()).status().unwrap().success());
    }

    pub fn restart(&self) {
        script("start", self.home.path(), false);
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.address).create().unwrap()
    }

    pub fn topic(&self, name: &str, partitions: u32) {
        let topic = NewTopic::new(name, i32::try_from(partitions).unwrap(), TopicReplication::Fixed(1));
        let made = wait(self.admin().create_topics([&topic], &AdminOptions::new())).unwrap();
        assert!(made.iter().all(Result::is_ok), "{made:?}");
    }

    /// Gives a topic more partitions.
    pub fn grow(&self, name: &str, partitions: usize) {
        let grown = wait(self.admin().create_partitions([&NewPartitions::new(name, partitions)], &AdminOptions::new()));
        assert!(grown.as_ref().unwrap().iter().all(Result::is_ok), "{grown:?}");
    }

    /// Changes one of a topic's settings.
    pub fn configure(&self, topic: &str, key: &str, value: &str) {
        let wanted = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
        let done = wait(self.admin().alter_configs([&wanted], &AdminOptions::new())).unwrap();
        assert!(done.iter().all(Result::is_ok), "{done:?}");
    }
}

/// Waits for a future that other threads complete.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(answer) => return answer,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        script("remove", self.home.path(), false);
    }
}

fn script(command: &str, home: &Path, secure: bool) -> String {
    let mut script = Command::new(root().join("scripts/kafka.sh"));
    script.arg(command).arg(home).env("KAFKA_HEAP", "400m");
    if secure {
        script.env("KAFKA_SECURE", "1");
    }
    let output = script.output().unwrap();
    assert!(output.status.success(), "kafka.sh {command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A Redis of one's own with an empty store in it; gone when dropped.
pub struct Redis {
    home: tempfile::TempDir,
    pub url: String,
}

impl Redis {
    pub fn start(prefix: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let url = format!("redis://{}", Self::script("start", home.path()));
        let settings = fraud_core::store::redis::RedisSettings {
            prefix: prefix.to_owned(),
            ..fraud_core::store::redis::RedisSettings::new(&url)
        };
        fraud_core::store::redis::BlockingRedisStore::begin(settings).unwrap();
        Self { home, url }
    }

    /// Sends the server's process a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let pid = std::fs::read_to_string(self.home.path().join("pid")).unwrap();
        assert!(Command::new("kill").arg(format!("-{name}")).arg(pid.trim()).status().unwrap().success());
    }

    fn script(command: &str, home: &Path) -> String {
        let output = Command::new(root().join("scripts/redis.sh")).arg(command).arg(home).output().unwrap();
        assert!(output.status.success(), "redis.sh {command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        Self::script("remove", self.home.path());
    }
}

/// Topics and settings of one test.
pub struct World {
    pub kafka: Arc<Kafka>,
    pub name: String,
    pub folder: tempfile::TempDir,
    pub partitions: u32,
    pub extra: Vec<(String, String)>,
    logs: std::cell::Cell<u32>,
}

impl World {
    /// Makes the topics.
    pub fn new(kafka: Arc<Kafka>, name: &str, partitions: u32) -> Self {
        let world = Self {
            kafka,
            name: name.to_owned(),
            folder: tempfile::tempdir().unwrap(),
            partitions,
            extra: Vec::new(),
            logs: std::cell::Cell::new(0),
        };
        for (topic, count) in [("input", partitions), ("predictions", 2), ("labels", 2), ("dead", 1)] {
            world.kafka.topic(&world.topic(topic), count);
        }
        world
    }

    pub fn topic(&self, which: &str) -> String {
        format!("{}-{which}", self.name)
    }

    pub fn set(&mut self, key: &str, value: &str) {
        self.extra.push((key.to_owned(), value.to_owned()));
    }

    /// Another stream over the same input and labels.
    pub fn twin(&self, name: &str) -> Self {
        let twin = Self {
            kafka: self.kafka.clone(),
            name: name.to_owned(),
            folder: tempfile::tempdir().unwrap(),
            partitions: self.partitions,
            extra: self.extra.clone(),
            logs: std::cell::Cell::new(0),
        };
        for (topic, count) in [("predictions", 2), ("dead", 1)] {
            twin.kafka.topic(&twin.topic(topic), count);
        }
        let mut twin = twin;
        twin.set("kafka.input_topic", &self.topic("input"));
        twin.set("labels.topic", &self.topic("labels"));
        twin
    }

    /// Starts the binary.
    pub fn start(&self, more: &[(&str, &str)]) -> Instance {
        let number = self.logs.get();
        self.logs.set(number + 1);
        let log = self.folder.path().join(format!("log.{number}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_fraud-stream"));
        command.arg("run").stderr(File::create(&log).unwrap()).stdout(Stdio::null());
        let state = self.folder.path().join("state");
        let mut set = |key: &str, value: &str| {
            command.arg("--set").arg(format!("{key}={value}"));
        };
        set("kafka.brokers", &self.kafka.address);
        set("kafka.input_topic", &self.topic("input"));
        set("kafka.predictions_topic", &self.topic("predictions"));
        set("kafka.dead_letter_topic", &self.topic("dead"));
        set("kafka.journal_topic", &self.topic("journal"));
        set("labels.topic", &self.topic("labels"));
        set("kafka.group", &self.name);
        set("kafka.transactional_id", &self.name);
        set("server.bind", "127.0.0.1:0");
        set("state.folder", state.to_str().unwrap());
        for (key, value) in &self.extra {
            set(key, value);
        }
        for (key, value) in more {
            set(key, value);
        }
        Instance { child: command.spawn().unwrap(), log }
    }

    /// Runs the binary until everything there is is answered.
    pub fn finish(&self) {
        let mut last = self.start(&[("test.stop_at_end", "true")]);
        let status = last.wait();
        assert_eq!(status, Some(0), "{}", last.log());
    }

    pub fn log_text(&self, number: u32) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("log.{number}"))).unwrap_or_default()
    }

    /// Leaves the logs where they are, for whoever looks into a failure.
    pub fn keep(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }

    /// Everything committed to a topic.
    pub fn read(&self, which: &str) -> Vec<Record> {
        read_topic(&self.kafka.address, &self.topic(which))
    }
}

/// A running binary; killed when dropped.
pub struct Instance {
    child: Child,
    log: PathBuf,
}

impl Instance {
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Memory of the process that is in RAM.
    pub fn resident_mebibytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Any signal, by its name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for the end; the exit code, none after a signal. Gives up after five minutes.
    pub fn wait(&mut self) -> Option<i32> {
        let until = Instant::now() + Duration::from_mins(5);
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not end:\n{}", self.log());
    }

    /// Waits until it ended by itself or the time is over; whether it ended.
    pub fn ended_within(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the log says something.
    pub fn wait_for(&mut self, text: &str) {
        let until = Instant::now() + Duration::from_mins(3);
        while !self.log().contains(text) {
            assert!(Instant::now() < until, "no `{text}` in:\n{}", self.log());
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ended with {status} before `{text}`:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// GET of a path of its HTTP port.
    pub fn get(&self, path: &str) -> (u16, String) {
        self.get_with(path, "")
    }

    /// The first sample in its metrics that begins with this text.
    pub fn metric(&self, sample: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics");
        text.lines().find_map(|line| line.strip_prefix(sample)?.rsplit(' ').next()?.parse().ok())
    }

    /// The same with a line of header.
    pub fn get_with(&self, path: &str, header: &str) -> (u16, String) {
        use std::io::{Read, Write};
        let log = self.log();
        let address = log.lines().find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(line.get("address")?.as_str()?.to_owned())
        });
        let mut connection = std::net::TcpStream::connect(address.expect("an address in the log")).unwrap();
        write!(connection, "GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n").unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        (status, text.split_once("\r\n\r\n").unwrap().1.to_owned())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A record as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub headers: BTreeMap<String, Vec<u8>>,
}

impl Record {
    pub fn header(&self, name: &str) -> &str {
        std::str::from_utf8(self.headers.get(name).map_or(&b""[..], Vec::as_slice)).unwrap()
    }

    /// Headers and value, to be read by people.
    pub fn text(&self) -> String {
        let headers = self.headers.iter().map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)));
        format!("{} {}", headers.collect::<Vec<_>>().join(" "), String::from_utf8_lossy(&self.value))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.value).unwrap()
    }

    /// (partition, offset) of the input record that a prediction answers.
    pub fn input(&self) -> (i32, i64) {
        let (partition, offset) = self.header("input").split_once(':').unwrap();
        (partition.parse().unwrap(), offset.parse().unwrap())
    }
}

/// Everything committed to a topic.
pub fn read_topic(brokers: &str, topic: &str) -> Vec<Record> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(30)).unwrap();
    let count = metadata.topics()[0].partitions().len();
    let mut list = TopicPartitionList::new();
    for partition in 0..count {
        list.add_partition_offset(topic, i32::try_from(partition).unwrap(), Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut records, mut ended) = (Vec::new(), HashSet::new());
    while ended.len() < count {
        match consumer.poll(Duration::from_secs(1)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(error)) => eprintln!("reading {topic}: {error}"),
            Some(Ok(message)) => {
                let headers = message.headers().map_or_else(BTreeMap::new, |headers| {
                    headers.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect()
                });
                records.push(Record {
                    partition: message.partition(),
                    offset: message.offset(),
                    key: message.key().unwrap_or_default().to_vec(),
                    value: message.payload().unwrap_or_default().to_vec(),
                    headers,
                });
            }
        }
    }
    records
}

/// Fails the test when a message is not taken.
pub struct Strict;

impl ClientContext for Strict {}

impl ProducerContext for Strict {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            panic!("a message of the test was not taken: {error}");
        }
    }
}

/// A plain, idempotent producer.
pub fn producer(brokers: &str) -> BaseProducer<Strict> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "300000")
        .set("queue.buffering.max.ms", "2")
        // More than the broker takes, so that it decides.
        .set("message.max.bytes", "2000000")
        .create_with_context(Strict)
        .unwrap()
}

/// What goes to a topic.
pub struct Sent<'a> {
    pub partition: i32,
    pub key: &'a str,
    pub value: Option<&'a [u8]>,
    pub millis: Option<i64>,
    pub headers: &'a [(&'a str, &'a str)],
}

impl<'a> Sent<'a> {
    pub fn new(partition: i32, key: &'a str, value: &'a [u8]) -> Self {
        Self { partition, key, value: Some(value), millis: None, headers: &[] }
    }
}

pub fn send(producer: &BaseProducer<Strict>, topic: &str, sent: &Sent<'_>) {
    let mut record: BaseRecord<'_, str, [u8]> = BaseRecord::to(topic).partition(sent.partition).key(sent.key);
    record.payload = sent.value;
    record.timestamp = sent.millis;
    if !sent.headers.is_empty() {
        let mut headers = OwnedHeaders::new();
        for (key, value) in sent.headers {
            headers = headers.insert(Header { key, value: Some(*value) });
        }
        record = record.headers(headers);
    }
    loop {
        match producer.send(record) {
            Ok(()) => break,
            Err((_, back)) => record = back,
        }
        producer.poll(Duration::from_millis(10));
    }
    producer.poll(Duration::ZERO);
}

pub fn flush(producer: &BaseProducer<Strict>) {
    producer.flush(Duration::from_mins(5)).unwrap();
}

/// A small deterministic source of chance.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        // Steele's SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Payments over forty days, in order of arrival: some late, some too late, some repeated, some again with other
/// content.
pub struct Payments {
    pub lines: Vec<String>,
    /// The customer of each, who is the key.
    pub customers: Vec<u64>,
    /// When each arrives, in seconds of event time; most happened then, too.
    pub times: Vec<i64>,
}

const BEGIN: i64 = 1_522_540_800;
const DAYS: u64 = 40;
/// Half a day before the store of any instance may forget the first payment.
const FIRST_EXPIRES: i64 = BEGIN + 37 * 86_400;

pub fn payments(count: usize, seed: u64) -> Payments {
    let behind = |chance: &mut Chance, kind, _| match kind {
        3..10 => chance.below(80_000),
        10 => 86_400 + chance.below(5 * 86_400),
        _ => chance.below(30),
    };
    payments_of((count, seed), &behind, &|_, _| true)
}

/// The same, but as long as partitions stay within half a day of each other, their order decides of no payment whether
/// it is late, nor of a repeated one whether its first profile is still known, nor of either what expired in its windows
/// meanwhile: from `FIRST_EXPIRES` on those look back on nothing that expires.
pub fn in_order_payments(count: usize, seed: u64) -> Payments {
    let behind = |chance: &mut Chance, kind, now: i64| match kind {
        3..10 => chance.below(20_000),
        10 if now < FIRST_EXPIRES => 2 * 86_400 + chance.below(4 * 86_400),
        _ => chance.below(30),
    };
    let repeats = |age, now| match now < FIRST_EXPIRES {
        true => age < 110_000 || (240_000..36 * 86_400).contains(&age),
        false => age < 40_000,
    };
    payments_of((count, seed), &behind, &repeats)
}

/// `behind`: how late a payment is, in seconds, by a number below 100 and the time. `repeats`: whether one so old may come again.
fn payments_of(
    (count, seed): (usize, u64),
    behind: &dyn Fn(&mut Chance, u64, i64) -> u64,
    repeats: &dyn Fn(i64, i64) -> bool,
) -> Payments {
    let mut chance = Chance::new(seed);
    let (mut lines, mut customers) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let mut times = Vec::with_capacity(count);
    let mut made: Vec<(u64, u64, u64, i64)> = Vec::new();
    let line = |id: usize, (customer, terminal, cents, time): (u64, u64, u64, i64)| {
        format!(
            "{{\"transaction_id\":{id},\"customer_id\":\"c{customer}\",\"terminal_id\":{terminal},\
             \"tx_amount\":{}.{:02},\"tx_time_seconds\":{time}}}",
            cents / 100,
            cents % 100
        )
    };
    let mut ids: Vec<usize> = Vec::new();
    for index in 0..count {
        let now = BEGIN + i64::try_from(index as u64 * DAYS * 86_400 / count as u64).unwrap();
        times.push(now);
        let kind = chance.below(100);
        if kind < 3 && !made.is_empty() {
            // The same payment again, now and then with another amount.
            let which = usize::try_from(chance.below(made.len() as u64)).unwrap();
            let mut again = made[which];
            if repeats(now - again.3, now) {
                again.2 += u64::from(kind == 0) * (1 + chance.below(3));
                lines.push(line(ids[which], again));
                customers.push(again.0);
                continue;
            }
        }
        let behind = behind(&mut chance, kind, now);
        let payment =
            (chance.below(300), chance.below(500), 100 + chance.below(30_000), now - i64::try_from(behind).unwrap());
        lines.push(line(index, payment));
        customers.push(payment.0);
        made.push(payment);
        ids.push(index);
    }
    Payments { lines, customers, times }
}

/// What `replay --order arrival` makes of lines: one assessment, or none, per line.
pub fn replayed(lines: &[String]) -> Vec<Option<Vec<u8>>> {
    replayed_with(lines, &[])
}

/// The same with more arguments, such as another model.
pub fn replayed_with(lines: &[String], arguments: &[&str]) -> Vec<Option<Vec<u8>>> {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.jsonl"), folder.path().join("out.jsonl"));
    std::fs::write(&input, lines.join("\n")).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_fraud-stream"))
        .args(["replay", "--order", "arrival"])
        .args(arguments)
        .arg("--input")
        .arg(&input)
        .arg("--output")
        .arg(&output)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mut rejected = vec![false; lines.len()];
    let rejects = std::fs::read_to_string(folder.path().join("out.jsonl.rejected.jsonl")).unwrap_or_default();
    for reject in rejects.lines() {
        let reject: serde_json::Value = serde_json::from_str(reject).unwrap();
        rejected[usize::try_from(reject["line"].as_u64().unwrap()).unwrap() - 1] = true;
    }
    let text = std::fs::read(&output).unwrap();
    let mut answers = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let all =
        rejected.iter().map(|rejected| if *rejected { None } else { answers.next().map(<[u8]>::to_vec) }).collect();
    assert_eq!(answers.next(), None, "replay answered more than it was asked");
    all
}

/// Sets the offset of input partition 0, as an operator's tool does.
pub fn set_offset(world: &World, offset: i64) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &world.kafka.address)
        .set("group.id", &world.name)
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&world.topic("input"), 0, Offset::Offset(offset)).unwrap();
    consumer.commit(&list, rdkafka::consumer::CommitMode::Sync).unwrap();
}

/// A member of a world's group that reads something else; leaves when dropped.
pub fn member(world: &World) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &world.kafka.address).set("group.id", &world.name);
    let member: BaseConsumer = config.create().unwrap();
    member.subscribe(&[&world.topic("labels")]).unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    while member.assignment().unwrap().count() == 0 {
        assert!(Instant::now() < until, "the group gave nothing");
        member.poll(Duration::from_millis(50));
    }
    member
}

/// Asks for a world's group's offsets of a topic.
pub struct Offsets {
    consumer: BaseConsumer,
    topic: String,
    partitions: u32,
}

impl Offsets {
    pub fn of(world: &World, topic: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &world.kafka.address).set("group.id", &world.name);
        Self { consumer: config.create().unwrap(), topic: topic.to_owned(), partitions: world.partitions }
    }

    /// The next offset of each partition, 0 where nothing is committed; also while the broker does not answer.
    pub fn committed(&self) -> Vec<i64> {
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions {
            list.add_partition(&self.topic, i32::try_from(partition).unwrap());
        }
        let Ok(answer) = self.consumer.committed_offsets(list, Duration::from_secs(20)) else {
            return vec![0; self.partitions as usize];
        };
        let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        answer.elements().iter().map(|element| offset(element.offset())).collect()
    }
}
