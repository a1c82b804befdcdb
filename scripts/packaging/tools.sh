# Sourced, with $root set: installs the tools of the packaging checks, each at one version, into .cache.
#   python_tools            the Python ones; their commands are then in $python_bin
#   go_tool NAME PACKAGE    a command out of a Go module, NAME@VERSION; its path is then in $go_command
#   debian PACKAGE…         Debian packages

debian() {
  command -v apt-get >/dev/null || { echo "please install: $*" >&2; exit 1; }
  local sudo=""; [ "$(id -u)" -eq 0 ] || sudo="sudo"
  echo "installing $*" >&2
  $sudo apt-get update -qq >&2
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

python_tools() {
  local list="$root/scripts/packaging/requirements.txt" venv="$root/.cache/venv-packaging"
  python_bin="$venv/bin"
  cmp -s "$list" "$venv/complete" && return 0
  "$root/scripts/setup.sh" python
  echo "installing the packaging checks' Python tools (once)" >&2
  mkdir -p "$root/.cache"
  python3 -m venv --clear "$venv"
  "$python_bin/pip" install --quiet --disable-pip-version-check -r "$list"
  cp "$list" "$venv/complete"
}

need_go() { command -v go >/dev/null || debian golang-go ca-certificates; }

go_tool() { # name@version, package
  local name=${1%@*} version=${1#*@}
  go_command="$root/.cache/tools/$name-$version/$name"
  [ -x "$go_command" ] && return 0
  need_go
  echo "building $name $version (once)" >&2
  local bin; bin="$(dirname "$go_command")"
  mkdir -p "$bin"
  GOBIN="$bin" GOFLAGS=-trimpath go install "$2@$version"
  # A module's command is called as its folder is.
  [ -x "$go_command" ] || mv "$bin/$(basename "$2")" "$go_command"
}
