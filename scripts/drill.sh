#!/usr/bin/env bash
# The drill end to end on this machine: real fraud-api replicas in CPU cgroups, real Prometheus and Alertmanager.
# Needs root (cgroups). Reports are in out/drill/*/report.html.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh build
scripts/monitoring.sh need
cargo build --quiet --locked -p fraud-api
exec cargo test --locked -p fraud-loadgen --test drill -- --ignored --test-threads 1 --nocapture "$@"
