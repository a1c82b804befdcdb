//! A stand-in for a cluster, small and local, of real processes: fraud-api replicas in CPU cgroups with a real limit, an
//! autoscaler that goes by their measured use, a kubelet that starts again what ended, a balancer in front of them, and the
//! series that kube-state-metrics and cAdvisor would give (`series.rs`). It knows nothing of the load.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

mod series;

/// Length of the period that a CPU limit is enforced in, in microseconds; the kubelet's default.
const PERIOD: u64 = 100_000;
/// The autoscaler's aim: average use as a share of the limit.
const AIM: f64 = 0.7;
/// What its measure may be off without anything being done.
const SLACK: f64 = 0.1;
const LOOK: Duration = Duration::from_secs(2);
/// How long a replica that ended waits before it is started again.
const BACK_OFF: Duration = Duration::from_secs(8);
/// Fewer replicas are not gone to before so long without need.
const CALM: Duration = Duration::from_secs(30);

/// What limits and measures CPU use: the controller of either version of cgroups, or nothing that limits.
#[derive(Debug, Clone)]
enum Controller {
    None,
    One { cpu: PathBuf, accounting: PathBuf },
    Two { root: PathBuf },
}

impl Controller {
    fn find() -> Option<Self> {
        let one = (Path::new("/sys/fs/cgroup/cpu"), Path::new("/sys/fs/cgroup/cpuacct"));
        if one.0.join("cpu.cfs_quota_us").exists() || one.0.join("cgroup.procs").exists() {
            return Some(Self::One { cpu: one.0.into(), accounting: one.1.into() });
        }
        let root = Path::new("/sys/fs/cgroup");
        let controllers = fs::read_to_string(root.join("cgroup.subtree_control")).unwrap_or_default();
        controllers.split_whitespace().any(|name| name == "cpu").then(|| Self::Two { root: root.into() })
    }

    fn create(&self, name: &str, millicores: u64) -> io::Result<Vec<PathBuf>> {
        let quota = millicores * PERIOD / 1_000;
        let folders = match self {
            Self::None => Vec::new(),
            Self::One { cpu, accounting } => vec![cpu.join(name), accounting.join(name)],
            Self::Two { root } => vec![root.join(name)],
        };
        for folder in &folders {
            fs::create_dir_all(folder)?;
        }
        match self {
            Self::None => {}
            Self::One { .. } => {
                fs::write(folders[0].join("cpu.cfs_period_us"), PERIOD.to_string())?;
                fs::write(folders[0].join("cpu.cfs_quota_us"), quota.to_string())?;
            }
            Self::Two { .. } => fs::write(folders[0].join("cpu.max"), format!("{quota} {PERIOD}"))?,
        }
        Ok(folders)
    }

    /// Seconds of CPU that a group has used, or, where there is none, its process.
    fn used(&self, folders: &[PathBuf], process: u32) -> f64 {
        match self {
            Self::None => series::cpu_seconds(process).unwrap_or(0.0),
            Self::One { .. } => {
                let text = fs::read_to_string(folders[1].join("cpuacct.usage")).unwrap_or_default();
                text.trim().parse::<f64>().unwrap_or(0.0) / 1e9
            }
            Self::Two { .. } => {
                let text = fs::read_to_string(folders[0].join("cpu.stat")).unwrap_or_default();
                let used = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
                used.and_then(|used| used.parse::<f64>().ok()).unwrap_or(0.0) / 1e6
            }
        }
    }
}

