#!/usr/bin/env bash
# Checks licenses, sources and bans of all crates against deny.toml. cargo-deny is built once and kept in the user's cache.
# With `advisories` it also checks RustSec's database of known vulnerabilities, which needs a network.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
tools=${XDG_CACHE_HOME:-$HOME/.cache}/stonechat/cargo-deny-$version
if [ ! -x "$tools/bin/cargo-deny" ]; then
  echo "deny: building cargo-deny $version (once, kept in $tools)"
  mkdir -p "$tools"
  # A debug build takes a third of the time of a release build, and checks in a second.
  CARGO_TARGET_DIR=$tools/target CARGO_PROFILE_DEV_DEBUG=0 \
    cargo install cargo-deny --version "$version" --debug --locked --quiet --root "$tools" >"$tools/log" 2>&1 || {
    tail -n 20 "$tools/log"
    echo "skipped: cargo-deny could not be built, licenses and sources of crates were not checked"
    exit 0
  }
  rm -rf "$tools/target"
fi
"$tools/bin/cargo-deny" --locked --log-level error check licenses bans sources "$@"
