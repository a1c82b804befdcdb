#!/usr/bin/env bash
# The alert rules and the Alertmanager route, checked and tested. Installs what is lacking.
#   scripts/monitoring.sh check            promtool: syntax and tests; amtool: syntax and routes
#   scripts/monitoring.sh rules FOLDER     writes the PrometheusRules as plain rule files
#   scripts/monitoring.sh need             only installs Prometheus and Alertmanager
set -euo pipefail
cd "$(dirname "$0")/.."
folder=deploy/monitoring

need() {
  local missing=()
  command -v promtool >/dev/null && command -v prometheus >/dev/null || missing+=(prometheus)
  command -v amtool >/dev/null || [ -x /usr/bin/amtool ] || missing+=(prometheus-alertmanager)
  [ "${#missing[@]}" -eq 0 ] && return 0
  command -v apt-get >/dev/null || { echo "monitoring: please install: ${missing[*]}" >&2; exit 1; }
  local sudo=""; [ "$(id -u)" -eq 0 ] || sudo="sudo"
  echo "monitoring: installing ${missing[*]}" >&2
  $sudo apt-get update -qq >&2
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# A PrometheusRule's spec is a rule file, two columns to the right.
rules() { # folder
  mkdir -p "$1"
  local file
  for file in "$folder"/*.rule.yaml; do
    awk '/^spec:/ {inside = 1; next} /^[^ #]/ {inside = 0} inside {sub(/^  /, ""); print}' "$file" \
      >"$1/$(basename "${file%.rule.yaml}").rules.yaml"
  done
}

check() {
  need
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  rules "$work"
  cp "$folder"/tests/*.test.yaml "$work"
  promtool check rules "$work"/*.rules.yaml
  promtool test rules "$work"/*.test.yaml
  amtool check-config "$folder/alertmanager.yaml"
  amtool config routes test --config.file="$folder/alertmanager.yaml" --verify.receivers=administrator \
    alertname=AdminNotification_MaxScaleHighCPU severity=critical notify=administrator namespace=fraud
  amtool config routes test --config.file="$folder/alertmanager.yaml" --verify.receivers=team \
    alertname=FraudApiErrorRate severity=warning namespace=fraud
}

case "${1:-}" in
  check) check ;;
  rules) rules "${2:?a folder}" ;;
  need) need ;;
  *) sed -n '2,5p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 64 ;;
esac
