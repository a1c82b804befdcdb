#!/bin/sh
# The handbook's transactions to a chosen model, its figures and its scores.
#   deploy/training/handbook.sh TRANSACTIONS FOLDER
# writes FOLDER/model.onnx, README.md (the card), pictures/, scores.parquet (every row from day 115 on).
set -eu
if [ $# -ne 2 ]; then
    echo "usage: $0 TRANSACTIONS.parquet FOLDER" >&2
    exit 64
fi
# Absolute before the folder is changed.
case $1 in /*) input=$1 ;; *) input=$PWD/$1 ;; esac
case $2 in /*) out=$2 ;; *) out=$PWD/$2 ;; esac
if [ ! -f "$input" ]; then
    echo "$input: no such file" >&2
    exit 66
fi
. "$(dirname "$0")/common.sh"
mkdir -p "$out"
programs

echo "1/2  replaying $(basename "$input") for its features ..."
replay_features "$here/handbook.toml" "$input" "$out"
echo "2/2  choosing, training, testing ..."
"$python" -m fraud_training train --recipe "$here/handbook.toml" \
    --transactions "$input" --features "$out/features.parquet" \
    --model "$out/model.onnx" --card "$out/README.md" --pictures "$out/pictures" \
    --scores "$out/scores.parquet" --scores-from-day 115 \
    --made-by "make handbook"
