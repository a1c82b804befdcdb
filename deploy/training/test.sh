#!/bin/sh
# The training's own tests.
set -eu
. "$(dirname "$0")/common.sh"
cd "$here"
exec "$python" -m pytest -q -p no:cacheprovider "$@"
