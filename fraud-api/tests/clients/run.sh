#!/usr/bin/env bash
# Existing clients and schemathesis against a fraud-api of its own on a free port.
#   fraud-api/tests/clients/run.sh [BINARY]      EXAMPLES=30 is how many requests schemathesis tries of each operation
# Without a binary it builds the one of the tests. Screenshots of the console go to out/console.
set -euo pipefail
cd "$(dirname "$0")/../../.."

scripts/setup.sh build python chromium
binary=${1:-target/debug/fraud-api}
[ $# -gt 0 ] || scripts/programs.sh
here=fraud-api/tests/clients
# The environment is keyed by the lock: another lock is another environment, an equal one is reused.
venv=.cache/venv-clients/$(sha256sum "$here/requirements.txt" | cut -c1-12)
if [ ! -e "$venv/.complete" ]; then
  echo "clients: installing the Python environment (once)"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "$here/requirements.txt"
  touch "$venv/.complete"
fi

log=$(mktemp)
FRAUD__SERVER__BIND=127.0.0.1:0 FRAUD__SERVER__MANAGEMENT=none FRAUD__ADMISSION__DEADLINE=10s "$binary" 2>"$log" &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -f "$log"' EXIT
for _ in $(seq 100); do
  address=$(sed -n 's/.*"address":"\([^"]*\)".*/\1/p' "$log")
  [ -n "$address" ] && break
  sleep 0.1
done
[ -n "$address" ] || { echo "fraud-api did not start:" >&2; cat "$log" >&2; exit 1; }
model=$("$venv/bin/python" - "$address" <<'PY'
import json, sys, urllib.request
text = urllib.request.urlopen(f"http://{sys.argv[1]}/metrics").read().decode()
print(next(line for line in text.splitlines() if line.startswith("fraud_model_info{")).split('name="')[1].split('"')[0])
PY
)

export FRAUD_API=$address FRAUD_MODEL=$model
"$venv/bin/python" "$here/test_clients.py"
"$venv/bin/python" "$here/test_console.py"
# Bytes of 128 signs may be more than 128, so what the schema allows is not always taken: 422 then.
mkdir -p out/schemathesis
schemathesis=$PWD/$venv/bin/schemathesis
(cd out/schemathesis && "$schemathesis" run "http://$address/openapi.json" --max-examples "${EXAMPLES:-30}" --request-timeout 20 \
  --exclude-checks positive_data_acceptance,negative_data_rejection,unsupported_method)
kill -0 "$pid" || { echo "fraud-api did not survive" >&2; exit 1; }
