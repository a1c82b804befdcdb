#!/usr/bin/env bash
# fraud-stream against a bare consume-and-produce loop and against a Python loop, in one run on a real broker.
#   benches/peers/stream.sh [COUNT] [ROUNDS] [MODEL.onnx]
# COUNT transactions (default 300000) over 6 partitions; each contender scores all of them, in turn, ROUNDS times
# (default 3). Without a model file the built-in one, whose file the Python loop reads too. Then 1,500 a second for
# 20 s through bare loop and stream, in turn: latencies from the record's time.
set -euo pipefail
cd "$(dirname "$0")/../.."
count="${1:-300000}" rounds="${2:-3}" model="${3:-fraud-core/models/default.onnx}"
out="$PWD/out/stream-bench"
rm -rf "$out"; mkdir -p "$out"
cargo build --release --locked --quiet -p fraud-stream -p fraud-loadgen --bins --example bare_loop
stream=target/release/fraud-stream bare=target/release/examples/bare_loop
python=".venv/stream-peer/bin/python"
if [ ! -x "$python" ]; then
  scripts/setup.sh python
  python3 -m venv .venv/stream-peer
  .venv/stream-peer/bin/pip install --quiet -r benches/peers/requirements-stream.txt
fi
export KAFKA_HEAP=1g
trap 'scripts/kafka.sh remove "$out/kafka"' EXIT
address="$(scripts/kafka.sh start "$out/kafka")"
topic() { scripts/kafka.sh topic "$out/kafka" --create --if-not-exists --topic "$1" --partitions "$2" >/dev/null; }
size=$((count / 115 + 1))
target/release/fraud-loadgen simulate --customers "$size" --terminals $((size * 2)) --days 61 --output "$out/all.jsonl" >/dev/null
head -n "$count" "$out/all.jsonl" >"$out/input.jsonl"
count="$(wc -l <"$out/input.jsonl")"
topic input 6; topic labels 1
"$bare" load "$address" input "$out/input.jsonl"
settings() { # name
  echo --set kafka.brokers="$address" --set kafka.group="$1" --set kafka.transactional_id="$1" --set kafka.predictions_topic="p-$1" \
    --set kafka.dead_letter_topic="d-$1" --set kafka.journal_topic="j-$1" --set labels.topic=labels --set server.bind= --set state.folder="$out/state-$1" \
    --set model.path="$model" --set test.stop_at_end=true --set telemetry.log_format=text
}
# Runs a command; its processor time goes to a file.
TIMEFORMAT='%U %S'
timed() { { time "$@" 2>&3; } 3>&2 2>"$out/cpu"; }
cpu() { awk '{printf "%.2f CPU-s", $1 + $2}' "$out/cpu"; }
for round in $(seq 1 "$rounds"); do
  topic "bare-$round" 6; topic "p-s$round" 6; topic "d-s$round" 1; topic "peer-$round" 6
  timed "$bare" copy "$address" input "bare-$round" "$count" >"$out/bare-$round.log"
  echo "bare:   $(cat "$out/bare-$round.log"), $(cpu)"
  # shellcheck disable=SC2046
  timed "$stream" run --set kafka.input_topic=input $(settings "s$round") 2>"$out/stream-$round.log"
  # Between the first line that says "scoring" and the last: start and snapshot at the end stand outside.
  "$python" - "$out/stream-$round.log" "$count" "$(cpu)" <<'P'
import sys
from datetime import datetime
lines = open(sys.argv[1]).read().splitlines()
at = lambda word: next(datetime.fromisoformat(line.split("Z")[0].split()[-1]) for line in lines if word in line)
seconds = (at("all answered") - at(" scoring")).total_seconds()
print(f"stream: scored {sys.argv[2]} in {seconds:.3f} s: {int(sys.argv[2]) / seconds:.0f}/s, {sys.argv[3]} with start and snapshot")
P
  echo "python: $("$python" benches/peers/stream_peer.py "$address" input labels "peer-$round" "$count" "$model")"
done
head -n 30000 "$out/input.jsonl" >"$out/paced.jsonl"
for round in $(seq 1 "$rounds"); do
  for who in bare stream; do
    name="paced-$who-$round"
    topic "in-$name" 6; topic "p-$name" 6; topic "d-$name" 1
    if [ "$who" = bare ]; then
      "$bare" copy "$address" "in-$name" "p-$name" 30000 >/dev/null & worker=$!
    else
      # shellcheck disable=SC2046
      "$stream" run --set kafka.input_topic="in-$name" $(settings "$name") --set test.stop_at_end=false 2>"$out/$name.log" & worker=$!
    fi
    sleep 2
    "$bare" watch "$address" "p-$name" 30000 >"$out/$name.latency" & watcher=$!
    "$bare" load "$address" "in-$name" "$out/paced.jsonl" 1500 | sed "s/^/  load: /"
    wait "$watcher"
    kill "$worker" 2>/dev/null || true; wait "$worker" 2>/dev/null || true
    echo "$who paced 1,500/s: $(cat "$out/$name.latency")"
  done
done
