//! A small HTTP load client for comparing services on one machine.
//!
//! `http_load ADDRESS [--seconds 10] [--connections 32] [--rate R] [--timeout-ms 1000] [--pid PID]
//! [--path /predict] [--body plain|tensor] [--warm-up 1]`
//!
//! Without `--rate` every connection sends again as soon as it has its answer. With it, arrivals follow
//! the schedule whatever the service does (more connections are opened as needed), latency counts from the
//! intended start, and a client that has waited for the timeout closes its connection. One thread, one
//! busy loop: give it a core of its own. Prints one JSON object; `behind_ms` is how late the client itself
//! was at worst, and a run where it is large means nothing.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

struct Options {
    address: SocketAddr,
    seconds: f64,
    warm_up: f64,
    connections: usize,
    rate: Option<f64>,
    timeout: Duration,
    pid: Option<u32>,
    path: String,
    tensor: bool,
}

fn options() -> Result<Options, String> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("the address is missing")?;
    let address = address.to_socket_addrs().ok().and_then(|mut all| all.next()).ok_or("no such address")?;
    let mut options = Options {
        address,
        seconds: 10.0,
        warm_up: 1.0,
        connections: 32,
        rate: None,
        timeout: Duration::from_secs(10),
        pid: None,
        path: "/predict".to_owned(),
        tensor: false,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<f64>().map_err(|_| format!("{name}: no number"));
        match name.as_str() {
            "--seconds" => options.seconds = number()?,
            "--warm-up" => options.warm_up = number()?,
            "--connections" => options.connections = number()? as usize,
            "--rate" => options.rate = Some(number()?),
            "--timeout-ms" => options.timeout = Duration::from_secs_f64(number()? / 1e3),
            "--pid" => options.pid = Some(number()? as u32),
            "--path" => options.path = value,
            "--body" => options.tensor = value == "tensor",
            _ => return Err(format!("no option {name}")),
        }
    }
    Ok(options)
}

/// Writes request after request, no two alike.
struct Requests {
    head: String,
    tensor: bool,
    run: u64,
    count: u64,
    state: u64,
    start: i64,
    body: Vec<u8>,
}

impl Requests {
    fn new(options: &Options) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            head: format!(
                "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: ",
                options.path, options.address
            ),
            tensor: options.tensor,
            run: now.as_millis() as u64,
            count: 0,
            state: 0x9e37_79b9_7f4a_7c15,
            start: now.as_secs() as i64 - 3_600,
            body: Vec::with_capacity(512),
        }
    }

    /// xorshift: good enough to spread customers and amounts.
    fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below
    }

    fn write(&mut self, into: &mut Vec<u8>) {
        let (customer, terminal, cents) = (self.random(5_000), self.random(10_000), self.random(20_000));
        self.count += 1;
        self.body.clear();
        let body = &mut self.body;
        if self.tensor {
            let _ = write!(body, "{{\"instances\": [[{}.{:02}", cents / 100, cents % 100);
            for feature in 1..15 {
                let _ = write!(body, ", {}", (customer + terminal * feature) % 31);
            }
            body.extend_from_slice(b"]]}");
        } else {
            let second = self.start + (self.count / 1_000) as i64 % 3_600;
            let (hour, minute) = (second / 3_600 % 24, second / 60 % 60);
            let day = civil(second.div_euclid(86_400));
            let _ = write!(
                body,
                "{{\"transaction_id\": \"{:x}-{}\", \"customer_id\": {customer}, \"terminal_id\": {terminal}, \
                 \"tx_amount\": {}.{:02}, \"tx_datetime\": \"{day} {hour:02}:{minute:02}:{:02}\"}}",
                self.run,
                self.count,
                cents / 100,
                cents % 100,
                second % 60
            );
        }
        into.clear();
        let _ = write!(into, "{}{}\r\n\r\n", self.head, self.body.len());
        into.extend_from_slice(&self.body);
    }
}

