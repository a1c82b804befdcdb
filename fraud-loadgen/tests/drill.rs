//! The drill end to end: real fraud-api replicas in CPU cgroups, real Prometheus and Alertmanager with the shipped rule and
//! configuration. Only the cluster is a stand-in (`common/cluster.rs`). `scripts/drill.sh` builds and installs what it
//! needs, and runs it.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)] // A test that cannot go on ends.

#[path = "common/cluster.rs"]
mod cluster;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Cluster, Size};

/// CPU limit of a replica: a twentieth of a core. All six together are less than a third of one.
const MILLICORES: u64 = 50;

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn start(program: &str, folder: &Path, arguments: &[String]) -> Process {
    let output = fs::File::create(folder.join(format!("{program}.log"))).unwrap();
    let child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .stdin(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; scripts/monitoring.sh need installs it"));
    Process(child)
}

fn wait_for(address: &str, path: &str) {
    let began = Instant::now();
    let answers = || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(answer)
    };
    while answers().is_none() {
        assert!(began.elapsed() < Duration::from_mins(1), "{address}{path} does not answer");
        thread::sleep(Duration::from_millis(200));
    }
}

/// Prometheus and Alertmanager as shipped, but for the time spans (seconds for minutes) and the webhook's address.
struct Monitoring {
    prometheus: String,
    alertmanager: String,
    webhook: String,
    _processes: [Process; 2],
}

impl Monitoring {
    fn start(folder: &Path, metrics: &str) -> Self {
        let (prometheus, alertmanager, webhook) = (free(), free(), free());
        let rules = Command::new(root().join("scripts/monitoring.sh")).arg("rules").arg(folder).status().unwrap();
        assert!(rules.success());
        let rule = folder.join("admin-notification.rules.yaml");
        let text = fs::read_to_string(&rule).unwrap();
        let shortened = text.replace("for: 5m", "for: 10s").replace("[2m]", "[10s]");
        assert_eq!(shortened.matches("10s").count(), text.matches("5m").count() + text.matches("[2m]").count());
        fs::write(&rule, shortened).unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [admin-notification.rules.yaml]\n\
             alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}\n\
             scrape_configs: [{{job_name: cluster, honor_labels: true, static_configs: [{{targets: ['{metrics}']}}]}}]\n"
        );
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        let shipped = fs::read_to_string(root().join("deploy/monitoring/alertmanager.webhook.yaml")).unwrap();
        let ours = shipped.replace(
            "http://administrator-notifications.monitoring.svc:8080/alerts",
            &format!("http://{webhook}/alerts"),
        );
        assert_ne!(shipped, ours);
        fs::write(folder.join("alertmanager.yml"), ours.replace("group_interval: 1m", "group_interval: 5s")).unwrap();
        let option = |name: &str, value: &str| format!("--{name}={value}");
        let processes = [
            start(
                "prometheus-alertmanager",
                folder,
                &[
                    option("config.file", "alertmanager.yml"),
                    option("storage.path", "alertmanager"),
                    option("web.listen-address", &alertmanager),
                    option("cluster.listen-address", ""),
                ],
            ),
            start(
                "prometheus",
                folder,
                &[
                    option("config.file", "prometheus.yml"),
                    option("storage.tsdb.path", "prometheus"),
                    option("web.listen-address", &prometheus),
                ],
            ),
        ];
        wait_for(&alertmanager, "/-/ready");
        wait_for(&prometheus, "/-/ready");
        Self { prometheus, alertmanager, webhook, _processes: processes }
    }
}