struct Pod {
    name: String,
    port: u16,
    process: Child,
    folders: Vec<PathBuf>,
    ready: bool,
    restarts: u32,
    /// It ended, and is started again after a while.
    waiting_since: Option<Instant>,
    /// When it was looked at last, and the CPU seconds then.
    before: (Instant, f64),
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        for folder in &self.folders {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// How large it is.
#[derive(Debug, Clone)]
pub(crate) struct Size {
    pub(crate) min: usize,
    pub(crate) max: usize,
    /// CPU limit of a replica; `None` limits nothing, and the series tell of a whole core.
    pub(crate) millicores: Option<u64>,
    /// The memory limit that the series tell of, in bytes. Nothing enforces it.
    pub(crate) memory: u64,
    /// The namespace in the series.
    pub(crate) namespace: String,
    /// The fraud-api program.
    pub(crate) program: PathBuf,
    /// Its settings beside addresses.
    pub(crate) environment: Vec<(String, String)>,
    /// Where the replicas' output goes.
    pub(crate) folder: PathBuf,
}

pub(crate) struct Cluster {
    state: Arc<State>,
    /// The Service's address.
    pub(crate) service: String,
    /// Where the series are.
    pub(crate) metrics: String,
}

struct State {
    size: Size,
    controller: Controller,
    pods: Mutex<Vec<Pod>>,
    wanted: AtomicUsize,
    made: AtomicUsize,
    turn: AtomicUsize,
    over: AtomicBool,
}

impl Cluster {
    /// Starts with the least number of replicas and waits until they are ready. `None` where the machine has no CPU
    /// controller that may be used.
    pub(crate) fn start(size: Size) -> Option<Self> {
        let controller = if size.millicores.is_some() { Controller::find()? } else { Controller::None };
        let state = Arc::new(State {
            wanted: AtomicUsize::new(size.min),
            size,
            controller,
            pods: Mutex::default(),
            made: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        for _ in 0..state.size.min {
            state.add().map_err(|error| eprintln!("no replica could be started: {error}")).ok()?;
        }
        let patience = Instant::now();
        while !state.look_for_ready() {
            assert!(
                patience.elapsed() < Duration::from_mins(1),
                "replicas do not get ready, see {}",
                state.size.folder.display()
            );
            thread::sleep(Duration::from_millis(100));
        }
        let (balancer, metrics) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let service = balancer.local_addr().unwrap().to_string();
        let series = metrics.local_addr().unwrap().to_string();
        let start = |work: fn(&Arc<State>, &TcpListener), listener| {
            let state = state.clone();
            thread::spawn(move || work(&state, &listener))
        };
        start(balance, balancer);
        start(expose, metrics);
        let scaling = state.clone();
        thread::spawn(move || autoscale(&scaling));
        Some(Self { state, service, metrics: series })
    }

    /// The address of one replica.
    pub(crate) fn replica(&self) -> String {
        format!("127.0.0.1:{}", self.state.pods.lock().unwrap()[0].port)
    }

    pub(crate) fn replicas(&self) -> usize {
        self.state.pods.lock().unwrap().len()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        self.state.pods.lock().unwrap().clear();
    }
}

impl State {
    fn add(&self) -> io::Result<()> {
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let name = format!("fraud-api-{number}");
        let group = format!("drill-{}-{number}", std::process::id());
        let folders = self.controller.create(&group, self.size.millicores.unwrap_or(1_000))?;
        let process = self.spawn(&name, port, &folders)?;
        let before = (Instant::now(), self.controller.used(&folders, process.id()));
        let (restarts, waiting_since) = (0, None);
        let pod = Pod { name, port, process, folders, ready: false, restarts, waiting_since, before };
        let mut pods = self.pods.lock().unwrap();
        // One that comes too late ends at once.
        if !self.over.load(Ordering::SeqCst) {
            pods.push(pod);
        }
        Ok(())
    }

    fn spawn(&self, name: &str, port: u16, folders: &[PathBuf]) -> io::Result<Child> {
        let mut joins: String =
            folders.iter().map(|folder| format!("echo $$ > '{}' && ", folder.join("cgroup.procs").display())).collect();
        joins += &format!("exec '{}'", self.size.program.display());
        let output =
            fs::OpenOptions::new().create(true).append(true).open(self.size.folder.join(format!("{name}.log")))?;
        // The shell joins the group and becomes the program, so that all of its CPU use is measured and limited.
        Command::new("sh")
            .args(["-c", &joins])
            .env("FRAUD__SERVER__BIND", format!("127.0.0.1:{port}"))
            .env("FRAUD__SERVER__MANAGEMENT", "none")
            .env("FRAUD__SERVER__WORKERS", "1")
            .envs(self.size.environment.iter().cloned())
            .stdout(output.try_clone()?)
            .stderr(output)
            .stdin(Stdio::null())
            .spawn()
    }

    /// Starts again what ended, after a while, as the kubelet does.
    fn revive(&self) {
        for pod in self.pods.lock().unwrap().iter_mut() {
            match pod.waiting_since {
                None if matches!(pod.process.try_wait(), Ok(Some(_))) => {
                    pod.waiting_since = Some(Instant::now());
                    pod.ready = false;
                }
                Some(since) if since.elapsed() > BACK_OFF => {
                    if let Ok(process) = self.spawn(&pod.name, pod.port, &pod.folders) {
                        pod.process = process;
                        pod.restarts += 1;
                    }
                    pod.waiting_since = None;
                }
                _ => {}
            }
        }
    }

    /// Asks those that were not ready; answers whether all are.
    fn look_for_ready(&self) -> bool {
        let ports: Vec<u16> = self.pods.lock().unwrap().iter().filter(|pod| !pod.ready).map(|pod| pod.port).collect();
        for port in ports {
            let ready = answers_ready(port).unwrap_or(false);
            if let Some(pod) = self.pods.lock().unwrap().iter_mut().find(|pod| pod.port == port) {
                pod.ready = ready;
            }
        }
        self.pods.lock().unwrap().iter().all(|pod| pod.ready)
    }

    /// Average use of the ready replicas since the last look, as a share of the limit.
    fn use_of_limit(&self) -> f64 {
        let mut pods = self.pods.lock().unwrap();
        let mut shares = Vec::new();
        for pod in pods.iter_mut() {
            let now = (Instant::now(), self.controller.used(&pod.folders, pod.process.id()));
            let used = (now.1 - pod.before.1) / (now.0 - pod.before.0).as_secs_f64();
            pod.before = now;
            if pod.ready {
                shares.push(used / self.cores());
            }
        }
        shares.iter().sum::<f64>() / shares.len().max(1) as f64
    }

    /// CPU limit of a replica, in cores.
    fn cores(&self) -> f64 {
        self.size.millicores.unwrap_or(1_000) as f64 / 1_000.0
    }
}

fn answers_ready(port: u16) -> io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(answer.ends_with(b" 200"))
}

/// As the horizontal autoscaler reckons: replicas × use ÷ aim, within its bounds.
fn autoscale(state: &Arc<State>) {
    let mut needed_at = Instant::now();
    while !state.over.load(Ordering::SeqCst) {
        thread::sleep(LOOK);
        state.revive();
        state.look_for_ready();
        let used = state.use_of_limit();
        let count = state.pods.lock().unwrap().len();
        let ratio = used / AIM;
        let wanted = if (ratio - 1.0).abs() <= SLACK { count } else { (count as f64 * ratio).ceil() as usize };
        let wanted = wanted.clamp(state.size.min, state.size.max);
        if wanted >= count {
            needed_at = Instant::now();
        }
        let wanted = if wanted < count && needed_at.elapsed() < CALM { count } else { wanted };
        state.wanted.store(wanted, Ordering::SeqCst);
        for _ in count..wanted {
            if state.over.load(Ordering::SeqCst) || state.add().is_err() {
                return;
            }
        }
        // Their ends are waited for outside of the lock.
        let gone = if wanted < count { state.pods.lock().unwrap().split_off(wanted) } else { Vec::new() };
        drop(gone);
    }
}

/// Gives each new connection to the next ready replica, as a Service does.
fn balance(state: &Arc<State>, listener: &TcpListener) {
    for client in listener.incoming().map_while(Result::ok) {
        let ports: Vec<u16> = state.pods.lock().unwrap().iter().filter(|pod| pod.ready).map(|pod| pod.port).collect();
        let turn = state.turn.fetch_add(1, Ordering::SeqCst);
        let Some(port) = ports.get(turn % ports.len().max(1)) else { continue };
        let Ok(server) = TcpStream::connect(("127.0.0.1", *port)) else { continue };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (Ok(to_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else { continue };
        for (mut from, mut to) in [(client, to_server), (server, to_client)] {
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
            });
        }
    }
}

/// `GET /metrics`: the series. `GET /targets`: the replicas, as Prometheus discovers targets over HTTP.
fn expose(state: &Arc<State>, listener: &TcpListener) {
    for mut stream in listener.incoming().map_while(Result::ok) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let mut request = [0; 4_096];
        let read = stream.read(&mut request).unwrap_or(0);
        let (kind, body) = if request[..read].starts_with(b"GET /targets") {
            ("application/json", state.targets())
        } else {
            ("text/plain; version=0.0.4", state.series())
        };
        let length = body.len();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all((head + &body).as_bytes());
    }
}
