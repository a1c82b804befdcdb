#!/usr/bin/env bash
# Checks what Argo CD is given: types and unknown fields, that the project allows what the applications do, that waves are in
# order, and that the autoscaler owns the replicas. Installs what is lacking.
#   deploy/argocd/test.sh          the checks
#   deploy/argocd/test.sh seeded   the tests of the checks: each mistake must be noticed
set -euo pipefail
cd "$(dirname "$0")/../.."
root="$PWD"
. scripts/packaging/tools.sh
folder=deploy/argocd

check() {
  python_tools
  local types="$root/.cache/argocd-types"
  if ! cmp -s "$folder/tests/package.json" "$types/complete"; then
    command -v npm >/dev/null || debian nodejs npm
    echo "installing Argo CD's types (once)" >&2
    rm -rf "$types"
    mkdir -p "$types"
    cp "$folder/tests/package.json" "$types"
    (cd "$types" && npm install --silent --no-audit --no-fund --ignore-scripts)
    cp "$folder/tests/package.json" "$types/complete"
  fi
  # Beside the packages, where the compiler finds them.
  objects="$(mktemp "$types/objects-XXXXXX.ts")"
  trap 'rm -f "$objects"' EXIT
  "$python_bin/python" "$folder/tests/typescript.py" "$folder" >"$objects"
  (cd "$types" && node_modules/.bin/tsc --noEmit --strict --skipLibCheck --module nodenext --moduleResolution nodenext "$objects")
  # The definitions themselves, where they are at hand, know a little more than the types.
  local definitions=()
  [ ! -d ../shared/reference/crds ] || definitions=(../shared/reference/crds)
  "$python_bin/python" "$folder/tests/check.py" "$folder" . "${definitions[@]}"
  echo "argocd: $(grep -c '^export' "$objects") objects in order${definitions:+, by their definitions too}"
}

seeded_mistakes() {
  . scripts/seeded.sh
  seeded_begin "$folder" deploy/cloud scripts/packaging scripts/setup.sh
  local run=("$folder/test.sh") a=$folder/applications
  seeded 'a field that does not exist' $a/fraud.yaml 's/^  ignoreDifferences:/  ignoredDifferences:/' 'ignoredDifferences' "${run[@]}"
  seeded 'a text for a number' $a/keda.yaml 's/limit: 5/limit: five/' 'not assignable' "${run[@]}"
  seeded 'replicas that git resets' $a/fraud.yaml '/RespectIgnoreDifferences/d' 'RespectIgnoreDifferences' "${run[@]}"
  seeded 'replicas that count as a difference' $a/fraud.yaml 's,/spec/replicas,/spec/paused,' 'autoscaler owns' "${run[@]}"
  seeded 'operators after what needs them' $a/keda.yaml 's/sync-wave: "-1"/sync-wave: "1"/' 'must come before' "${run[@]}"
  seeded 'definitions by client-side apply' $a/monitoring-definitions.yaml '/ServerSideApply/d' 'ServerSideApply' "${run[@]}"
  seeded 'definitions that are pruned' $a/monitoring-definitions.yaml 's/prune: false/prune: true/' 'must not be pruned' "${run[@]}"
  seeded 'a source outside of the project' $a/keda.yaml 's,kedacore.github.io,example.org,' 'does not allow the repository' "${run[@]}"
  seeded 'a namespace outside of the project' $a/keda.yaml 's/namespace: keda/namespace: default/' 'does not allow the namespace' "${run[@]}"
  seeded 'a project without limits' $folder/project.yaml 's/\{group: "", kind: Namespace\}/{group: "*", kind: "*"}/' 'any cluster-wide kind' "${run[@]}"
  seeded 'a path that leads nowhere' $a/fraud.yaml 's,path: deploy/.*,path: deploy/production,' 'no kustomization' "${run[@]}"
  seeded 'a chart by a moving name' $a/keda.yaml 's/targetRevision: .*/targetRevision: main/' 'moving name' "${run[@]}"
  seeded 'a project that is not there' $a/fraud.yaml 's/project: fraud/project: frauds/' 'does not exist' "${run[@]}"
  seeded 'an application that nobody lists' $a/kustomization.yaml '/keda.yaml/d' 'does not list' "${run[@]}"
  seeded_end argocd
}

case "${1:-check}" in
  check) check ;;
  seeded) seeded_mistakes ;;
  *) sed -n '2,5p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 64 ;;
esac
