#!/usr/bin/env bash
# TLS, passwords and refused rights on a real broker: needs a build of its own, with OpenSSL.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh build tls
cargo test -p fraud-stream --features kafka-tls --test kafka_security --locked
