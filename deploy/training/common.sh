# Sourced by model.sh and handbook.sh: paths, the environment, the programs, one function.

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"

python=$("$here/env.sh")
# Waiting threads that spin would take the processor from the one that works.
export OMP_WAIT_POLICY=passive PYTHONPATH="$here"

# FRAUD_BIN names a folder with built programs; without it they are built here.
programs() {
    bin=${FRAUD_BIN:-}
    if [ -z "$bin" ]; then
        cargo build --quiet --release --locked -p fraud-loadgen -p fraud-stream --no-default-features >&2
        bin=$root/target/release
    fi
}

# replay_features RECIPE TRANSACTIONS FOLDER: the recipe's features of all rows, into FOLDER/features.parquet.
# The labels come back a week after the payment, as they would in service.
replay_features() {
    "$python" -m fraud_training features --recipe "$1" --output "$3/features-only.onnx"
    "$bin/fraud-stream" replay --input "$2" --model "$3/features-only.onnx" --labels tx_fraud --label-delay 7d \
        --features "$3/features.parquet" --output "$3/replayed.parquet" >"$3/replay.log"
    rm -f "$3/replayed.parquet"
}
