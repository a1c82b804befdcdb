#!/usr/bin/env bash
# Runs every fuzz target of fraud-core and fraud-api for a while, from its seeds.
#   scripts/fuzz.sh [seconds each, default 60] [target …]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -gt 0 ] && shift
version=0.13.2
export PATH="$PWD/.cache/tools/bin:$PATH"
if ! cargo-fuzz --version 2>/dev/null | grep -qF "$version"; then
  echo "fuzz: building cargo-fuzz $version (once)"
  cargo install cargo-fuzz --version "$version" --locked --quiet --root .cache/tools --config 'profile.release.opt-level=0'
fi
# The sanitizers are behind a switch that stable compilers only take this way.
export RUSTC_BOOTSTRAP=1
# One for both crates: most of the time goes into building tract with all the instrumentation.
built="$PWD/target/fuzz"
wanted=" $* "
for crate in fraud-core fraud-api; do
  for target in $(cd "$crate" && cargo fuzz list); do
    [ $# -eq 0 ] || [[ "$wanted" == *" $target "* ]] || continue
    (
      cd "$crate"
      seeds=fuzz/seeds/$target
      corpus=fuzz/corpus/$target
      mkdir -p "$seeds" "$corpus"
      printf '\nfuzz: %s of %s for %d s\n' "$target" "$crate" "$seconds"
      cargo fuzz run --dev --target-dir "$built" "$target" "$corpus" "$seeds" -- \
        -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -max_len=65536 -print_final_stats=0 -verbosity=0
    )
  done
done
