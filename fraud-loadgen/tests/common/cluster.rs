//! A stand-in for a cluster, small and local, of real processes: fraud-api replicas in CPU cgroups with a real limit, an
//! autoscaler that goes by their measured use, a balancer in front of them, and the series that kube-state-metrics
//! and cAdvisor would give. It knows nothing of the load.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Length of the period that a CPU limit is enforced in, in microseconds; the kubelet's default.
const PERIOD: u64 = 100_000;
/// The autoscaler's aim: average use as a share of the limit.
const AIM: f64 = 0.7;
/// What its measure may be off without anything being done.
const SLACK: f64 = 0.1;
const LOOK: Duration = Duration::from_secs(2);
/// Fewer replicas are not gone to before so long without need.
const CALM: Duration = Duration::from_secs(30);

/// The CPU controller of either version of cgroups.
#[derive(Debug, Clone)]
enum Controller {
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
            Self::One { cpu, accounting } => vec![cpu.join(name), accounting.join(name)],
            Self::Two { root } => vec![root.join(name)],
        };
        for folder in &folders {
            fs::create_dir_all(folder)?;
        }
        match self {
            Self::One { .. } => {
                fs::write(folders[0].join("cpu.cfs_period_us"), PERIOD.to_string())?;
                fs::write(folders[0].join("cpu.cfs_quota_us"), quota.to_string())?;
            }
            Self::Two { .. } => fs::write(folders[0].join("cpu.max"), format!("{quota} {PERIOD}"))?,
        }
        Ok(folders)
    }

    /// Seconds of CPU that a group has used.
    fn used(&self, folders: &[PathBuf]) -> f64 {
        match self {
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
    pub(crate) millicores: u64,
    /// The fraud-api program.
    pub(crate) program: PathBuf,
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
        let controller = Controller::find()?;
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
        let folders =
            self.controller.create(&format!("drill-{}-{number}", std::process::id()), self.size.millicores)?;
        let joins: Vec<String> =
            folders.iter().map(|folder| format!("echo $$ > '{}'", folder.join("cgroup.procs").display())).collect();
        let output = fs::File::create(self.size.folder.join(format!("{name}.log")))?;
        // The shell joins the group and becomes the program, so that all of its CPU use is measured and limited.
        let process = Command::new("sh")
            .args(["-c", &format!("{} && exec '{}'", joins.join(" && "), self.size.program.display())])
            .env("FRAUD__SERVER__BIND", format!("127.0.0.1:{port}"))
            .env("FRAUD__SERVER__MANAGEMENT", "none")
            .env("FRAUD__SERVER__WORKERS", "1")
            .stdout(output.try_clone()?)
            .stderr(output)
            .stdin(Stdio::null())
            .spawn()?;
        let before = (Instant::now(), self.controller.used(&folders));
        self.pods.lock().unwrap().push(Pod { name, port, process, folders, ready: false, before });
        Ok(())
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
            let now = (Instant::now(), self.controller.used(&pod.folders));
            let used = (now.1 - pod.before.1) / (now.0 - pod.before.0).as_secs_f64();
            pod.before = now;
            if pod.ready {
                shares.push(used / (self.size.millicores as f64 / 1_000.0));
            }
        }
        shares.iter().sum::<f64>() / shares.len().max(1) as f64
    }

    fn series(&self) -> String {
        let mut text = String::new();
        let pods = self.pods.lock().unwrap();
        let ready = pods.iter().filter(|pod| pod.ready).count();
        let deployment = "{namespace=\"fraud\",deployment=\"fraud-api\"}";
        let gauges = [
            ("kube_deployment_status_replicas", deployment, pods.len()),
            ("kube_deployment_status_replicas_available", deployment, ready),
            (
                "kube_horizontalpodautoscaler_status_desired_replicas",
                "{namespace=\"fraud\",horizontalpodautoscaler=\"fraud-api\"}",
                self.wanted.load(Ordering::SeqCst),
            ),
        ];
        for (name, labels, value) in gauges {
            let _ = write!(text, "# TYPE {name} gauge\n{name}{labels} {value}\n");
        }
        let limit = self.size.millicores as f64 / 1_000.0;
        text += "# TYPE kube_pod_container_resource_limits gauge\n";
        for Pod { name, .. } in pods.iter() {
            let labels =
                format!("namespace=\"fraud\",pod=\"{name}\",container=\"fraud-api\",resource=\"cpu\",unit=\"core\"");
            let _ = writeln!(text, "kube_pod_container_resource_limits{{{labels}}} {limit}");
        }
        text += "# TYPE container_cpu_usage_seconds_total counter\n";
        for pod in pods.iter() {
            let used = self.controller.used(&pod.folders);
            // cAdvisor gives the pod as a whole beside its container.
            for container in ["fraud-api", ""] {
                let labels = format!("namespace=\"fraud\",pod=\"{}\",container=\"{container}\"", pod.name);
                let _ = writeln!(text, "container_cpu_usage_seconds_total{{{labels}}} {used:.6}");
            }
        }
        text
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

fn expose(state: &Arc<State>, listener: &TcpListener) {
    for mut stream in listener.incoming().map_while(Result::ok) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let _ = stream.read(&mut [0; 4_096]);
        let body = state.series();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all((head + &body).as_bytes());
    }
}
