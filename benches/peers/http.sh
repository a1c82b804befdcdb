#!/usr/bin/env bash
# Whole services on one core each, the load from another: fraud-api against a bare actix service and FastAPI.
#   benches/peers/http.sh [saturation|paced|overload|start|memory|all]
# MODEL=FILE.onnx serves that model everywhere (default: the embedded one for fraud-api, which FastAPI reads too).
# SECONDS_EACH=10 and ROUNDS=5 are the length of a run and how often runs are repeated, interleaved.
set -euo pipefail
cd "$(dirname "$0")/../.."

what=${1:-all}
each=${SECONDS_EACH:-10}
rounds=${ROUNDS:-5}
model=${MODEL:-fraud-core/models/default.onnx}
serve_core=${SERVE_CORE:-1}
load_core=${LOAD_CORE:-0}
out=out/http
mkdir -p "$out"

cargo build --release --locked --quiet -p fraud-api -p fraud-benches --features fraud-benches/http
load() { taskset -c "$load_core" target/release/http_load "$@"; }
pids=()
trap 'for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done' EXIT

wait_for() { # port
  for _ in $(seq 200); do (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0; sleep 0.05; done
  echo "nothing listens on $1" >&2; return 1
}
start_bare() {
  taskset -c "$serve_core" target/release/bare_actix 8100 1 & bare=$!; pids+=("$bare"); wait_for 8100
}
start_api() { # further settings as NAME=VALUE
  env FRAUD__SERVER__BIND=127.0.0.1:8101 FRAUD__SERVER__MANAGEMENT=none FRAUD__SERVER__WORKERS=1 \
    FRAUD__MODEL__PATH="$model" FRAUD__TELEMETRY__LOG_LEVEL=warn "$@" \
    taskset -c "$serve_core" target/release/fraud-api & api=$!; pids+=("$api"); wait_for 8101
}
start_fastapi() {
  venv=.cache/peers-http
  if ! cmp -s benches/peers/requirements-http.txt "$venv/installed.txt"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r benches/peers/requirements-http.txt
    cp benches/peers/requirements-http.txt "$venv/installed.txt"
  fi
  (cd benches/peers && MODEL="$(realpath "../../$model")" exec taskset -c "$serve_core" ../../$venv/bin/python -m uvicorn fastapi_app:app \
    --port 8102 --workers 1 --loop uvloop --http httptools --no-access-log --log-level warning) & fastapi=$!
  pids+=("$fastapi"); wait_for 8102
}
stop() { kill "$1" 2>/dev/null || true; wait "$1" 2>/dev/null || true; }

saturation() {
  echo "── saturation: 32 connections, closed loop, $each s, $rounds interleaved rounds ──"
  rm -f "$out"/sat-*.json
  for round in $(seq "$rounds"); do
    start_bare;    load 127.0.0.1:8100 --seconds "$each" --pid "$bare" > "$out/sat-bare-$round.json"; stop "$bare"
    start_api;     load 127.0.0.1:8101 --seconds "$each" --pid "$api" > "$out/sat-api-$round.json"; stop "$api"
    if [ "${FASTAPI:-1}" = 1 ]; then
      start_fastapi
      load 127.0.0.1:8102 --seconds "$each" --pid "$fastapi" --path /invocations --body tensor > "$out/sat-fastapi-$round.json"
      stop "$fastapi"
    fi
  done
  python3 benches/peers/summarise.py saturation "$out"/sat-*.json
}
paced() {
  rate=${RATE:-1500}
  echo "── paced: $rate/s open loop, ${PACED_SECONDS:-60} s, $rounds interleaved rounds ──"
  rm -f "$out"/paced-*.json
  for round in $(seq "$rounds"); do
    start_bare; load 127.0.0.1:8100 --rate "$rate" --seconds "${PACED_SECONDS:-60}" --pid "$bare" > "$out/paced-bare-$round.json"; stop "$bare"
    start_api;  load 127.0.0.1:8101 --rate "$rate" --seconds "${PACED_SECONDS:-60}" --pid "$api" > "$out/paced-api-$round.json"; stop "$api"
  done
  python3 benches/peers/summarise.py paced "$out"/paced-*.json
}
overload() {
  # Every assessment takes 1 ms longer, so that five times the capacity is a rate that the client can keep.
  echo "── overload: assessments slowed to 1 ms, clients give up after 1 s, $each s, $rounds rounds ──"
  rm -f "$out"/over-*.json
  for round in $(seq "$rounds"); do
    start_api FRAUD__CHAOS__ENABLED=true FRAUD__CHAOS__SLOW_ASSESSMENT=1ms
    load 127.0.0.1:8101 --seconds "$each" --connections 8 --pid "$api" > "$out/over-peak-$round.json"
    peak=$(python3 -c "import json; print(json.load(open('$out/over-peak-$round.json'))['ok_per_second'])")
    for times in 1.5 5; do
      python3 benches/peers/after_load.py 127.0.0.1:8101 "$out/over-$times-$round.json" -- \
        taskset -c "$load_core" target/release/http_load 127.0.0.1:8101 \
        --rate "$(python3 -c "print($peak * $times)")" --seconds "$each" --warm-up 0 --timeout-ms 1000 --pid "$api"
    done
    stop "$api"
  done
  python3 benches/peers/summarise.py overload "$out"/over-*.json
}
start() {
  echo "── start to the first 200, and memory then, $rounds rounds each ──"
  python3 benches/peers/first_answer.py "$rounds"
  python3 benches/peers/first_answer.py "$rounds" "$model"
}
memory() {
  # 37 days of two payments a day of each customer, and what the store itself counts.
  echo "── memory by active customer ──"
  cargo test --release --locked --quiet -p fraud-core --test store_limits -- --nocapture a_customer_takes
}
case "$what" in
  all) saturation; paced; overload; start; memory ;;
  saturation|paced|overload|start|memory) "$what" ;;
  *) echo "http.sh: saturation, paced, overload, start, memory or all" >&2; exit 64 ;;
esac
