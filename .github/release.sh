#!/usr/bin/env bash
# What must be true of a version before it is published.
#   .github/release.sh v0.1.0    the tag is the version in Cargo.toml, and CHANGELOG.md has its section, with a date
#   .github/release.sh           before there is a tag: CHANGELOG.md has the section, dated or `unreleased`
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { echo "${GITHUB_ACTIONS:+::error::}release: $*" >&2; exit 1; }

version="$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)"
[ -n "$version" ] || fail "Cargo.toml has no version"
# Everything behind the name of the section, which is there once.
sections="$(awk -v name="## [$version]" 'index($0, name) == 1 { print substr($0, length(name) + 1) }' CHANGELOG.md)"
[ -n "$sections" ] || fail "CHANGELOG.md has no section '## [$version] - DATE'"
[ "$(wc -l <<<"$sections")" -eq 1 ] || fail "CHANGELOG.md has the section [$version] more than once"
dated='^ - [0-9]{4}-[0-9]{2}-[0-9]{2}$'
if [ $# -eq 0 ]; then
  [[ $sections =~ $dated || $sections == " - unreleased" ]] || fail "'## [$version]$sections': write '## [$version] - YYYY-MM-DD' or '- unreleased'"
  exit 0
fi
[ "$1" = "v$version" ] || fail "the tag is $1 and Cargo.toml says $version: they must agree"
[[ $sections =~ $dated ]] || fail "CHANGELOG.md says '[$version]$sections': give the section its date (YYYY-MM-DD), and tag that commit"
date -d "${sections# - }" >/dev/null 2>&1 || fail "${sections# - } is no date"
