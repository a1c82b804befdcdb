#!/usr/bin/env bash
# A real Apache Kafka for tests: one KRaft node on free loopback ports, under a folder of its own.
#   scripts/kafka.sh fetch                    downloads Kafka once (Maven Central, into .cache/kafka)
#   scripts/kafka.sh start [HOME]             starts a node, waits until it answers, prints its address
#   scripts/kafka.sh kill [HOME]              kill -9, data stays
#   scripts/kafka.sh stop [HOME]              stops the node in order, data stays; 'start' takes it up again
#   scripts/kafka.sh remove [HOME]            stops the node and deletes its folder
#   scripts/kafka.sh address [HOME]           prints the address
#   scripts/kafka.sh topic [HOME] ARGUMENTS   kafka-topics, e.g. topic out/kafka --create --topic t --partitions 6
#   scripts/kafka.sh tool [HOME] CLASS ARGS   any tool class, with --bootstrap-server filled in
# HOME is the node's folder (default out/kafka). Heap: KAFKA_HEAP (default 512m).
# KAFKA_SECURE=1 at the first start adds two listeners, whose addresses stand in HOME/address.sasl_ssl (TLS and
# SCRAM-SHA-512; user `stream`, password in HOME/secure/password) and HOME/address.ssl (TLS with client certificates,
# HOME/secure/client.{pem,key}); the authority is HOME/secure/ca.pem. Access lists are on, and empty.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
cache="$root/.cache/kafka"
say() { echo "kafka: $*" >&2; }

need() {
  local missing=()
  command -v java >/dev/null || missing+=(openjdk-17-jre-headless)
  [ -f "$cache/complete" ] && cmp -s "$cache/complete" "$root/scripts/kafka/pom.xml" || command -v mvn >/dev/null || missing+=(maven)
  [ "${#missing[@]}" -eq 0 ] && return 0
  command -v apt-get >/dev/null || { say "please install: ${missing[*]}"; exit 1; }
  local sudo=""; [ "$(id -u)" -eq 0 ] || sudo="sudo"
  say "installing ${missing[*]}"
  $sudo apt-get update -qq >&2
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# Downloads under a lock, so that tests that start together fetch once.
fetch() {
  need
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9
  if ! cmp -s "$cache/complete" "$root/scripts/kafka/pom.xml"; then
    say "fetching Apache Kafka from Maven Central (once, about 55 MB)"
    rm -rf "$cache/libs" "$cache/complete"
    mvn -q -B -f "$root/scripts/kafka/pom.xml" dependency:copy-dependencies -DoutputDirectory="$cache/libs" >&2
    cp "$root/scripts/kafka/pom.xml" "$cache/complete"
  fi
  exec 9>&-
}

run_java() { # heap, class, arguments…
  local heap=$1; shift
  java "-Xmx$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$cache/libs/*" "$@"
}

free_ports() { # how many
  python3 - "$1" <<'P'
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in held: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))
P
}

alive() { [ -f "$home/pid" ] && kill -0 "$(cat "$home/pid")" 2>/dev/null; }

# A node answers once it takes connections and its log says it started; ports of a killed node stay its own.
start() {
  fetch
  if alive; then cat "$home/address"; return; fi
  mkdir -p "$home"
  if [ ! -f "$home/server.properties" ]; then
    read -r broker controller sasl_ssl ssl < <(free_ports 4)
    local fill="s|@BROKER@|$broker|g; s|@CONTROLLER@|$controller|g; s|@HOME@|$home|g; s|@SASL_SSL@|$sasl_ssl|g; s|@SSL@|$ssl|g"
    local users=()
    sed -e "$fill" "$root/scripts/kafka/server.properties" >"$home/server.properties"
    if [ -n "${KAFKA_SECURE:-}" ]; then
      "$root/scripts/kafka/secure.sh" "$home/secure" >&2
      # What stands later in a properties file holds.
      sed -e "$fill" "$root/scripts/kafka/secure.properties" >>"$home/server.properties"
      users=(--add-scram "SCRAM-SHA-512=[name=stream,password=$(cat "$home/secure/password")]")
      echo "127.0.0.1:$sasl_ssl" >"$home/address.sasl_ssl"
      echo "127.0.0.1:$ssl" >"$home/address.ssl"
    fi
    local id; id="$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=')"
    # An id that begins with a dash would be read as an option.
    run_java 128m kafka.tools.StorageTool format -t "A${id:1}" "${users[@]}" -c "$home/server.properties" >"$home/format.log" 2>&1 \
      || { cat "$home/format.log" >&2; rm -f "$home/server.properties"; exit 1; }
    echo "127.0.0.1:$broker" >"$home/address"
  fi
  local heap="${KAFKA_HEAP:-512m}"
  nohup java "-Xms$heap" "-Xmx$heap" -XX:+UseSerialGC -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info \
    -Dorg.slf4j.simpleLogger.showDateTime=true \
    -cp "$cache/libs/*" kafka.Kafka "$home/server.properties" >"$home/server.log" 2>&1 </dev/null &
  echo $! >"$home/pid"
  local port; port="$(cut -d: -f2 "$home/address")"
  for _ in $(seq 1 600); do
    if grep -q 'Kafka Server started' "$home/server.log" && (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      cat "$home/address"; return
    fi
    alive || { say "the node ended while starting:"; tail -n 30 "$home/server.log" >&2; exit 1; }
    sleep 0.1
  done
  say "not ready within 60 s, see $home/server.log"; exit 1
}

end() { # signal
  alive || { rm -f "$home/pid"; return 0; }
  local pid; pid="$(cat "$home/pid")"
  kill "-$1" "$pid" 2>/dev/null || true
  for _ in $(seq 1 300); do
    kill -0 "$pid" 2>/dev/null || { rm -f "$home/pid"; return 0; }
    sleep 0.1
  done
  say "pid $pid does not end, killing it"; kill -9 "$pid" 2>/dev/null || true; rm -f "$home/pid"
}

command="${1:-}"
shift || true
home="${1:-$root/out/kafka}"
shift || true
case "$home" in /*) ;; *) home="$PWD/$home" ;; esac
case "$command" in
  fetch) fetch ;;
  start) start ;;
  stop) end TERM ;;
  kill) end KILL ;;
  remove) end KILL; rm -rf "$home" ;;
  address) cat "$home/address" ;;
  topic) run_java 128m org.apache.kafka.tools.TopicCommand --bootstrap-server "$(cat "$home/address")" "$@" ;;
  tool) class=$1; shift; run_java 128m "$class" --bootstrap-server "$(cat "$home/address")" "$@" ;;
  *) sed -n '2,12p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 64 ;;
esac