/// A cluster with its monitoring, warm enough for the rule's series to be there.
fn scene(folder: &Path) -> (Cluster, Monitoring) {
    let program = Path::new(env!("CARGO_BIN_EXE_fraud-loadgen")).with_file_name("fraud-api");
    assert!(program.exists(), "there is no fraud-api beside fraud-loadgen: cargo build -p fraud-api");
    let size = Size {
        min: 4,
        max: 6,
        millicores: Some(MILLICORES),
        memory: 128 << 20,
        namespace: "fraud".to_owned(),
        program,
        environment: Vec::new(),
        folder: folder.to_owned(),
    };
    let cluster = Cluster::start(size).expect("this machine lets nobody limit CPU by cgroups: run as root");
    let monitoring = Monitoring::start(folder, &cluster.metrics);
    // Two scrapes within the rule's window.
    thread::sleep(Duration::from_secs(12));
    (cluster, monitoring)
}

fn drill(cluster: &Cluster, monitoring: &Monitoring, json: &Path, options: &[&str]) -> (Output, serde_json::Value) {
    let service = format!("http://{}", cluster.service);
    drill_at(&service, (cluster, monitoring), json, options)
}

fn drill_at(
    target: &str,
    (cluster, monitoring): (&Cluster, &Monitoring),
    json: &Path,
    options: &[&str],
) -> (Output, serde_json::Value) {
    let url = |address: &str| format!("http://{address}");
    let output = Command::new(env!("CARGO_BIN_EXE_fraud-loadgen"))
        .arg("drill")
        .args(["--target", target, "--replica", &url(&cluster.replica())])
        .args(["--prometheus", &url(&monitoring.prometheus), "--alertmanager", &url(&monitoring.alertmanager)])
        .args(["--webhook", &monitoring.webhook, "--connections", "600", "--requests-per-connection", "100"])
        .args(["--schedule-tolerance", "60000", "--measure-seconds", "3"])
        .args(["--html", json.with_extension("html").to_str().unwrap(), "--json", json.to_str().unwrap()])
        .args(options)
        // The timeline is worth seeing as it happens.
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    eprintln!("{}", String::from_utf8_lossy(&output.stdout));
    let report = fs::read(json).map_or(serde_json::Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
    (output, report)
}

fn folder(name: &str) -> PathBuf {
    let folder = root().join("out/drill").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
#[ignore = "minutes, root, fraud-api, Prometheus and Alertmanager: scripts/drill.sh"]
fn the_attack_calls_the_administrator_and_its_end_is_told() {
    let folder = folder("attack");
    let (cluster, monitoring) = scene(&folder);
    assert_eq!(cluster.replicas(), 4);
    let (output, report) = drill(
        &cluster,
        &monitoring,
        &folder.join("report.json"),
        &[
            "--phase-seconds",
            "8,10,15,90",
            "--pause",
            "2",
            "--wait-resolved",
            "2m",
            "--scenario",
            "card-testing=0.3@attack 4",
        ],
    );
    assert_eq!(output.status.code(), Some(0), "the alarm did not go through the chain");
    let drill = &report["drill"];
    assert!(drill["hottest"].as_f64().unwrap() > 0.8, "a replica above 80 % of its limit was measured");
    assert!(drill["links"].as_array().unwrap().iter().all(|link| link[1].is_f64()), "{}", drill["links"]);
    let seen = |name: &str| -> Vec<u64> {
        drill["samples"].as_array().unwrap().iter().filter_map(|sample| sample[name].as_u64()).collect()
    };
    assert_eq!((seen("replicas")[0], *seen("replicas").iter().max().unwrap()), (4, 6));
    assert!(drill["capacity"].as_f64().unwrap() > 0.0);
    let told: Vec<&str> =
        drill["timeline"].as_array().unwrap().iter().filter_map(|event| event["what"].as_str()).collect();
    let place = |what: &str| told.iter().position(|event| *event == what).unwrap_or_else(|| panic!("{what}: {told:?}"));
    assert!(place("webhook received: firing") < place("webhook received: resolved"));
}

#[test]
#[ignore = "minutes, root, fraud-api, Prometheus and Alertmanager: scripts/drill.sh"]
fn a_load_that_leaves_room_calls_nobody() {
    let folder = folder("calm");
    let (cluster, monitoring) = scene(&folder);
    // A rate that four replicas of any machine take with ease: 1.3 × 6 × 10 at its highest. Without optimisation, a request
    // that comes alone, to caches that have gone cold, may cost a millisecond, five times one among many.
    let (output, report) = drill(
        &cluster,
        &monitoring,
        &folder.join("report.json"),
        &["--phase-seconds", "5,5,5,40", "--pause", "0", "--capacity", "10"],
    );
    assert_eq!(output.status.code(), Some(1), "nobody was to be called");
    let drill = &report["drill"];
    let alerts: Vec<&str> =
        drill["samples"].as_array().unwrap().iter().filter_map(|sample| sample["alert"].as_str()).collect();
    assert!(!alerts.is_empty() && alerts.iter().all(|alert| *alert != "firing"), "{alerts:?}");
    let told =
        drill["timeline"].as_array().unwrap().iter().any(|event| event["what"].as_str().unwrap().contains("webhook"));
    assert!(!told, "{}", drill["timeline"]);
    assert!(drill["hottest"].as_f64().is_some_and(|share| share > 0.0 && share < 0.8), "{}", drill["hottest"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("drill: not reached: a replica above 80 %"));
}

#[cfg(feature = "kafka")]
struct Kafka(PathBuf);

#[cfg(feature = "kafka")]
impl Kafka {
    fn script(&self, arguments: &[&str]) -> String {
        let home = self.0.to_str().unwrap();
        let all = [&arguments[..1], &[home], &arguments[1..]].concat();
        let output = Command::new(root().join("scripts/kafka.sh")).args(all).stderr(Stdio::inherit()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

#[cfg(feature = "kafka")]
impl Drop for Kafka {
    fn drop(&mut self) {
        self.script(&["remove"]);
    }
}

/// The whole way: Kafka, fraud-stream asking the replicas over HTTP, and the assessments read again.
#[cfg(feature = "kafka")]
#[test]
#[ignore = "minutes, root, Kafka, fraud-stream, fraud-api, Prometheus and Alertmanager: scripts/drill.sh"]
fn an_attack_through_kafka_calls_the_administrator() {
    let folder = folder("kafka");
    let kafka = Kafka(folder.join("broker"));
    let address = kafka.script(&["start"]);
    assert!(address.starts_with("127.0.0.1:"), "scripts/kafka.sh start: {address}");
    for topic in ["transactions-input", "fraud-predictions", "fraud-labels", "transactions-dead-letter"] {
        kafka.script(&["topic", "--create", "--topic", topic, "--partitions", "6"]);
    }
    let (cluster, monitoring) = scene(&folder);
    let program = Path::new(env!("CARGO_BIN_EXE_fraud-loadgen")).with_file_name("fraud-stream");
    let output = fs::File::create(folder.join("fraud-stream.log")).unwrap();
    let stream = Command::new(program)
        .arg("run")
        .env("FRAUD__KAFKA__BROKERS", &address)
        .env("FRAUD__SCORER__KIND", "http")
        .env("FRAUD__SCORER__URL", format!("http://{}", cluster.service))
        // One transaction a request, as the capacity is measured; enough at a time for six replicas.
        .env("FRAUD__SCORER__REQUEST_RECORDS", "1")
        .env("FRAUD__SCORER__CONCURRENCY", "48")
        .env("FRAUD__SERVER__BIND", free())
        .current_dir(&folder)
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .map(Process)
        .unwrap();
    thread::sleep(Duration::from_secs(5));
    let target = format!("kafka://{address}");
    let (output, report) = drill_at(
        &target,
        (&cluster, &monitoring),
        &folder.join("report.json"),
        &["--phase-seconds", "8,10,15,90", "--pause", "2", "--wait-resolved", "3m", "--timeout", "30s"],
    );
    drop(stream);
    assert_eq!(output.status.code(), Some(0), "the alarm did not go through the chain");
    assert!(report["drill"]["hottest"].as_f64().unwrap() > 0.8);
    assert!(report["total"]["ends"]["answered"].as_u64().unwrap() > 0, "assessments were read from Kafka");
}
