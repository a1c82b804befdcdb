#!/usr/bin/env bash
# The main job, from nothing: simulate half a year of card payments, score every one of them as if it
# arrived now, and say what came of it. Needs no network once built, no broker, no file.
set -euo pipefail
cd "$(dirname "$0")/.."
out=out/demo
mkdir -p "$out"
bin=target/release

scripts/setup.sh build
if [ ! -x "$bin/fraud-stream" ]; then
  echo "Building (five to eleven minutes on two cores the first time, most of it the ONNX engine) …"
fi
cargo build --release --locked -p fraud-loadgen -p fraud-stream --no-default-features

echo
echo "1/2  Simulating payments (the generator of the fraud-detection handbook, seed 0) …"
"$bin/fraud-loadgen" simulate --seed 0 --output "$out/transactions.parquet"

echo
echo "2/2  Scoring them in order of time, labels known a week later …"
"$bin/fraud-stream" replay --input "$out/transactions.parquet" --output "$out/assessments.jsonl" \
  --labels tx_fraud --save-state "$out/state.snapshot" --summary "$out/summary.json"

cat <<END

Written:  $out/assessments.jsonl    one assessment a line
          $out/summary.json         the summary above
          $out/state.snapshot       what a new deployment starts from

What to try next:
  grep -m1 '"decline"' $out/assessments.jsonl                 a declined payment, with its reasons
  $bin/fraud-stream replay --help                       your own Parquet, CSV or JSON lines
  $bin/fraud-stream replay --input $out/transactions.parquet --output $out/a.jsonl --features $out/features.parquet
                                                                the feature matrix, to train a model on
  cargo run --release -p fraud-core --example quickstart        the library: JSON in, decision out (compiles once more)
END