/// `YYYY-MM-DD` of a day since 1970.
fn civil(days: i64) -> String {
    let shifted = days + 719_468;
    let (cycle, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (date, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month:02}-{date:02}", cycle * 400 + year + i64::from(month <= 2))
}

struct Connection {
    stream: Option<TcpStream>,
    /// Intended start of the request under way.
    since: Option<Instant>,
    out: Vec<u8>,
    written: usize,
    answer: Vec<u8>,
    /// Counts requests, so that a timeout knows whether it is still meant.
    turn: u64,
}

#[derive(Default)]
struct Outcome {
    latencies: Vec<u32>,
    statuses: BTreeMap<u16, u64>,
    accepted: Vec<u32>,
    timeouts: u64,
    broken: u64,
    sent: u64,
    behind: Duration,
}

struct Client {
    options: Options,
    poll: Poll,
    connections: Vec<Connection>,
    free: Vec<usize>,
    requests: Requests,
    outcome: Outcome,
    under_way: VecDeque<(Instant, usize, u64)>,
    measure_from: Instant,
}

/// More connections than this are not opened.
const MOST: usize = 20_000;

impl Client {
    fn open(&mut self, at: usize) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.options.address)?;
        let _ = stream.set_nodelay(true);
        self.poll.registry().register(&mut stream, Token(at), Interest::READABLE | Interest::WRITABLE)?;
        self.connections[at].stream = Some(stream);
        Ok(())
    }

    fn add(&mut self) -> io::Result<usize> {
        let at = self.connections.len();
        let empty = Connection { stream: None, since: None, out: Vec::new(), written: 0, answer: Vec::new(), turn: 0 };
        self.connections.push(empty);
        self.open(at)?;
        Ok(at)
    }

    fn send(&mut self, at: usize, intended: Instant, now: Instant) -> io::Result<()> {
        if self.connections[at].stream.is_none() {
            self.open(at)?;
        }
        let connection = &mut self.connections[at];
        self.requests.write(&mut connection.out);
        connection.written = 0;
        connection.answer.clear();
        connection.turn += 1;
        connection.since = Some(intended);
        self.under_way.push_back((now + self.options.timeout, at, connection.turn));
        if now >= self.measure_from {
            self.outcome.sent += 1;
        }
        self.write(at);
        Ok(())
    }

    fn write(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        let Some(stream) = &mut connection.stream else { return };
        while connection.written < connection.out.len() {
            match stream.write(&connection.out[connection.written..]) {
                Ok(0) => return self.drop_connection(at, true),
                Ok(bytes) => connection.written += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return,
                Err(_) => return self.drop_connection(at, true),
            }
        }
    }

    fn drop_connection(&mut self, at: usize, broken: bool) {
        let connection = &mut self.connections[at];
        if let Some(mut stream) = connection.stream.take() {
            let _ = self.poll.registry().deregister(&mut stream);
        }
        if let Some(since) = connection.since.take() {
            self.free.push(at);
            if broken && since >= self.measure_from {
                self.outcome.broken += 1;
            }
        }
    }

    fn read(&mut self, at: usize) {
        let mut buffer = [0; 16_384];
        loop {
            let connection = &mut self.connections[at];
            let Some(stream) = &mut connection.stream else { return };
            match stream.read(&mut buffer) {
                Ok(0) => return self.drop_connection(at, true),
                Ok(bytes) => {
                    connection.answer.extend_from_slice(&buffer[..bytes]);
                    if let Some((status, close)) = complete(&connection.answer) {
                        self.done(at, status);
                        if close {
                            self.drop_connection(at, false);
                        }
                        return;
                    }
                    if bytes < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.drop_connection(at, true),
            }
        }
    }

    fn done(&mut self, at: usize, status: u16) {
        let Some(since) = self.connections[at].since.take() else { return };
        self.free.push(at);
        if since < self.measure_from {
            return;
        }
        let micros = u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX);
        self.outcome.latencies.push(micros);
        if status == 200 {
            self.outcome.accepted.push(micros);
        }
        *self.outcome.statuses.entry(status).or_default() += 1;
    }

    fn give_up(&mut self, now: Instant) {
        while let Some((until, at, turn)) = self.under_way.front().copied() {
            let over = self.connections[at].turn != turn || self.connections[at].since.is_none();
            if !over && until > now {
                return;
            }
            self.under_way.pop_front();
            if !over {
                if self.connections[at].since.is_some_and(|since| since >= self.measure_from) {
                    self.outcome.timeouts += 1;
                }
                self.drop_connection(at, false);
            }
        }
    }

    fn run(&mut self) -> io::Result<()> {
        let start = Instant::now();
        self.measure_from = start + Duration::from_secs_f64(self.options.warm_up);
        let end = self.measure_from + Duration::from_secs_f64(self.options.seconds);
        for _ in 0..self.options.connections {
            let at = self.add()?;
            self.free.push(at);
        }
        let mut events = Events::with_capacity(4_096);
        let mut arrivals = 0_u64;
        loop {
            let now = Instant::now();
            if now >= end + self.options.timeout || now >= end && self.free.len() == self.connections.len() {
                return Ok(());
            }
            if now < end {
                match self.options.rate {
                    None => {
                        while let Some(at) = self.free.pop() {
                            self.send(at, now, now)?;
                        }
                    }
                    Some(rate) => loop {
                        let intended = start + Duration::from_secs_f64(arrivals as f64 / rate);
                        if intended > now {
                            break;
                        }
                        let at = match self.free.pop() {
                            Some(at) => at,
                            None if self.connections.len() < MOST => self.add()?,
                            None => break,
                        };
                        arrivals += 1;
                        if intended >= self.measure_from {
                            self.outcome.behind = self.outcome.behind.max(now - intended);
                        }
                        self.send(at, intended, now)?;
                    },
                }
            }
            self.give_up(now);
            let wait = if self.options.rate.is_some() { Duration::ZERO } else { Duration::from_millis(10) };
            self.poll.poll(&mut events, Some(wait))?;
            for event in &events {
                let at = event.token().0;
                if event.is_writable() && self.connections[at].written < self.connections[at].out.len() {
                    self.write(at);
                }
                if event.is_readable() {
                    self.read(at);
                }
            }
        }
    }
}

