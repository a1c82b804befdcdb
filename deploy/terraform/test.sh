#!/usr/bin/env bash
# Checks the Terraform configuration without any cloud: format, every name, type and reference, what would be asked for, and
# that neither state nor secrets are in git. Installs what is lacking: OpenTofu where there is no Terraform.
#   deploy/terraform/test.sh          the checks
#   deploy/terraform/test.sh seeded   the tests of the checks: each mistake must be noticed
set -euo pipefail
cd "$(dirname "$0")/../.."
root="$PWD"
folder=deploy/terraform
tofu_version=1.12.6
tools="$root/.cache/tools"
export CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1 TF_CLI_ARGS="-no-color"

need_go() {
  command -v go >/dev/null && return 0
  command -v apt-get >/dev/null || { echo "terraform: please install Go 1.25 or later" >&2; exit 1; }
  local sudo=""; [ "$(id -u)" -eq 0 ] || sudo="sudo"
  echo "terraform: installing Go" >&2
  $sudo apt-get update -qq >&2
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends golang-go ca-certificates >/dev/null
}

# Terraform where it is installed, else OpenTofu out of its Go module.
find_terraform() {
  if command -v terraform >/dev/null; then terraform=terraform; return; fi
  terraform="$tools/tofu-$tofu_version"
  [ -x "$terraform" ] && return 0
  need_go
  echo "terraform: building OpenTofu $tofu_version (once, some minutes)" >&2
  local module; module="$(go mod download -json "github.com/opentofu/opentofu@v$tofu_version" | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')"
  mkdir -p "$tools"
  (cd "$module" && go build -trimpath -o "$terraform" ./cmd/tofu)
}

# The stand-in provider, built again when its source changes.
find_provider() {
  local sum; sum="$(cat "$folder"/tests/provider/{main.go,schema.json,go.mod,go.sum} | sha256sum | cut -c 1-16)"
  provider="$tools/terraform-provider-$sum"
  [ -x "$provider/terraform-provider-yandex" ] && return 0
  need_go
  echo "terraform: building the stand-in provider (once)" >&2
  mkdir -p "$provider"
  (cd "$folder/tests/provider" && GOFLAGS=-mod=readonly go build -trimpath -o "$provider/terraform-provider-yandex" .)
}

check() {
  nothing_secret
  find_terraform
  find_provider
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  cp -r "$folder" "$work/terraform"
  cat >"$work/cli.tfrc" <<RC
provider_installation {
  dev_overrides { "yandex-cloud/yandex" = "$provider" }
  direct {}
}
RC
  export TF_CLI_CONFIG_FILE="$work/cli.tfrc"
  "$terraform" fmt -check -recursive "$folder" || { echo "terraform: not formatted; run: terraform fmt -recursive $folder" >&2; exit 1; }
  quietly "$terraform" -chdir="$work/terraform/sizing" init -backend=false -input=false
  quietly "$terraform" -chdir="$work/terraform/sizing" test
  # `init` would ask a registry for the provider; `get` only links the module.
  quietly "$terraform" -chdir="$work/terraform" get
  quietly "$terraform" -chdir="$work/terraform" validate
  quietly "$terraform" -chdir="$work/terraform" test
  rights_come_first
  echo "terraform: format, validation and $(grep -hc '^run "' "$folder"/{tests,sizing/tests}/*.tftest.hcl | paste -sd+ | bc) tests passed with $("$terraform" version | head -n 1)"
}

quietly() { "$@" >"$work/out" 2>&1 || { cat "$work/out" >&2; echo "terraform: failed: ${*:2}" >&2; exit 1; }; }

