//! The drill's stand-in for a cluster, by itself: fraud-api replicas, an autoscaler, a balancer, and the series of
//! kube-state-metrics and cAdvisor. Prints one line of JSON with its addresses, and lasts until its standard input ends.
//!
//! `cargo run -p fraud-loadgen --example stand_in_cluster -- --program target/debug/fraud-api --folder out/cluster`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // It serves tests, and ends when it cannot go on.

use std::io::{Read, Write};
use std::path::PathBuf;

use clap::Parser;

#[path = "../tests/common/cluster.rs"]
#[allow(dead_code)] // The drill asks it more.
mod cluster;

/// A stand-in for a cluster, for tests of the monitoring.
#[derive(Parser)]
struct Arguments {
    /// The fraud-api program.
    #[arg(long)]
    program: PathBuf,
    /// Where the replicas' output goes.
    #[arg(long)]
    folder: PathBuf,
    /// Replicas at least.
    #[arg(long, default_value_t = 2)]
    min: usize,
    /// Replicas at most.
    #[arg(long, default_value_t = 2)]
    max: usize,
    /// CPU limit of a replica, enforced by a cgroup (root); without it nothing is limited.
    #[arg(long)]
    millicores: Option<u64>,
    /// Memory limit that the series tell of, in bytes.
    #[arg(long, default_value_t = 1 << 30)]
    memory: u64,
    /// Namespace in the series.
    #[arg(long, default_value = "fraud")]
    namespace: String,
    /// A setting of the replicas, NAME=VALUE.
    #[arg(long)]
    env: Vec<String>,
}

fn main() {
    let Arguments { program, folder, min, max, millicores, memory, namespace, env } = Arguments::parse();
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let environment = env.iter().map(|setting| setting.split_once('=').expect("--env NAME=VALUE"));
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let size = cluster::Size { min, max, millicores, memory, namespace, program, environment, folder };
    let cluster = cluster::Cluster::start(size).expect("CPU can be limited: run as root, or without --millicores");
    println!("{}", serde_json::json!({ "service": cluster.service, "metrics": cluster.metrics }));
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    drop(cluster);
}
