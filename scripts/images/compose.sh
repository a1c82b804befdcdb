# Sourced: the compose file, for real. `docker compose` where there is Docker, else podman-compose; where no registry answers,
# stand-ins for the other images out of Debian's packages (there is none for Grafana, which is left out then).

compose_file=deploy/docker/compose.yaml
compose_version=1.5.0
# A name of its own, so that what somebody has up by that file is left alone.
compose_project=fraud-trial

# One image that stands for all of them, made anew when what it is made by changed.
others() {
  has_image "$others" && return 0
  debian
  if ! has_image "localhost/$stand_in_label-debian"; then
    tar -C "$store/debian" --exclude=./complete -c . | engine import -q - "localhost/$stand_in_label-debian" >/dev/null
  fi
  scripts/kafka.sh fetch
  engine build -q --format docker --network host -t "$others" \
    -f scripts/images/others.Dockerfile "$root/.cache/kafka" >/dev/null
}

# Tags the stand-in with each name of the compose file that cannot be pulled, with the entry point and the volumes that it has
# upstream.
other_images() {
  local image entry volumes made_by
  made_by="$(cat scripts/images/others.Dockerfile scripts/images/compose.sh | sha256sum | cut -c1-12)"
  others="localhost/$stand_in_label-others:$made_by"
  for image in $(sed -n 's/^    image: \(docker\.io[^ ]*\)$/\1/p' "$compose_file" | sort -u); do
    if has_image "$image"; then
      # Not one of ours, or one of these.
      case "$(engine image inspect --format "{{index .Config.Labels \"$stand_in_label\"}}" "$image" 2>/dev/null)" in
        '' | '<no value>' | "$made_by") continue ;;
      esac
    fi
    engine pull -q "$image" >/dev/null 2>&1 && continue
    entry='[]' volumes=''
    case "$image" in
      */grafana:*) continue ;;
      */prometheus:*) entry='["/usr/bin/prometheus"]' volumes='VOLUME ["/prometheus"]' ;;
      */alertmanager:*) entry='["/usr/bin/prometheus-alertmanager"]' volumes='VOLUME ["/alertmanager"]' ;;
      */kafka:*) volumes='VOLUME ["/etc/kafka/secrets", "/var/lib/kafka/data", "/mnt/shared/config"]' ;;
      */redis:*) volumes='VOLUME ["/data"]' ;;
    esac
    others
    printf 'FROM %s\nLABEL %s=%s\nENTRYPOINT %s\n%s\n' "$others" "$stand_in_label" "$made_by" "$entry" "$volumes" >"$store/Dockerfile.other"
    engine build -q --format docker -t "$image" -f "$store/Dockerfile.other" "$root/scripts/images" >/dev/null
  done
}

find_compose() {
  if [ "$engine_name" = docker ]; then
    compose() { docker compose -p "$compose_project" -f "$compose_file" "$@"; }
    return
  fi
  compose_venv="$root/.cache/venv-compose"
  if [ "$(cat "$compose_venv/complete" 2>/dev/null)" != "$compose_version" ]; then
    scripts/setup.sh python
    python3 -m venv --clear "$compose_venv"
    "$compose_venv/bin/pip" install --quiet --disable-pip-version-check "podman-compose==$compose_version"
    echo "$compose_version" >"$compose_venv/complete"
  fi
  # podman-compose calls podman by a path: this one knows where our storage is. It goes without `--requires`, because Podman 4 cannot
  # start what requires something that requires something; podman-compose waits for each condition itself.
  cat >"$store/podman" <<EOF
#!/bin/bash
for argument do
  shift
  [[ "\$argument" == --requires=* ]] || set -- "\$@" "\$argument"
done
exec env TMPDIR=$(printf %q "$store/tmp") CONTAINERS_CONF=$(printf %q "$CONTAINERS_CONF") \\
  podman --root $(printf %q "$store/storage") --runroot /run/fraud-images "\$@"
EOF
  chmod 755 "$store/podman"
  compose() { "$compose_venv/bin/podman-compose" --podman-path "$store/podman" --no-ansi -p "$compose_project" -f "$compose_file" "$@"; }
}

# A figure out of Prometheus, or nothing.
figure() { # query
  curl -s -m 5 --data-urlencode "query=$1" "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/query" |
    python3 -c 'import json, sys; found = json.load(sys.stdin)["data"]["result"]; print(int(float(found[0]["value"][1])) if found else "")' 2>/dev/null || true
}

# Waits until a query gives at least so much, two minutes at most.
reaches() { # query, least
  local try value
  for try in $(seq 1 120); do
    value="$(figure "$1")"
    [ -n "$value" ] && [ "$value" -ge "$2" ] && { echo "$value"; return 0; }
    sleep 1
  done
  echo "$1 is '${value:-}' after two minutes, not $2"
  return 1
}

# What came up, told apart by their names; then down, data too.
compose_down() {
  local container
  for container in $(engine ps -aq --filter "label=com.docker.compose.project=$compose_project" 2>/dev/null); do
    printf '== %s\n' "$(engine inspect --format '{{.Name}}, {{.State.Status}}, {{.State.ExitCode}}' "$container")"
    engine logs --tail 200 "$container"
  done >"$results/compose-logs.log" 2>&1
  compose down -v --remove-orphans >>"$results/compose.log" 2>&1 || true
}