# The cluster waits for the rights that it needs to be made and taken down, and its nodes for the cluster.
rights_come_first() {
  # The graph would ask the backend, which is somebody's bucket.
  sed -i '/backend "s3"/d' "$work/terraform/versions.tf"
  "$terraform" -chdir="$work/terraform" graph >"$work/graph" 2>"$work/out" || { cat "$work/out" >&2; exit 1; }
  local edge
  for edge in \
    'yandex_kubernetes_cluster.this -> yandex_resourcemanager_folder_iam_member.cluster' \
    'yandex_kubernetes_cluster.this -> yandex_resourcemanager_folder_iam_member.nodes' \
    'yandex_kubernetes_cluster.this -> yandex_kms_symmetric_key_iam_member.cluster' \
    'yandex_kubernetes_node_group.this -> yandex_kubernetes_cluster.this'; do
    tr -d '"' <"$work/graph" | grep -q "${edge% -> *} -> ${edge#* -> };" ||
      { echo "terraform: ${edge% -> *} does not depend on ${edge#* -> }: name it in depends_on" >&2; exit 1; }
  done
}

nothing_secret() {
  local found
  found="$(git ls-files "$folder" | grep -E '\.(tfstate|tfvars|tfbackend|tfplan)(\..*)?$' || true)"
  found="$(grep -vE '\.example$' <<<"$found" || true)"
  [ -z "$found" ] || { echo "terraform: these must not be in git: $found" >&2; exit 1; }
  if git ls-files "$folder" | grep -E '\.(tf|hcl|example)$' | xargs grep -nEi '(token|secret|password|access_key|private_key)[a-z_]* *= *"[^"]'; then
    echo "terraform: a secret in git" >&2; exit 1
  fi
}

seeded_mistakes() {
  . scripts/seeded.sh
  seeded_begin "$folder" scripts/seeded.sh
  local run=(bash -c "git init -q && git add -A . && $folder/test.sh")
  local t=$folder
  seeded 'a line out of format' $t/main.tf 's/source = /source   = /' 'not formatted' "${run[@]}"
  seeded 'an argument that does not exist' $t/cluster.tf 's/release_channel         =/release_chanel          =/' 'Unsupported argument' "${run[@]}"
  seeded 'a reference to nothing' $t/network.tf 's/yandex_vpc_gateway\.egress\.id/yandex_vpc_gateway.exit.id/' 'undeclared resource' "${run[@]}"
  seeded 'a resource that the provider does not have' $t/registry.tf 's/yandex_container_repository_lifecycle_policy/yandex_container_lifecycle_policy/' 'does not support resource type' "${run[@]}"
  seeded 'a required argument left out' $t/accounts.tf '/role += "container-registry.images.puller"/d' 'Missing required argument' "${run[@]}"
  seeded 'two nodes by default' $t/sizing/variables.tf 's/count  = optional\(number, 3\)/count  = optional(number, 2)/' 'At least three nodes' "${run[@]}"
  seeded 'two nodes allowed' $t/sizing/variables.tf 's/var.nodes.count >= 3/var.nodes.count >= 2/' 'two_nodes_are_refused' "${run[@]}"
  seeded 'the API for the whole internet' $t/sizing/variables.tf 's/, 0\) >= 16\]/, 0) >= 0]/' 'the_whole_internet' "${run[@]}"
  seeded 'nodes with public addresses' $t/cluster.tf 's/nat        = false/nat        = true/' 'public addresses' "${run[@]}"
  seeded 'a key that can be deleted' $t/variables.tf 's/default     = true/default     = false/' 'can be deleted' "${run[@]}"
  seeded 'a right too many' $t/accounts.tf 's/"load-balancer.admin"/"load-balancer.admin", "editor"/' 'has the roles' "${run[@]}"
  seeded 'a cluster that does not wait for its rights' $t/cluster.tf '/^    yandex_resourcemanager_folder_iam_member.cluster,$/d' 'does not depend on' "${run[@]}"
  seeded 'state in git' - "echo '{}' >$t/terraform.tfstate; rm $t/.gitignore" 'must not be in git' "${run[@]}"
  seeded 'a token in git' $t/versions.tf 's/  cloud_id  = var.cloud_id/  token     = "t1.secret"\n  cloud_id  = var.cloud_id/' 'a secret in git' "${run[@]}"
  seeded_end terraform
}

case "${1:-check}" in
  check) check ;;
  seeded) seeded_mistakes ;;
  *) sed -n '2,5p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 64 ;;
esac
