#!/usr/bin/env bash
# The container images: built, and tried for real under the limits that a cluster would set; then the compose file. Installs what is lacking.
#   scripts/images.sh               build, try, compose
#   scripts/images.sh build         only build: fraud-api, fraud-stream, fraud-loadgen; bills of materials into out/images
#   scripts/images.sh try           only try what was built
#   scripts/images.sh compose       the compose file, up, looked at, and down again
#   scripts/images.sh engine ARGS   the engine itself, e.g. scripts/images.sh engine run --rm -p 8000:8000 fraud-api
#   scripts/images.sh remove        deletes podman's storage, base images and all
# The first build takes about a quarter of an hour on two cores, most of it dependencies, which the next one has.
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
. scripts/images/engine.sh
. scripts/images/bases.sh
. scripts/images/try.sh
. scripts/images/compose.sh

images=(fraud-api fraud-stream fraud-loadgen)
results=out/images
version="$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)"

build() {
  mkdir -p "$results"
  bases
  local options=() revision image
  revision="$(git rev-parse HEAD 2>/dev/null || echo unknown)"
  [ "$engine_name" = docker ] || options=(--layers --format docker --network host)
  for image in "${images[@]}"; do
    echo "images: building $image, log in $results/build-$image.log"
    engine build "${options[@]}" -f deploy/docker/Dockerfile --target "$image" -t "$image" -t "$image:$version" \
      --build-arg "VERSION=$version" --build-arg "REVISION=$revision" . >"$results/build-$image.log" 2>&1 ||
      { tail -n 40 "$results/build-$image.log" >&2; exit 1; }
  done
  materials
}

# The bill of materials out of each image, to lie beside it.
materials() {
  local image container
  for image in "${images[@]}"; do
    container="$(engine create "$image")"
    engine cp "$container:/usr/share/doc/fraud-scoring/$image.cdx.json" "$results/$image.cdx.json"
    engine rm "$container" >/dev/null
  done
}

case "${1:-all}" in
  all) find_engine; build; try; try_compose; printf 'images: %d checks passed\n' "$passed" ;;
  build) find_engine; build ;;
  try) find_engine; try; printf 'images: %d checks passed\n' "$passed" ;;
  compose) find_engine; try_compose; printf 'images: %d checks passed\n' "$passed" ;;
  engine) shift; find_engine; engine "$@" ;;
  remove) [ ! -d "$store" ] || { find_engine; [ "$engine_name" = docker ] || engine system reset --force; rm -rf "$store"; } ;;
  *) sed -n '2,10p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 64 ;;
esac
