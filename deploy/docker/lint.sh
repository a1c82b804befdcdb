#!/usr/bin/env bash
# Checks the Dockerfiles and the compose file without an engine; scripts/images.sh builds and runs them. Installs what is
# lacking.
#   deploy/docker/lint.sh          the checks
#   deploy/docker/lint.sh seeded   the tests of the checks: each mistake must be noticed
set -euo pipefail
cd "$(dirname "$0")/../.."
root="$PWD"
. scripts/packaging/tools.sh
folder=deploy/docker

check() {
  python_tools
  local dockerfiles=(deploy/*/Dockerfile)
  "$python_bin/hadolint" --no-color "${dockerfiles[@]}"
  "$python_bin/python" "$folder/tests/check_context.py" "${dockerfiles[@]}"
  # A frontend by name would be fetched at each build, and could change under it.
  ! grep -n '^# *syntax *=' "$folder/Dockerfile" || { echo "docker: no '# syntax=' line" >&2; exit 1; }
  # The loader of the specification, which `docker compose config` is made of.
  go_tool compose-spec@v2.16.2 github.com/compose-spec/compose-go/v2/cmd
  resolved="$(mktemp)"
  trap 'rm -f "$resolved"' EXIT
  (cd "$folder" && "$go_command" -format json compose.yaml) >"$resolved"
  "$python_bin/python" "$folder/tests/check_compose.py" "$resolved"
  "$python_bin/shellcheck" --severity=warning -x scripts/images.sh "$folder/lint.sh" deploy/argocd/test.sh deploy/terraform/test.sh .github/lint.sh
  echo "docker: Dockerfiles and compose file in order (hadolint, compose's own loader, shellcheck)"
}

seeded_mistakes() {
  . scripts/seeded.sh
  seeded_begin deploy .github scripts .dockerignore LICENSE-APACHE LICENSE-MIT
  local run=("$folder/lint.sh") d=$folder/Dockerfile c=$folder/compose.yaml
  seeded 'a base without a tag' $d 's/^FROM docker.io.library.rust:[^ ]+/FROM docker.io\/library\/rust/' 'DL3006' "${run[@]}"
  seeded 'a frontend from a registry' $d '1i # syntax=docker/dockerfile:1' 'no .# syntax' "${run[@]}"
  seeded 'an instruction that does not exist' $d 's/^EXPOSE/EXPOSES/' 'unexpected|invalid|missing' "${run[@]}"
  seeded 'a relative working directory' $d 's/^WORKDIR \/src/WORKDIR src/' 'DL3000' "${run[@]}"
  seeded 'a copy of what the context lacks' deploy/airflow/Dockerfile.dockerignore '/fraud_training/d' 'copies deploy/training/fraud_training, which .* leaves out' "${run[@]}"
  seeded 'an ignore file that is not there' - 'rm deploy/mlflow/Dockerfile.dockerignore' 'copies deploy/mlflow/requirements.txt, which .dockerignore leaves out' "${run[@]}"
  seeded 'a key that does not exist' $c 's/^    mem_limit: 512m/    memory_limit: 512m/' 'memory_limit' "${run[@]}"
  seeded 'a wait for nobody' $c 's/^      kafka: \{condition/      kafkas: {condition/' 'kafkas' "${run[@]}"
  seeded 'a network that does not exist' $c 's/^  networks: \[fraud\]/  networks: [frauds]/' 'network frauds is not declared' "${run[@]}"
  seeded 'a volume that does not exist' $c 's/^      - redis:/      - reddis:/' 'volume reddis is not declared' "${run[@]}"
  seeded 'a port for everybody' $c 's/127.0.0.1:(\$\{API_PORT)/\1/' 'reached from outside' "${run[@]}"
  seeded 'an image by latest' $c 's/redis:7[^ ]+$/redis:latest/' 'has no version' "${run[@]}"
  seeded 'a root that can be written' $c 's/read_only: true/read_only: false/' 'can be written' "${run[@]}"
  seeded 'memory without a limit' $c '0,/mem_limit/{/mem_limit/d}' 'no limit' "${run[@]}"
  seeded 'a mount of nothing' $c 's/prometheus.yml:\/etc/prometheus.yaml:\/etc/' 'does not exist' "${run[@]}"
  seeded 'a mount above a volume of the image' $c 's/^      - kafka:.var.lib.kafka.data/      - kafka:\/var\/lib\/kafka/' 'is lost with the container' "${run[@]}"
  seeded 'a service left out' $c 's/^  grafana:$/  graphs:/' 'grafana is missing' "${run[@]}"
  seeded 'a wait for an end that never comes' $c 's/restart: "no"/restart: always/' 'again and again' "${run[@]}"
  seeded_end docker
}

case "${1:-check}" in
  check) check ;;
  seeded) seeded_mistakes ;;
  *) sed -n '2,6p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 64 ;;
esac