# The API's answer to one payment, always the same.
predict() { curl -sf -m 5 "http://127.0.0.1:$API_PORT/predict" -H 'content-type: application/json' -d "$payment"; }

# A hundred payments, the same at each call, since seed and times are. Exit code 2 says that the machine was busy.
hundred() { # target, time
  local code=0
  compose run --rm --no-deps -T traffic-kafka run "--target=$1" "--start-time=$2" --rate=100 --count=100 --seed=100 || code=$?
  [ "$code" = 0 ] || [ "$code" = 2 ]
}

# Which services are there to be started: all but those with a profile, and Grafana where it has no image, since it has no stand-in.
# Nothing, which means all, where it has one.
compose_services() {
  ! has_image "$(sed -n 's/^    image: \(docker\.io\/grafana[^ ]*\)$/\1/p' "$compose_file")" || return 0
  python3 - "$compose_file" <<'P'
import re, sys
text = open(sys.argv[1], encoding="utf-8").read().split("\nservices:\n")[1].split("\nnetworks:\n")[0]
blocks = re.split(r"(?m)^  (?=[a-z-]+:$)", text)[1:]
print(*(block.split(":")[0] for block in blocks if "\n    profiles:" not in block and not block.startswith("grafana:")))
P
}

try_compose() {
  mkdir -p "$results"
  find_compose
  other_images
  # Free ports, so that what runs on this machine already is left alone.
  read -r API_PORT PROMETHEUS_PORT ALERTMANAGER_PORT GRAFANA_PORT < <(python3 -c '
import socket
held = [socket.socket() for _ in range(4)]
for one in held: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in held))')
  export API_PORT PROMETHEUS_PORT ALERTMANAGER_PORT GRAFANA_PORT
  local services; services="$(compose_services)"
  # Of now, as the traffic is: older ones are late for a store that it has moved on.
  local payment; payment="{\"transaction_id\": \"trial\", \"customer_id\": 7, \"terminal_id\": 42, \"tx_amount\": 57.16, \"tx_time_seconds\": $(date +%s)}"
  trap compose_down EXIT
  # shellcheck disable=SC2086 # The names are words.
  compose up -d --no-build $services >"$results/compose.log" 2>&1 || { tail -n 30 "$results/compose.log" >&2; fail "compose up"; }
  check "compose: fraud-api is ready" answers "http://127.0.0.1:$API_PORT/health/ready"
  predict | grep -q '"decision":"' || fail "/predict"
  ok "/predict answers"
  check "Prometheus is ready" answers "http://127.0.0.1:$PROMETHEUS_PORT/-/ready"
  check "Prometheus reaches both services" reaches 'sum(up{job=~"fraud-api|fraud-stream"})' 2
  check "payments over HTTP are scored" reaches 'sum(fraud_decisions_total{job="fraud-api"})' 200
  check "payments through Kafka are scored" reaches 'sum(kafka_messages_produced_total{topic="fraud-predictions"})' 200
  check "the rules are loaded" reaches 'count(prometheus_rule_group_rules) or vector(0)' 1

  # One store: what the stream has recorded, the API knows.
  local since; since="$(date -u +%FT%TZ)"
  check "a hundred payments through Kafka" hundred kafka://kafka:9092 "$since"
  check "the same over HTTP" hundred http://fraud-api:8000 "$since"
  check "fraud-api knows them from fraud-stream" reaches 'sum(fraud_repeated_or_late_total{job="fraud-api", kind="duplicate"})' 100
  # And it is Redis that has it, not the service.
  compose restart fraud-api >>"$results/compose.log" 2>&1 || fail "compose restart fraud-api"
  check "fraud-api is ready after a restart" answers "http://127.0.0.1:$API_PORT/health/ready"
  predict | grep -q '"duplicate":true' || fail "the payment of before is not known after a restart"
  ok "the payment of before is known after a restart"

  # A second instance in the group gets partitions of its own.
  # shellcheck disable=SC2086
  compose up -d --no-build --scale fraud-stream=2 $services >>"$results/compose.log" 2>&1 || fail "compose up --scale"
  check "a second fraud-stream is reached" reaches 'sum(up{job="fraud-stream"})' 2
  check "both score" reaches 'count(rate(kafka_messages_produced_total{topic="fraud-predictions"}[1m]) > 0)' 2

  # The last stretch of an alert's way: from Alertmanager to whoever is told.
  curl -sf -m 5 "http://127.0.0.1:$ALERTMANAGER_PORT/api/v2/alerts" -H 'content-type: application/json' -d \
    '[{"labels": {"alertname": "Trial", "notify": "administrator", "severity": "critical", "namespace": "compose"}}]' || fail "Alertmanager"
  local try
  for try in $(seq 1 60); do
    compose logs notifications 2>/dev/null | grep -q 'FIRING.*administrator.*Trial' && break
    [ "$try" -lt 60 ] || fail "no notification of a firing alert"
    sleep 1
  done
  ok "an alert reaches the administrator"
  [ -n "$services" ] || check "Grafana is ready" answers "http://127.0.0.1:$GRAFANA_PORT/api/health"
  compose_down
  trap - EXIT
}
