#!/usr/bin/env bash
# fraud-core can be published as it stands, and brings no server, broker or build tool with it.
set -euo pipefail
cd "$(dirname "$0")/.."
dirty=()
[ -z "$(git status --porcelain 2>/dev/null)" ] || dirty=(--allow-dirty)
cargo package -p fraud-core --locked --quiet "${dirty[@]}"
heavy=$(cargo tree -p fraud-core --edges normal,build --prefix none --locked |
  grep -E '^(cmake|rdkafka|actix|tokio|hyper|reqwest|opentelemetry|redis|parquet)[a-z-]* ' || true)
if [ -n "$heavy" ]; then
  printf 'fraud-core alone must build without these:\n%s\n' "$heavy" >&2
  exit 1
fi
