#!/usr/bin/env bash
# The manifests under deploy/, checked. Installs what is lacking. Monitoring, images, Terraform and workflows have scripts of
# their own; `make deploy-test` runs them all.
#   scripts/deploy_test.sh              all steps
#   scripts/deploy_test.sh manifests …  some of them, by name
# Steps: manifests  builds every kustomization; schemas, references, scaling, security, flows, settings, probes, sizes,
#                   updates, volumes of images
#        seeded     each of those checks seen failing on a mistake; the Secrets that values for charts name
#        live       the real programs under the settings of the manifests: ports, paths, probes, a rollout under load; what the
#                   demo's Prometheus scrapes and whom its Alertmanager calls
#        checkov    policies, offline
#        parts      only by name: the manifests' Redis and Kafka with a real redis-server and a real Kafka, and the store of
#                   deploy/prod begun, kept and lost (a minute or two)
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

only=("$@")
passed=0
step() { # name, command…
  local name=$1; shift
  if [ "${#only[@]}" -gt 0 ] && [[ " ${only[*]} " != *" $name "* ]]; then return 0; fi
  local start=$SECONDS
  printf '\n─ deploy: %s ─\n' "$name"
  "$@" || { printf 'deploy: %s failed. Run it alone: scripts/deploy_test.sh %s\n' "$name" "$name" >&2; exit 1; }
  passed=$((passed + 1))
  printf '─ deploy: %s: %d s\n' "$name" $((SECONDS - start))
}
python="$(deploy/tests/env.sh)"
# kustomize 5 comes with kubectl; where the machine has none, or an old one, with the environment.
if ! kubectl version --client 2>/dev/null | grep -q 'Kustomize Version: v5'; then KUBECTL="$(dirname "$python")/kubectl"; export KUBECTL; fi
built="$(mktemp -d)"
trap 'rm -rf "$built"' EXIT
programs="${CARGO_TARGET_DIR:-target}/debug"
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$root/deploy/tests"

# `|| return` everywhere: within a step bash does not end a function at a command that fails.
manifests() {
  scripts/programs.sh || return
  "$python" -m deploy_check --binaries "$programs" --write "$built"
}
seeded() {
  "$python" -m pytest --quiet -p no:cacheprovider deploy/tests/test_seeded.py deploy/tests/test_charts.py
}
live() {
  scripts/programs.sh || return
  scripts/monitoring.sh need || return
  BINARIES="$programs" "$python" -m pytest --quiet -p no:cacheprovider deploy/tests/test_live.py deploy/tests/test_demo.py
}
# Only when asked for: a Java virtual machine takes its time.
parts() {
  scripts/redis.sh need || return
  scripts/programs.sh || return
  BINARIES="$programs" "$python" -m pytest --quiet -p no:cacheprovider deploy/tests/test_parts.py deploy/tests/test_store.py
}
policies() { # folder
  LOG_LEVEL=ERROR "$(dirname "$python")/checkov" --config-file deploy/tests/checkov.yaml -d "$1"
}
checkov() {
  if [ -z "$(ls "$built")" ]; then "$python" -m deploy_check --write "$built" >/dev/null || return; fi
  policies "$built" || return
  # Seen failing: a privileged Pod must not pass.
  mkdir "$built/seeded" || return
  printf '%s\n' 'apiVersion: v1' 'kind: Pod' 'metadata: {name: bad, namespace: x}' \
    'spec: {containers: [{name: a, image: a, securityContext: {privileged: true}}]}' >"$built/seeded/pod.yaml"
  if policies "$built/seeded" >/dev/null; then echo "checkov lets a privileged Pod pass" >&2; return 1; fi
  rm -r "$built/seeded"
}

step manifests manifests
step seeded seeded
step live live
step checkov checkov
if [ "${#only[@]}" -gt 0 ]; then step parts parts; fi
printf '\ndeploy: %d passed\n' "$passed"
