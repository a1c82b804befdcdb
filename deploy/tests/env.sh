#!/bin/sh
# Makes the environment of the manifests' checks where it is lacking and prints the path of its Python.
# The environment is keyed by the lock: another lock is another environment, an equal one is reused.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
lock="$here/requirements.txt"
venv="$root/.cache/venv-deploy/$(sha256sum "$lock" | cut -c1-12)"
if [ ! -e "$venv/.complete" ]; then
  python=${PYTHON:-python3}
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
    || { echo "the manifests' checks need Python 3.11 or later (looked for $python; set PYTHON to name another)" >&2; exit 69; }
  echo "installing the manifests' checks (about 300 MB, once) ..." >&2
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$lock" >&2
  touch "$venv/.complete"
fi
echo "$venv/bin/python"
