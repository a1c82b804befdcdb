#!/usr/bin/env bash
# Everything that brings the platform to a machine or a cluster, checked without one: Dockerfile and compose file, Argo CD,
# Terraform, workflows. Installs what is lacking.
#   scripts/packaging.sh check     the checks
#   scripts/packaging.sh seeded    the tests of the checks: each mistake that they are there for is made and must be noticed
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  check | seeded) ;;
  *) sed -n '2,5p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 64 ;;
esac
for check in deploy/docker/lint.sh deploy/argocd/test.sh deploy/terraform/test.sh .github/lint.sh; do
  "$check" "$1"
done
