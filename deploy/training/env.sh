#!/bin/sh
# Creates a Python environment where it is lacking and prints the path of its Python.
#   deploy/training/env.sh                  training
#   deploy/training/env.sh NAME             airflow, mlflow, monitoring: that of deploy/NAME
# It is keyed by the folder's lock: another lock is another environment, an equal one is reused.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
name=${1:-training}
lock="$root/deploy/$name/requirements.txt"
if [ ! -f "$lock" ]; then
    echo "env.sh: no environment '$name' (no deploy/$name/requirements.txt); training, airflow, mlflow or monitoring" >&2
    exit 64
fi

if command -v sha256sum >/dev/null 2>&1; then
    key=$(sha256sum "$lock" | cut -c1-12)
else
    key=$(shasum -a 256 "$lock" | cut -c1-12)
fi
venv="$root/.cache/venv-$name/$key"

if [ ! -e "$venv/.complete" ]; then
    python=${PYTHON:-python3.11}
    if ! command -v "$python" >/dev/null 2>&1; then
        echo "the $name environment needs Python 3.11 (looked for $python; set PYTHON to name another)" >&2
        exit 69
    fi
    echo "installing the $name environment (some hundred MB, once) ..." >&2
    # Built beside its place and stamped last: an interrupted installation is never mistaken for a whole one.
    rm -rf "$venv"
    "$python" -m venv "$venv"
    # The lock is complete: nothing is left to resolve.
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
        --requirement "$lock" >&2
    "$venv/bin/python" -m pip check --disable-pip-version-check >&2
    touch "$venv/.complete"
fi

echo "$venv/bin/python"
