#!/usr/bin/env bash
# Prints the path of the `nats` tool, with which tests compare the stonechat command: $NATS_TOOL, else 0.5.0, which is built
# once from its Go module if Go is installed and kept in the user's cache. Prints nothing if neither is available; those
# tests are skipped then.
set -euo pipefail

version=0.5.0
if [ -n "${NATS_TOOL:-}" ]; then
  echo "$NATS_TOOL"
  exit 0
fi
folder=${XDG_CACHE_HOME:-$HOME/.cache}/stonechat/nats-tool-$version
if [ ! -x "$folder/nats" ]; then
  command -v go >/dev/null || exit 0
  echo "tool: building nats $version (once, kept in $folder)" >&2
  mkdir -p "$folder"
  # The tool needs a newer Go than some machines have; GOTOOLCHAIN=auto downloads it.
  if ! (cd "$folder" && GOBIN=$folder GOTOOLCHAIN=auto go install "github.com/nats-io/natscli/nats@v$version") >"$folder/log" 2>&1; then
    tail -n 5 "$folder/log" >&2
    echo "tool: nats $version could not be built" >&2
    exit 0
  fi
fi
echo "$folder/nats"
