#!/usr/bin/env bash
# Prints the path of the checker of recorded histories: $LINEARIZABILITY, else tests/linearizability (porcupine), which is
# built if Go is installed and kept in the user's cache. Prints nothing if neither is available; the tests that need it are
# skipped then.
set -euo pipefail
cd "$(dirname "$0")/../tests/linearizability"

if [ -n "${LINEARIZABILITY:-}" ]; then
  echo "$LINEARIZABILITY"
  exit 0
fi
command -v go >/dev/null || exit 0
# Changed sources give another path, so the checker is built again.
sum=$(cat go.mod go.sum main.go | sha256sum | cut -c1-12)
program=${XDG_CACHE_HOME:-$HOME/.cache}/stonechat/linearizability-$sum/linearizability
if [ ! -x "$program" ]; then
  folder=$(dirname "$program")
  mkdir -p "$folder"
  echo "linearizability: building the checker (once, kept in $folder)" >&2
  if ! GOFLAGS=-mod=readonly GOTOOLCHAIN=auto go build -o "$program" . >"$folder/log" 2>&1; then
    tail -n 5 "$folder/log" >&2
    echo "linearizability: the checker could not be built" >&2
    exit 0
  fi
fi
echo "$program"
