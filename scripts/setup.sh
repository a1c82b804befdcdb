#!/usr/bin/env bash
# Installs what a build needs and the machine lacks. Quiet when there is nothing to do.
#   scripts/setup.sh build    a Rust toolchain is expected; a C compiler and make, for librdkafka and compression
#   scripts/setup.sh tls      OpenSSL's headers, for fraud-stream with `--features kafka-tls`
#   scripts/setup.sh python   Python 3.11 or later with venv
#   scripts/setup.sh chromium a browser for the console's test
#   scripts/setup.sh git      git
set -euo pipefail

need=()
for part in "$@"; do
  case "$part" in
    build)
      command -v cargo >/dev/null || { echo "setup: no cargo here: install Rust 1.95 or later (https://rustup.rs), then run this again" >&2; exit 1; }
      command -v cc >/dev/null || need+=(gcc libc6-dev)
      command -v c++ >/dev/null || need+=(g++)
      command -v make >/dev/null || need+=(make) ;;
    tls)
      command -v pkg-config >/dev/null || need+=(pkg-config)
      [ -e /usr/include/openssl/ssl.h ] || need+=(libssl-dev) ;;
    python)
      command -v python3 >/dev/null || need+=(python3)
      python3 -c 'import ensurepip, venv' 2>/dev/null || need+=(python3-venv) ;;
    chromium)
      command -v chromium >/dev/null || need+=(chromium fonts-dejavu-core) ;;
    git) command -v git >/dev/null || need+=(git) ;;
    *) echo "setup: unknown part '$part': build, tls, python, chromium or git" >&2; exit 64 ;;
  esac
done
[ "${#need[@]}" -eq 0 ] && exit 0

sudo=""
[ "$(id -u)" -eq 0 ] || sudo="sudo"
command -v apt-get >/dev/null || { echo "setup: please install: ${need[*]}" >&2; exit 1; }
echo "setup: installing ${need[*]}"
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