/// Status of a complete answer, and whether the connection ends with it.
fn complete(answer: &[u8]) -> Option<(u16, bool)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.get(9..12)?.parse().ok()?;
    let header = |name: &str| {
        head.split("\r\n").find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let length: usize = header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    let close = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    (answer.len() >= end + length).then_some((status, close))
}

/// CPU seconds and resident MiB of a process.
fn usage(pid: u32) -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(((ticks(11)? + ticks(12)?) / 100.0, ticks(21)? * 4_096.0 / f64::from(1 << 20)))
}

fn percentiles(mut micros: Vec<u32>) -> String {
    micros.sort_unstable();
    let at = |share: f64| {
        let index = ((micros.len() as f64 * share).ceil() as usize).clamp(1, micros.len().max(1)) - 1;
        micros.get(index).copied().unwrap_or(0)
    };
    let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(at);
    format!("{{\"p50\": {p50}, \"p90\": {p90}, \"p99\": {p99}, \"p99.9\": {p999}, \"max\": {}}}", at(1.0))
}

fn main() -> io::Result<()> {
    let options = options().map_err(io::Error::other)?;
    let (pid, seconds, warm_up) = (options.pid, options.seconds, options.warm_up);
    let mut client = Client {
        requests: Requests::new(&options),
        poll: Poll::new()?,
        connections: Vec::new(),
        free: Vec::new(),
        outcome: Outcome::default(),
        under_way: VecDeque::new(),
        measure_from: Instant::now(),
        options,
    };
    // CPU is measured over the same time as the answers: a thread reads it when the warm-up ends.
    let before = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs_f64(warm_up));
        pid.and_then(usage)
    });
    client.run()?;
    let after = pid.and_then(usage);
    let outcome = client.outcome;
    let good = outcome.accepted.len();
    let statuses: Vec<String> =
        outcome.statuses.iter().map(|(status, count)| format!("\"{status}\": {count}")).collect();
    print!(
        "{{\"sent\": {}, \"ok\": {good}, \"ok_per_second\": {:.0}, \"statuses\": {{{}}}, \"timeouts\": {}, \"broken\": {}, \
         \"behind_ms\": {:.1}, \"latency_us\": {}, \"accepted_us\": {}",
        outcome.sent,
        good as f64 / seconds,
        statuses.join(", "),
        outcome.timeouts,
        outcome.broken,
        outcome.behind.as_secs_f64() * 1e3,
        percentiles(outcome.latencies),
        percentiles(outcome.accepted),
    );
    if let (Some((cpu_before, _)), Some((cpu, mib))) = (before.join().ok().flatten(), after) {
        let cpu = cpu - cpu_before;
        print!(", \"cpu_seconds\": {cpu:.2}, \"ok_per_cpu_second\": {:.0}, \"rss_mib\": {mib:.1}", good as f64 / cpu);
    }
    println!("}}");
    Ok(())
}
