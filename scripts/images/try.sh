# Sourced: runs each image as a careful cluster would, and asks it to do its work.

# What an image must live with. The API's memory and CPU are those of the development deployment.
hardened=(--read-only --user 65532:65532 --cap-drop ALL --security-opt no-new-privileges
  --memory 128m --cpus 0.5 --pids-limit 64)
# Compressed, as a registry would send it.
largest_api=$((40 * 1000 * 1000))
payment='{"transaction_id": 1, "customer_id": 7, "terminal_id": 42, "tx_amount": 57.16, "tx_time_seconds": 1767225600}'

passed=0
started=()
ok() { passed=$((passed + 1)); printf '  ok  %s\n' "$*"; }
fail() {
  printf '  FAILED  %s\n' "$*" >&2
  local container
  for container in "${started[@]}"; do engine logs --tail 15 "$container" >&2 || true; done
  exit 1
}
# What a line says it is checking, and the command that must succeed.
check() { local what=$1; shift; if "$@" >"$results/last.log" 2>&1; then ok "$what"; else cat "$results/last.log" >&2; fail "$what: $*"; fi; }

# Removes what was started here, by its id, and a volume of theirs.
discard() { # [volume]
  local container
  for container in "${started[@]}"; do engine rm -f "$container" >/dev/null 2>&1 || true; done
  started=()
  [ $# -eq 0 ] || engine volume rm "$1" >/dev/null
}

clean() {
  discard
  [ ! -e "$results/kafka/pid" ] || scripts/kafka.sh remove "$results/kafka"
}

# Starts a container; its id is in $container.
start() { # engine's arguments…
  # Podman without systemd says at length that nobody will run the health checks; we do.
  container="$(engine run -d "$@" 2>"$results/last.log")" || { cat "$results/last.log" >&2; fail "run $*"; }
  started+=("$container")
}

# An address answers with 200, in half a minute at most.
answers() { # url
  local try
  for try in $(seq 1 150); do
    [ "$(curl -s -o /dev/null -m 2 -w '%{http_code}' "$1")" = 200 ] && return 0
    sleep 0.2
  done
  return 1
}

# Ends in order when it is asked to.
ends() { # container
  engine kill --signal TERM "$1" >/dev/null
  local code; code="$(timeout 60 cat <(engine wait "$1"))"
  [ "$code" = 0 ] || { echo "it ended with '$code'"; return 1; }
}

# Exit code 2 says that the machine was too busy to keep the schedule, which is no fault of an image.
load() {
  local code=0
  engine run --rm "${hardened[@]}" "$@" || code=$?
  [ "$code" = 0 ] || [ "$code" = 2 ]
}

field() { engine image inspect --format "$2" "$1"; } # image, template

about() { # image
  local bytes label
  [ "$(field "$1" '{{.Config.User}}')" = 65532:65532 ] || fail "$1 does not run as 65532:65532"
  for label in title description source licenses version revision; do
    [ -n "$(field "$1" "{{index .Config.Labels \"org.opencontainers.image.$label\"}}")" ] || fail "$1 has no label $label"
  done
  label="$(field "$1" '{{index .Config.Labels "org.opencontainers.image.version"}}')"
  [ "$label" = "$version" ] || fail "$1 says that it is version $label, Cargo.toml $version"
  bytes="$(engine save "$1" 2>/dev/null | gzip -6 | wc -c)"
  ok "$1: $((bytes / 1000)) kB compressed, non-root, labelled"
  [ "$1" != fraud-api ] || [ "$bytes" -lt "$largest_api" ] || fail "$1 is larger than $((largest_api / 1000)) kB"
  python3 scripts/images/materials.py "$results/$1.cdx.json" "$1" || fail "the bill of materials of $1"
}

api() {
  local address container plain id
  # The line of the README; only the port is any that is free.
  start -p 127.0.0.1::8000 fraud-api
  plain=$container
  check "docker run -p 8000:8000 fraud-api serves" answers "http://$(engine port "$container" 8000)/health/ready"
  check "SIGTERM ends it with 0" ends "$plain"

  start "${hardened[@]}" -p 127.0.0.1::8000 fraud-api
  id=$container
  address="http://$(engine port "$container" 8000)"
  check "hardened: ready" answers "$address/health/ready"
  check "live" answers "$address/health/live"
  check "metrics" answers "$address/metrics"
  curl -sf -m 5 "$address/predict" -H 'content-type: application/json' -d "$payment" >"$results/predict.json" || fail "/predict"
  grep -q '"decision":"' "$results/predict.json" || fail "no decision in $(cat "$results/predict.json")"
  ok "/predict: $(cut -c 1-110 "$results/predict.json")…"
  check "its own health check" engine exec "$id" /usr/local/bin/fraud-api --check-health
  check "the health check that the image declares" declared "$id" fraud-api
  ! engine exec "$id" /bin/sh -c true >/dev/null 2>&1 || fail "there is a shell in the image"
  ok "no shell in it"
  # Load from the third image, beside it in its network: at 128 MB and half a core nothing may be lost.
  check "fraud-loadgen puts load on it, no error" load --network "container:$id" fraud-loadgen \
    run --target http://127.0.0.1:8000 --rate 200 --duration 10s --connections 32 --fail-if 'error_rate > 0%'
  check "still ready" answers "$address/health/ready"
  check "SIGTERM ends it with 0" ends "$id"

  # State in a volume outlives the container.
  local volume; volume="$(engine volume create)"
  start "${hardened[@]}" -p 127.0.0.1::8000 -v "$volume:/var/lib/fraud" -e FRAUD__STORE__SNAPSHOT_PATH=/var/lib/fraud/store.bin fraud-api
  answers "http://$(engine port "$container" 8000)/health/ready" || fail "with a volume: not ready"
  curl -sf -m 5 "http://$(engine port "$container" 8000)/predict" -H 'content-type: application/json' -d "$payment" >/dev/null
  ends "$container" || fail "with a volume: did not end with 0"
  start "${hardened[@]}" -p 127.0.0.1::8000 -v "$volume:/var/lib/fraud" -e FRAUD__STORE__SNAPSHOT_PATH=/var/lib/fraud/store.bin fraud-api
  answers "http://$(engine port "$container" 8000)/health/ready" || fail "with a volume: not ready again"
  curl -sf -m 5 "http://$(engine port "$container" 8000)/predict" -H 'content-type: application/json' -d "$payment" |
    grep -q '"duplicate":true' || fail "the payment of before is not known after a restart"
  ok "a volume keeps the state over a restart"
  discard "$volume"
}

# What the engine itself would run.
declared() { # container, image
  [ -n "$(field "$2" '{{if .Config.Healthcheck}}{{.Config.Healthcheck.Test}}{{end}}')" ] || { echo "no HEALTHCHECK in $2"; return 1; }
  if [ "$engine_name" = podman ]; then engine healthcheck run "$1"; return; fi
  local try
  for try in $(seq 1 60); do
    [ "$(engine inspect --format '{{.State.Health.Status}}' "$1")" = healthy ] && return 0
    sleep 1
  done
  return 1
}

# From Kafka to Kafka, on a real broker of this machine.
stream() {
  local broker container id topic read
  broker="$(scripts/kafka.sh start "$results/kafka")"
  for topic in transactions-input fraud-predictions fraud-labels transactions-dead-letter; do
    scripts/kafka.sh topic "$results/kafka" --create --topic "$topic" --partitions 2 >/dev/null 2>&1
  done
  local port; port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
  local volume; volume="$(engine volume create)"
  start "${hardened[@]}" --network host -v "$volume:/var/lib/fraud" -e FRAUD__STATE__FOLDER=/var/lib/fraud \
    -e "FRAUD__KAFKA__BROKERS=$broker" -e "FRAUD__SERVER__BIND=127.0.0.1:$port" fraud-stream
  id=$container
  check "fraud-stream, hardened, on Kafka: ready" answers "http://127.0.0.1:$port/health/ready"
  check "its own health check" engine exec "$id" /usr/local/bin/fraud-stream run --check-health
  check "the health check that the image declares" declared "$id" fraud-stream
  check "fraud-loadgen sends it 2,000 payments" load --network host fraud-loadgen \
    run --target "kafka://$broker" --rate 1000 --duration 10s --count 2000
  read=0
  for _ in $(seq 1 100); do
    read="$(curl -s -m 2 "http://127.0.0.1:$port/metrics" | awk '/^kafka_messages_produced_total.*fraud-predictions/ {print int($NF)}')"
    [ "${read:-0}" -ge 2000 ] && break
    sleep 0.2
  done
  [ "${read:-0}" -ge 2000 ] || fail "predictions of 2,000 payments: ${read:-0}"
  ok "$read predictions in Kafka"
  check "SIGTERM ends it with 0" ends "$id"
  discard "$volume"
  scripts/kafka.sh remove "$results/kafka"
}

try() {
  mkdir -p "$results"
  trap clean EXIT
  local image
  for image in "${images[@]}"; do about "$image"; done
  api
  stream
  clean
  trap - EXIT
}
