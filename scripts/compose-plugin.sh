#!/usr/bin/env bash
# Makes sure that `docker compose` is available. If it is missing, builds Compose from its Go module (a few minutes, once),
# keeps the binary in the user's cache and links it as a plugin of the docker client.
set -euo pipefail

version=v5.6.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/stonechat
binary=$cache/docker-compose-$version
plugin=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins/docker-compose

# Debian's old Compose 1 may also be installed as `docker compose`; only a version with `up --wait` can run the labs.
if docker compose up --help 2>/dev/null | grep -q -- --wait; then
  echo "compose: $(docker compose version)"
  exit 0
fi

build() {
  if ! command -v go >/dev/null; then
    echo "compose: \`docker compose\` is missing, and there is no Go to build it with" >&2
    return 1
  fi
  echo "compose: building $version from its Go module"
  local module
  module=$(mktemp -d)
  # This module requires Compose. Go uses `exclude` only from the main module, so those of Compose are repeated here.
  cat >"$module/go.mod" <<MOD
module stonechat.local/compose-plugin

go 1.26

require github.com/docker/compose/v5 $version

exclude (
	github.com/davecgh/go-spew v1.1.2-0.20180830191138-d8f796af33cc
	github.com/pmezard/go-difflib v1.0.1-0.20181226105442-5d4384ee4fb2
)
MOD
  cat >"$module/tools.go" <<'GO'
//go:build tools

package tools

import _ "github.com/docker/compose/v5/cmd"
GO
  mkdir -p "$cache"
  (
    cd "$module"
    go mod tidy >/dev/null 2>"$module/log" || { cat "$module/log" >&2 && return 1; }
    CGO_ENABLED=0 nice -n 10 go build -trimpath \
      -ldflags "-s -w -X github.com/docker/compose/v5/internal.Version=$version" \
      -o "$binary.new" github.com/docker/compose/v5/cmd
  )
  mv "$binary.new" "$binary"
  rm -rf "$module"
}

[ -x "$binary" ] || build
mkdir -p "$(dirname "$plugin")"
ln -sf "$binary" "$plugin"
echo "compose: $(docker compose version)"
