//! The command under test, as a process of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use fraud_core::store::redis::{BlockingRedisStore, RedisSettings};

use crate::common::{default_model, request};
use crate::redis::Redis;

/// Where the service keeps its profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// In the process, saved at its end.
    Embedded,
    /// In a Redis that writes down what it is told before it answers, so that it may be killed.
    Redis,
}

/// A service that can be stopped and started again on the same ports.
pub struct Process {
    pub address: SocketAddr,
    pub management: SocketAddr,
    folder: TempDir,
    redis: Option<Mutex<Redis>>,
    child: Mutex<Child>,
    /// Held by whoever changes the model file.
    pub changing: Mutex<()>,
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Process {
    pub fn start(store: Store) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (address, management) = (free_port(), free_port());
        std::fs::write(folder.path().join("model.onnx"), default_model()).unwrap();
        let redis = (store == Store::Redis).then(|| {
            let redis = Redis::with(&["--appendonly", "yes"]);
            BlockingRedisStore::begin(RedisSettings::new(&redis.url())).unwrap();
            Mutex::new(redis)
        });
        let url = redis.as_ref().map(|redis| redis.lock().unwrap().url());
        let child = Mutex::new(launch(&folder, (address, management), url));
        let process = Self { address, management, folder, redis, child, changing: Mutex::default() };
        process.wait_until_ready();
        process
    }

    /// The file that the service watches.
    pub fn model_file(&self) -> PathBuf {
        self.folder.path().join("model.onnx")
    }

    fn wait_until_ready(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(self.address).is_err()
            || request(self.address, "GET", "/health/ready", &[], b"").status != 200
        {
            assert!(Instant::now() < until, "not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// SIGTERM, orderly end, start.
    pub fn restart(&self) {
        let _file = self.changing.lock().unwrap();
        std::fs::write(self.model_file(), default_model()).unwrap();
        let mut child = self.child.lock().unwrap();
        stop(&mut child, || self.log());
        let url = self.redis.as_ref().map(|redis| redis.lock().unwrap().url());
        *child = launch(&self.folder, (self.address, self.management), url);
        drop(child);
        self.wait_until_ready();
    }

    /// Where the profiles are.
    pub fn store(&self) -> Store {
        if self.redis.is_some() { Store::Redis } else { Store::Embedded }
    }

    /// Kills the Redis, if there is one, and starts it again.
    pub fn restart_redis(&self) {
        if let Some(redis) = &self.redis {
            redis.lock().unwrap().restart();
        }
    }

    /// Ends it at once.
    pub fn kill(&self) {
        if let Ok(mut child) = self.child.lock() {
            let _ = child.kill();
        }
    }

    pub fn finish(self) {
        stop(&mut self.child.lock().unwrap(), || self.log());
        for line in BufReader::new(File::open(self.folder.path().join("log")).unwrap()).lines() {
            let line = line.unwrap();
            // The broken files that were offered are refused aloud.
            let refused = line.contains("the new model is refused");
            let away = self.redis.is_some() && line.contains("the store");
            let error = line.contains("\"level\":\"ERROR\"") && !refused && !away;
            assert!(!line.contains("panicked") && !error, "{line}");
        }
    }

    pub fn resident_mib(&self) -> f64 {
        let pages = std::fs::read_to_string(format!("/proc/{}/statm", self.pid())).unwrap();
        pages.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4_096.0 / f64::from(1 << 20)
    }

    /// What the service says of itself at the end of a run.
    pub fn check_figures(&self, payments: u64) {
        let text = request(self.management, "GET", "/metrics", &[], b"").text();
        assert!(!text.contains("status_code=\"500\""), "{text}");
        // 37 days of 60 are certainly kept. What others hold is told now and then only.
        assert!(self.redis.is_some() || self.metric("fraud_store_events ") >= (payments * 37 / 60) as f64);
        assert_eq!(self.metric("http_requests_in_progress "), 1.0);
    }

    /// The value of one sample, by its name with labels; 0 when it is not there.
    pub fn metric(&self, sample: &str) -> f64 {
        let text = request(self.management, "GET", "/metrics", &[], b"").text();
        text.lines().find_map(|line| line.strip_prefix(sample)?.trim().parse().ok()).unwrap_or(0.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind.
        if let Ok(mut child) = self.child.lock() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn launch(folder: &TempDir, (address, management): (SocketAddr, SocketAddr), redis: Option<String>) -> Child {
    let path = |name: &str| folder.path().join(name);
    let log = File::options().create(true).append(true).open(path("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fraud-api"));
    command
        .env_clear()
        .env("FRAUD__SERVER__BIND", address.to_string())
        .env("FRAUD__SERVER__MANAGEMENT", management.to_string())
        .env("FRAUD__MODEL__PATH", path("model.onnx"))
        .env("FRAUD__MODEL__WATCH", "250ms");
    match redis {
        None => command.env("FRAUD__STORE__SNAPSHOT_PATH", path("store.bin")).env("FRAUD__STORE__SNAPSHOT_EVERY", "2s"),
        Some(url) => command.env("FRAUD__STORE__KIND", "redis").env("FRAUD__STORE__REDIS__URL", url),
    };
    command.stderr(Stdio::from(log)).spawn().unwrap()
}

fn stop(child: &mut Child, log: impl Fn() -> String) {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0), "{}", log());
}
