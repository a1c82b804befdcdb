//! A real Redis for tests: Debian's redis-server on a free port of loopback, ended with the test.
#![allow(dead_code)] // Each test uses a part of it.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running server. It ends when this is dropped, and when the test process ends however it does.
pub struct Redis {
    port: u16,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// A server that keeps everything in memory.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A server with arguments of its own.
    pub fn with(arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/redis.sh");
        let there = Command::new("bash").arg(script).arg("need").status().expect("bash");
        assert!(there.success(), "redis-server is not to be had");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut redis = Self { port, folder: tempfile::tempdir().expect("a folder"), arguments, child: None };
        redis.restart();
        redis
    }

    /// Starts it again on its port, with what its folder has.
    pub fn restart(&mut self) {
        self.kill();
        // The shell ends its server when its own input is closed, as it is when this process ends.
        let script = r#"exec 2>/dev/null; redis-server "$@" >server.log 2>&1 </dev/null & pid=$!; echo $pid >pid; read -r signal || signal=KILL
            kill "-$signal" $pid; wait $pid"#;
        let port = self.port.to_string();
        let mut command = Command::new("sh");
        command.args(["-c", script, "redis", "--port", &port, "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--maxmemory-policy", "noeviction"]).args(&self.arguments).current_dir(self.folder.path());
        self.child = Some(command.stdin(Stdio::piped()).spawn().expect("sh"));
        for _ in 0..600 {
            if self.is_up() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default();
        panic!("redis-server does not answer:\n{log}");
    }

    fn is_up(&self) -> bool {
        let answer = Command::new("redis-cli").args(["-p", &self.port.to_string(), "ping"]).output();
        answer.is_ok_and(|output| output.stdout.starts_with(b"PONG"))
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            child.wait().expect("the shell ends");
        }
    }

    /// Stops answering without closing anything, or goes on.
    pub fn freeze(&self, frozen: bool) {
        let pid = std::fs::read_to_string(self.folder.path().join("pid")).expect("a pid");
        let signal = if frozen { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, pid.trim()]).status().expect("kill").success());
    }

    /// What redis-cli answers.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(arguments).output();
        String::from_utf8(output.expect("redis-cli").stdout).expect("text").trim().to_owned()
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Deletes everything that it holds.
    pub fn empty(&self) {
        assert_eq!(self.cli(&["flushall"]), "OK");
    }
}

/// Three servers that share the slots of a cluster.
pub struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    pub fn start() -> Self {
        let node = || {
            let bus = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
            let bus = bus.to_string();
            Redis::with(&["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "5000"])
        };
        let nodes: Vec<Redis> = (0..3).map(|_| node()).collect();
        let places: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(&places)
            .arg("--cluster-yes")
            .output()
            .expect("redis-cli");
        assert!(made.status.success(), "no cluster:\n{}", String::from_utf8_lossy(&made.stdout));
        for _ in 0..600 {
            if nodes.iter().all(|node| node.cli(&["cluster", "info"]).contains("cluster_state:ok")) {
                return Self { nodes };
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the cluster does not come up");
    }

    /// One node stands for all.
    pub fn url(&self) -> String {
        self.nodes[0].url()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
