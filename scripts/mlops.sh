#!/usr/bin/env bash
# The retraining loop on real servers of this machine: Airflow, MLflow, Alertmanager, fraud-api under load.
#   scripts/mlops.sh [--keep FOLDER]          FOLDER: data and logs stay there
#   scripts/mlops.sh --handbook FILE [--keep FOLDER]
#                                             the handbook's transactions through the same DAG instead
# The first time installs Airflow and MLflow into .cache (about 1.5 GB). FRAUD_BIN=folder uses programs that are built.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh build python git
scripts/monitoring.sh need
airflow=$(deploy/training/env.sh airflow)
mlflow=$(deploy/training/env.sh mlflow)
bin=${FRAUD_BIN:-}
if [ -z "$bin" ]; then
  if [[ " $* " == *" --handbook "* ]]; then
    # The gate asks how fast the model is, and a large one is not in programs without optimisation.
    cargo build --release --locked --quiet -p fraud-api -p fraud-stream -p fraud-loadgen --bins
    bin=target/release
  else
    scripts/programs.sh
    bin=target/debug
  fi
fi
export OMP_WAIT_POLICY=passive

echo "1/2  The registry's and the steps' tests, with a real MLflow …"
FRAUD_BIN=$bin PYTHONPATH=deploy/training "$mlflow" -m pytest -q -p no:cacheprovider deploy/airflow/tests deploy/training/tests/test_steps.py
echo "2/2  The loop …"
exec "$mlflow" deploy/airflow/tests/loop.py --bin "$bin" --mlflow-python "$mlflow" --airflow-python "$airflow" "$@"
