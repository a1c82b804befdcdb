#!/bin/sh
# Compares the tree evaluator with ONNX Runtime, LightGBM, lleaves and tract in one run and prints a table.
# Everything it makes stays in .cache/ and target/.
set -eu
cd "$(dirname "$0")/../.."
venv=.cache/venv-bench
scripts/setup.sh build python
if ! $venv/bin/python -m pip --version >/dev/null 2>&1; then
    rm -rf $venv
    python3 -m venv $venv
fi
$venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement benches/peers/requirements.txt
if [ ! -f target/peers/rf100.onnx ] || [ benches/peers/models.py -nt target/peers/rf100.onnx ]; then
    $venv/bin/python benches/peers/models.py target/peers
fi
onnxruntime=$(find $venv -name 'libonnxruntime.so.*' | head -n 1)
lightgbm=$(find $venv -name 'lib_lightgbm.so' | head -n 1)
cargo run --release --quiet --package fraud-benches --features versus --bin versus -- \
    --models target/peers --onnxruntime "$onnxruntime" --lightgbm "$lightgbm" "$@"
