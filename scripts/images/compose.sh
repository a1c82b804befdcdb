# Sourced: the compose file, for real. `docker compose` where there is Docker, else podman-compose; where no registry answers,
# stand-ins for the other images out of Debian's packages (there is none for Grafana, which is left out then).

compose_file=deploy/docker/compose.yaml
compose_version=1.5.0

# One image that stands for all of them.
others() {
  has_image "localhost/$stand_in_label-others" && return 0
  debian
  if ! has_image "localhost/$stand_in_label-debian"; then
    tar -C "$store/debian" --exclude=./complete -c . | engine import -q - "localhost/$stand_in_label-debian" >/dev/null
  fi
  scripts/kafka.sh fetch
  engine build -q --format docker --network host -t "localhost/$stand_in_label-others" \
    -f scripts/images/others.Dockerfile "$root/.cache/kafka" >/dev/null
}

# Tags the stand-in with each name of the compose file that cannot be pulled, with the entry point that it has upstream.
other_images() {
  local image entry
  for image in $(sed -n 's/^    image: \(docker\.io[^ ]*\)$/\1/p' "$compose_file" | sort -u); do
    has_image "$image" && continue
    engine pull -q "$image" >/dev/null 2>&1 && continue
    case "$image" in
      */grafana:*) continue ;;
      */prometheus:*) entry='["/usr/bin/prometheus"]' ;;
      */alertmanager:*) entry='["/usr/bin/prometheus-alertmanager"]' ;;
      *) entry='[]' ;;
    esac
    others
    printf 'FROM %s\nENTRYPOINT %s\n' "localhost/$stand_in_label-others" "$entry" >"$store/Dockerfile.other"
    engine build -q --format docker -t "$image" -f "$store/Dockerfile.other" "$root/scripts/images" >/dev/null
  done
}

find_compose() {
  if [ "$engine_name" = docker ]; then
    compose() { docker compose -f "$compose_file" "$@"; }
    return
  fi
  compose_venv="$root/.cache/venv-compose"
  if [ "$(cat "$compose_venv/complete" 2>/dev/null)" != "$compose_version" ]; then
    scripts/setup.sh python
    python3 -m venv --clear "$compose_venv"
    "$compose_venv/bin/pip" install --quiet --disable-pip-version-check "podman-compose==$compose_version"
    echo "$compose_version" >"$compose_venv/complete"
  fi
  # podman-compose calls podman by a path: this one knows where our storage is.
  printf '#!/bin/bash\nexec env TMPDIR=%q CONTAINERS_CONF=%q podman --root %q --runroot /run/fraud-images "$@"\n' \
    "$store/tmp" "$CONTAINERS_CONF" "$store/storage" >"$store/podman"
  chmod 755 "$store/podman"
  compose() { "$compose_venv/bin/podman-compose" --podman-path "$store/podman" --no-ansi -f "$compose_file" "$@"; }
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
  local services
  # What is there to be started: all but what has no image here, and what has a profile.
  services="$(python3 - "$compose_file" <<'P'
import re, sys
text = open(sys.argv[1], encoding="utf-8").read().split("\nservices:\n")[1].split("\nnetworks:\n")[0]
print(*(name for name in re.findall(r"^  ([a-z-]+):$", text, re.M) if name not in ("attack", "redis")))
P
)"
  has_image "$(sed -n 's/^    image: \(docker\.io\/grafana[^ ]*\)$/\1/p' "$compose_file")" || services="${services/grafana /}"
  trap 'compose down -v >/dev/null 2>&1 || true' EXIT
  # shellcheck disable=SC2086 # The names are words.
  compose up -d --no-build $services >"$results/compose.log" 2>&1 || { tail -n 30 "$results/compose.log" >&2; fail "compose up"; }
  check "compose: fraud-api is ready" answers "http://127.0.0.1:$API_PORT/health/ready"
  curl -sf -m 5 "http://127.0.0.1:$API_PORT/predict" -H 'content-type: application/json' -d "$payment" | grep -q '"decision":"' || fail "/predict"
  ok "/predict answers"
  check "Prometheus is ready" answers "http://127.0.0.1:$PROMETHEUS_PORT/-/ready"
  check "Prometheus reaches both services" reaches 'sum(up{job=~"fraud-api|fraud-stream"})' 2
  check "payments over HTTP are scored" reaches 'sum(fraud_decisions_total{job="fraud-api"})' 200
  check "payments through Kafka are scored" reaches 'sum(kafka_messages_produced_total{topic="fraud-predictions"})' 200
  check "the rules are loaded" reaches 'count(prometheus_rule_group_rules) or vector(0)' 1
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
  if [[ " $services " == *" grafana "* ]]; then check "Grafana is ready" answers "http://127.0.0.1:$GRAFANA_PORT/api/health"; fi
  compose down -v >/dev/null 2>&1
  trap - EXIT
}
