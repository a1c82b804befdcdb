#!/usr/bin/env bash
# Checks the workflows: syntax, expressions and shell (actionlint, shellcheck), and what an attacker could make of them
# (zizmor). Installs what is lacking; needs no network afterwards.
#   .github/lint.sh          the checks
#   .github/lint.sh seeded   the tests of the checks: each mistake must be noticed
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
. scripts/packaging/tools.sh

check() {
  python_tools
  go_tool actionlint@v1.7.12 github.com/rhysd/actionlint/cmd/actionlint
  "$go_command" -no-color -shellcheck "$python_bin/shellcheck" -pyflakes= .github/workflows/*.yml
  "$python_bin/zizmor" --offline --pedantic --quiet --color=never .github/workflows
  # A digest says nothing to a reader; the version beside it does.
  if grep -nE '^ *(- )?uses: ' .github/workflows/*.yml | grep -vE '@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+$'; then
    echo "workflows: pin by digest, with the version in a comment: owner/action@<40 digits> # v1.2.3" >&2
    exit 1
  fi
  # The training's environment (deploy/training/env.sh) is of Python 3.11, and the runner's own is another.
  local file
  for file in .github/workflows/*.yml; do
    if [ "$(grep -cE 'run: make (test|test-all|mlops-test)$' "$file")" -gt "$(grep -c 'Python/3\.11\.' "$file")" ]; then
      echo "workflows: $file runs tests without Python 3.11: add the step of tests.yml" >&2
      exit 1
    fi
  done
  "$python_bin/shellcheck" --severity=warning .github/release.sh
  .github/release.sh
  echo "workflows: $(ls .github/workflows/*.yml | wc -l) files clean (actionlint, shellcheck, zizmor)"
}

seeded_mistakes() {
  . scripts/seeded.sh
  seeded_begin .github scripts/packaging scripts/setup.sh Cargo.toml CHANGELOG.md
  local images=.github/workflows/images.yml deploy=.github/workflows/deploy.yml release=.github/workflows/release.yml
  seeded 'an action by its tag' $images 's/docker\/login-action@[0-9a-f]{40} # v3.6.0/docker\/login-action@v3/' 'unpinned-uses|not pinned' .github/lint.sh
  seeded 'a digest without its version' $images 's/ # v3.9.2$//' 'version in a comment|ref-version' .github/lint.sh
  seeded 'rights for everything' $release 's/^permissions: \{\}/permissions: write-all/' 'excessive-permissions|overly broad' .github/lint.sh
  seeded 'an input in the shell' $deploy 's/"\$image:\$VERSION"/"$image:${{ inputs.version }}"/' 'template-injection|code injection' .github/lint.sh
  seeded 'credentials left behind' - "perl -0pi -e 's/\\n +with:\\n +persist-credentials: false//' $release" 'artipacked|credential' .github/lint.sh
  seeded 'tests without their Python' $release '/- name: Python 3\.11/,+1d' 'without Python 3.11' .github/lint.sh
  seeded 'a job that is waited for but is not there' $deploy 's/needs: verify/needs: verified/' 'does not exist' .github/lint.sh
  seeded 'an output that nobody writes' $deploy 's/steps\.digests\.outputs\.api/steps.digest.outputs.api/' 'property "digest" is not defined' .github/lint.sh
  seeded 'shell that breaks at a space' $deploy 's/push origin "\$branch"/push origin $branch/' 'SC2086' .github/lint.sh
  local tag; tag="v$(sed -n 's/^version = "(.*)"$/\1/p;T;q' -E Cargo.toml)"
  seeded 'a version that the changelog does not have' CHANGELOG.md "s/^## \\[${tag#v}\\]/## [0.0.0]/" 'has no section' .github/lint.sh
  seeded 'a section without a date' CHANGELOG.md "s/^(## \\[${tag#v}\\] - ).*/\\1unreleased /" 'write .## ' .github/lint.sh
  seeded 'a tag of what is not released' - "sed -i -E 's/^(## \\[${tag#v}\\] - ).*/\\1unreleased/' CHANGELOG.md" 'give the section its date' .github/release.sh "$tag"
  seeded 'a tag of another version' - "sed -i -E 's/^(## \\[${tag#v}\\] - ).*/\\12026-01-31/' CHANGELOG.md; .github/release.sh $tag" 'they must agree' .github/release.sh v99.0.0
  seeded_end workflows
}

case "${1:-check}" in
  check) check ;;
  seeded) seeded_mistakes ;;
  *) sed -n '2,5p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 64 ;;
esac
