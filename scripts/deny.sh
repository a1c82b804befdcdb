#!/usr/bin/env bash
# Licences, bans and sources of every dependency; the advisories too where their database can be fetched.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
tool=.cache/tools/bin/cargo-deny
if ! "$tool" --version 2>/dev/null | grep -qF "$version"; then
  echo "deny: building cargo-deny $version (once)"
  cargo install cargo-deny --version "$version" --locked --quiet --root .cache/tools \
    --config 'profile.release.opt-level=0' --config 'profile.release.lto=false' --config 'profile.release.codegen-units=16'
fi
"$tool" check --hide-inclusion-graph licenses bans sources
# Only the database is missing where there is no network; a finding is another exit and fails.
if "$tool" fetch db 2>/dev/null; then
  "$tool" check advisories
else
  echo "deny: the advisory database cannot be reached from here; advisories were not checked"
fi
