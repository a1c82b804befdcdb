#!/usr/bin/env bash
# The drill end to end on this machine: real Kafka, fraud-stream, fraud-api replicas in CPU cgroups,
# Prometheus and Alertmanager.
# Needs root (cgroups). Reports are in out/drill/*/report.html.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/monitoring.sh need
scripts/programs.sh
exec cargo test --locked --workspace --features fraud-loadgen/kafka --test drill -- --ignored --test-threads 1 --nocapture "$@"
