#!/usr/bin/env bash
# Makes an authority of one's own, certificates of a broker at 127.0.0.1 and of a client, and a password. For tests.
#   scripts/kafka/secure.sh FOLDER
set -euo pipefail
folder="${1:?a folder}"
if ! command -v openssl >/dev/null; then
  sudo=""; [ "$(id -u)" -eq 0 ] || sudo="sudo"
  $sudo apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openssl
fi
umask 077
mkdir -p "$folder"
cd "$folder"
key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
openssl req -x509 "${key[@]}" -keyout ca.key -out ca.pem -days 30 -subj "/CN=authority of a test" 2>/dev/null
signed() { # name, subject, extension
  openssl req "${key[@]}" -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile <(echo "$3") -out "$1.pem" 2>/dev/null
}
signed server "/CN=127.0.0.1" "subjectAltName=IP:127.0.0.1"
signed client "/CN=stream" "extendedKeyUsage=clientAuth"
cat server.key server.pem ca.pem >server.chain.pem
head -c 18 /dev/urandom | base64 | tr '+/' 'AB' >password
