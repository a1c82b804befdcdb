#!/usr/bin/env bash
# The monitoring: rules, runbooks, routes and dashboards, built, checked, and seen at work. Installs what is lacking.
#   scripts/monitoring.sh check            whether all of it is in order: promtool, amtool, and checks of our own
#   scripts/monitoring.sh test             whether the checks find mistakes (seeded ones, one each)
#   scripts/monitoring.sh mutants          whether the rules' tests notice every small change of a rule (2 CPU-minutes)
#   scripts/monitoring.sh live             each rule and each panel on a real Prometheus that scrapes the real services
#   scripts/monitoring.sh alerts           alerts provoked in the real services, through to a webhook (minutes)
#   scripts/monitoring.sh generate         writes what is made of other files: operator/, dashboards/, alertmanager.webhook.yaml
#   scripts/monitoring.sh rules FOLDER     copies the rule files
#   scripts/monitoring.sh need             only installs Prometheus, Alertmanager and the Python environment
# Example: scripts/monitoring.sh generate && scripts/monitoring.sh check
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

python() {
  scripts/setup.sh python
  local python
  python="$(deploy/training/env.sh monitoring)"
  PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$PWD/$folder" "$python" "$@"
}

case "${1:-}" in
  check) need; python -m fraud_monitoring check ;;
  test) need; python -m unittest discover --quiet --start-directory "$folder/tests" ;;
  mutants) need; python "$folder/tests/mutants.py" --quiet ;;
  live | alerts) need; scripts/programs.sh; python -m fraud_monitoring "$1" ;;
  generate) python -m fraud_monitoring generate ;;
  rules) mkdir -p "${2:?a folder}"; cp "$folder"/rules/*.rules.yaml "$2" ;;
  need) need; python -c '' ;;
  *) sed -n '2,11p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 64 ;;
esac
