#!/usr/bin/env bash
# Runs the checks in order, each with its time, and stops at the first that fails.
#   scripts/test.sh                 every behaviour once
#   scripts/test.sh --all           the long runs as well
#   scripts/test.sh --only a,b      some of them, by name
#   scripts/test.sh --all --from a  all from this one on, after what failed is mended
set -euo pipefail
cd "$(dirname "$0")/.."

all=false
only=""
from=""
while [ $# -gt 0 ]; do
  case "$1" in
    --all) all=true ;;
    --only) shift; only=",$1," ;;
    --from) shift; from=$1 ;;
    *) echo "test: unknown option '$1'; --all, --only name,name or --from name" >&2; exit 64 ;;
  esac
  shift
done

passed=0
begin=$SECONDS
step() { # name, command…
  local name=$1; shift
  if [ -n "$only" ] && [[ "$only" != *",$name,"* ]]; then return 0; fi
  if [ "$name" = "$from" ]; then from=""; fi
  if [ -n "$from" ]; then return 0; fi
  local start=$SECONDS
  printf '\n── %s ── %s\n' "$name" "$*"
  if ! "$@"; then
    printf '\n%s failed after %d s. Run it alone: scripts/test.sh --only %s\n' "$name" $((SECONDS - start)) "$name" >&2
    printf '%d passed, 1 failed\n' "$passed"
    exit 1
  fi
  passed=$((passed + 1))
  printf '── %s: %d s\n' "$name" $((SECONDS - start))
}
long() { if $all || [ -n "$only" ]; then step "$@"; fi; }

scripts/setup.sh build python
export RUST_BACKTRACE=1
# A fresh machine has nothing to go on from: files for incremental builds would only fill its disk.
[ -n "$(ls -A target/debug/incremental 2>/dev/null)" ] || export CARGO_INCREMENTAL="${CARGO_INCREMENTAL:-0}"
# One set of packages and features for every build without optimisation (scripts/programs.sh has it too): another set would compile
# most of it a second time.
all_of_it=(--workspace --features fraud-loadgen/kafka --locked)
in_tests=(-A clippy::field_reassign_with_default -A clippy::unwrap_used -A clippy::expect_used -A clippy::panic -A clippy::disallowed_methods)

step format  cargo fmt --all --check
step clippy  cargo clippy "${all_of_it[@]}" --lib --bins --quiet -- -D warnings
# Tests may unwrap, read the environment and panic.
step clippy-tests cargo clippy "${all_of_it[@]}" --tests --benches --examples --quiet -- -D warnings "${in_tests[@]}"
step test    cargo test "${all_of_it[@]}" --quiet
step clients fraud-api/tests/clients/run.sh
long kafka-long env FRAUD_TEST_ALL=1 cargo test "${all_of_it[@]}" --test 'kafka_*' -- --nocapture
long kafka-memory cargo test --release -p fraud-stream --test kafka_memory --locked -- --ignored --nocapture
long kafka-tls scripts/kafka_tls.sh
long drill   scripts/drill.sh
long handbook cargo test "${all_of_it[@]}" --test handbook -- --ignored
step docs    env RUSTDOCFLAGS="-D warnings" cargo doc "${all_of_it[@]}" --no-deps --quiet
step package scripts/package.sh
step training deploy/training/test.sh
# 1.5 GB of Airflow and MLflow and about ten minutes: too much for every run.
long mlops   scripts/mlops.sh
step demo    scripts/demo.sh
step packaging scripts/packaging.sh check
long packaging-seeded scripts/packaging.sh seeded
long images  scripts/images.sh
long soak    cargo test --release --locked -p fraud-api --test soak -- --ignored --nocapture --test-threads 1
step monitoring scripts/monitoring.sh test
step monitoring-live scripts/monitoring.sh live
long monitoring-alerts scripts/monitoring.sh alerts
long monitoring-mutants scripts/monitoring.sh mutants
long fuzz    scripts/fuzz.sh 60
step deploy  scripts/deploy_test.sh
long deploy-parts scripts/deploy_test.sh parts
step deny    scripts/deny.sh

if [ "$passed" -eq 0 ]; then echo "test: no check has this name; they stand at the end of scripts/test.sh" >&2; exit 64; fi
printf '\nAll checks passed in %d s.\n%d passed, 0 failed\n' $((SECONDS - begin)) "$passed"
