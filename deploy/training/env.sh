#!/bin/sh
# Creates the training environment where it is lacking and prints the path of its Python.
# The environment is keyed by the lock: another lock is another environment, an equal one is reused.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
lock="$here/requirements.txt"

if command -v sha256sum >/dev/null 2>&1; then
    key=$(sha256sum "$lock" | cut -c1-12)
else
    key=$(shasum -a 256 "$lock" | cut -c1-12)
fi
venv="$root/.cache/venv-training/$key"

if [ ! -e "$venv/.complete" ]; then
    python=${PYTHON:-python3.11}
    if ! command -v "$python" >/dev/null 2>&1; then
        echo "training needs Python 3.11 (looked for $python; set PYTHON to name another)" >&2
        exit 69
    fi
    echo "installing the training environment (about 700 MB, once) ..." >&2
    # Built beside its place and stamped last: an interrupted installation is never mistaken for a whole one.
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        --requirement "$lock" >&2
    touch "$venv/.complete"
fi

echo "$venv/bin/python"
