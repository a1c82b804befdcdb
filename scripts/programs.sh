#!/usr/bin/env bash
# Builds the programs and examples for tests into target/debug: of the whole workspace and with one set of features, the one that
# scripts/test.sh tests with, so that nothing is compiled a second time.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh build
exec cargo build --quiet --locked --workspace --features fraud-loadgen/kafka --bins --examples
