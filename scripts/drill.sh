#!/usr/bin/env bash
# The drill end to end on this machine: real Kafka, fraud-stream, fraud-api replicas in CPU cgroups,
# Prometheus and Alertmanager.
# Needs root (cgroups). Reports are in out/drill/*/report.html.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh build
scripts/monitoring.sh need
cargo build --quiet --locked -p fraud-api -p fraud-stream
exec cargo test --locked -p fraud-loadgen --features kafka --test drill -- --ignored --test-threads 1 --nocapture "$@"
