# Sourced: tests of the checks. A check that has never failed has proved nothing, so each mistake that it is there for is
# made in a copy of the tree, and the check must fail there, with words that name it.
#   seeded_begin FOLDER…                     copies these (below the root) into a tree of its own
#   seeded WHAT FILE SED EXPECTED CHECK…     changes FILE by SED (or, for '-', nothing), runs CHECK in the copy
#   seeded_end                               says how many

seeded_count=0

seeded_begin() {
  seeded_tree="$(mktemp -d)"
  trap 'rm -rf "$seeded_tree"' EXIT
  seeded_folders=("$@")
}

seeded() {
  local what=$1 file=$2 change=$3 expected=$4; shift 4
  rm -rf "$seeded_tree/tree"
  mkdir -p "$seeded_tree/tree"
  tar -C "$root" --exclude=.terraform --exclude='*.pyc' -c "${seeded_folders[@]}" | tar -C "$seeded_tree/tree" -x
  ln -s "$(readlink -f "$root/.cache")" "$seeded_tree/tree/.cache"
  if [ "$file" != - ]; then
    cp "$seeded_tree/tree/$file" "$seeded_tree/before"
    sed -i -E "$change" "$seeded_tree/tree/$file"
    ! cmp -s "$seeded_tree/tree/$file" "$seeded_tree/before" || { echo "seeded: '$what' changed nothing in $file" >&2; exit 1; }
  else
    (cd "$seeded_tree/tree" && eval "$change")
  fi
  if (cd "$seeded_tree/tree" && "$@") >"$seeded_tree/out" 2>&1; then
    echo "seeded: nothing noticed: $what" >&2
    exit 1
  fi
  if ! grep -qE -- "$expected" "$seeded_tree/out"; then
    echo "seeded: '$what' failed, but not for that reason (no '$expected' in):" >&2
    tail -n 20 "$seeded_tree/out" >&2
    exit 1
  fi
  seeded_count=$((seeded_count + 1))
}

seeded_end() { echo "$1: $seeded_count seeded mistakes, each noticed"; }
