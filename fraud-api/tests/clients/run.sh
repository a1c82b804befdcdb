#!/usr/bin/env bash
# Existing clients and schemathesis against a fraud-api of its own on a free port.
#   fraud-api/tests/clients/run.sh [BINARY]
set -euo pipefail
cd "$(dirname "$0")/../../.."

binary=${1:-target/debug/fraud-api}
[ -x "$binary" ] || cargo build --locked --quiet -p fraud-api
here=fraud-api/tests/clients
venv=.cache/clients
if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
  cp "$here/requirements.txt" "$venv/installed.txt"
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
if [ -x /usr/bin/chromium ]; then
  "$venv/bin/python" "$here/test_console.py"
else
  echo "skipped: the console's test needs Debian's chromium"
fi
# Bytes of 128 signs may be more than 128, so what the schema allows is not always taken: 422 then.
"$venv/bin/schemathesis" run "http://$address/openapi.json" --max-examples "${EXAMPLES:-30}" --request-timeout 20 \
  --exclude-checks positive_data_acceptance,negative_data_rejection,unsupported_method
kill -0 "$pid" || { echo "fraud-api did not survive" >&2; exit 1; }
