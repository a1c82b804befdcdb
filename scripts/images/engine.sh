# Sourced: finds a container engine, or installs one; afterwards `engine build|run|…` works.
# Docker where its daemon answers, else podman with its storage under .cache/images.

store="$root/.cache/images"

install_podman() {
  local missing=()
  local tool package
  for pair in podman:podman buildah:buildah runc:runc fuse-overlayfs:fuse-overlayfs iptables:iptables newuidmap:uidmap; do
    tool=${pair%%:*} package=${pair#*:}
    command -v "$tool" >/dev/null || missing+=("$package")
  done
  # The network of podman; these stand outside of PATH.
  [ -x /usr/lib/podman/netavark ] || missing+=(netavark)
  [ -x /usr/lib/podman/aardvark-dns ] || missing+=(aardvark-dns)
  [ "${#missing[@]}" -eq 0 ] && return 0
  need "${missing[@]}"
}

# Debian packages.
need() {
  command -v apt-get >/dev/null || { echo "images: please install: $*" >&2; exit 1; }
  local sudo=""; [ "$(id -u)" -eq 0 ] || sudo="sudo"
  echo "images: installing $*" >&2
  $sudo apt-get update -qq >&2
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

find_engine() {
  if docker info >/dev/null 2>&1; then
    engine_name=docker
    engine() { docker "$@"; }
    return
  fi
  install_podman
  engine_name=podman
  mkdir -p "$store"
  # Debian's podman prefers crun, which refuses some layouts of control groups; its default limits need rights that
  # a container host may lack.
  cat >"$store/containers.conf" <<'CONF'
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=10000:10000"]
log_driver = "k8s-file"
CONF
  export CONTAINERS_CONF="$store/containers.conf"
  # TMPDIR holds the downloads of `RUN --mount=type=cache`, so it must outlive a run.
  mkdir -p "$store/tmp"
  store="$(readlink -f "$store")"
  engine() { TMPDIR="$store/tmp" podman --root "$store/storage" --runroot /run/fraud-images "$@"; }
}
