#!/bin/sh
# Makes the shipped model from nothing but a seed: simulate, replay for the features, train, test, export.
# The same seed gives the same bytes of fraud-core/models/default.onnx.
#   deploy/training/model.sh [FOLDER]     FOLDER: where the intermediate files go (out/model)
set -eu
. "$(dirname "$0")/common.sh"

# Not the demo's seed: the demo shows the model payments that it was not trained on.
seed=42
days=120
out=${1:-out/model}
mkdir -p "$out"
programs

echo "1/3  simulating $days days of payments (seed $seed) ..."
"$bin/fraud-loadgen" simulate --seed "$seed" --days "$days" --output "$out/transactions.parquet" >"$out/simulate.log"
echo "2/3  replaying them for their features ..."
replay_features "$here/default.toml" "$out/transactions.parquet" "$out"
echo "3/3  training ..."
"$python" -m fraud_training train --recipe "$here/default.toml" \
    --transactions "$out/transactions.parquet" --features "$out/features.parquet" \
    --model fraud-core/models/default.onnx --card fraud-core/models/README.md --pictures fraud-core/models/pictures \
    --made-by "make model"
