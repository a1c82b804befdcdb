#!/usr/bin/env bash
# A real Redis for tests: Debian's redis-server on a free loopback port, under a folder of its own.
#   scripts/redis.sh need                  only installs redis-server where it lacks
#   scripts/redis.sh start [HOME] [ARGS]   starts a server, waits until it answers, prints its address;
#                                          ARGS are redis-server's own, e.g. start out/redis --appendonly yes
#   scripts/redis.sh kill [HOME]           kill -9, data stays
#   scripts/redis.sh stop [HOME]           stops it in order, data stays; 'start' takes it up again
#   scripts/redis.sh remove [HOME]         stops it and deletes its folder
#   scripts/redis.sh address [HOME]        prints the address
#   scripts/redis.sh cli [HOME] ARGS       redis-cli on it
# HOME is the server's folder (default out/redis). It never evicts and, unless ARGS say otherwise, writes no file.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
say() { echo "redis: $*" >&2; }

# Under a lock, so that tests that start together install once. No service is started by the package.
need() {
  command -v redis-server >/dev/null && return 0
  command -v apt-get >/dev/null || { say "please install redis-server (7 or later)"; exit 1; }
  mkdir -p "$root/.cache"
  exec 9>"$root/.cache/redis.lock"
  flock 9
  command -v redis-server >/dev/null && return 0
  local sudo=""; [ "$(id -u)" -eq 0 ] || sudo="sudo"
  say "installing redis-server"
  $sudo apt-get update -qq >&2
  $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends redis-server >/dev/null
  exec 9>&-
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

alive() { [ -f "$home/pid" ] && kill -0 "$(cat "$home/pid")" 2>/dev/null; }

start() {
  need
  if alive; then cat "$home/address"; return; fi
  mkdir -p "$home"
  [ -f "$home/address" ] || echo "127.0.0.1:$(free_port)" >"$home/address"
  local port; port="$(cut -d: -f2 "$home/address")"
  nohup redis-server --bind 127.0.0.1 --port "$port" --dir "$home" --save "" --maxmemory-policy noeviction "$@" \
    >"$home/server.log" 2>&1 </dev/null &
  echo $! >"$home/pid"
  for _ in $(seq 1 300); do
    if [ "$(redis-cli -p "$port" ping 2>/dev/null)" = PONG ]; then cat "$home/address"; return; fi
    alive || { say "the server ended while starting:"; tail -n 20 "$home/server.log" >&2; exit 1; }
    sleep 0.1
  done
  say "not ready within 30 s, see $home/server.log"; exit 1
}

end() { # signal
  alive || { rm -f "$home/pid"; return 0; }
  local pid; pid="$(cat "$home/pid")"
  kill "-$1" "$pid" 2>/dev/null || true
  for _ in $(seq 1 100); do
    kill -0 "$pid" 2>/dev/null || { rm -f "$home/pid"; return 0; }
    sleep 0.1
  done
  say "pid $pid does not end, killing it"; kill -9 "$pid" 2>/dev/null || true; rm -f "$home/pid"
}

command="${1:-}"
shift || true
home="${1:-$root/out/redis}"
shift || true
case "$home" in /*) ;; *) home="$PWD/$home" ;; esac
case "$command" in
  need) need ;;
  start) start "$@" ;;
  stop) end TERM ;;
  kill) end KILL ;;
  remove) end KILL; rm -rf "$home" ;;
  address) cat "$home/address" ;;
  cli) redis-cli -p "$(cut -d: -f2 "$home/address")" "$@" ;;
  *) sed -n '2,12p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 64 ;;
esac
