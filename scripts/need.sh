#!/usr/bin/env bash
# need.sh rust|docker: fails if Rust or Docker is missing, with a message that says what to install.
set -euo pipefail

cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}

need_rust() {
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml | head -1)
  if ! found=$($cargo --version 2>&1 | sed -n 's/^cargo \([0-9.]*\).*/\1/p') || [ -z "$found" ]; then
    echo "This needs Rust $wanted or newer, and there is no ${cargo%% *} that works. Install it from https://rustup.rs," >&2
    echo "or use Docker: docker build -f deploy/docker/Dockerfile -t stonechat ." >&2
    exit 1
  fi
  if [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -1)" != "$wanted" ]; then
    echo "This needs Rust $wanted or newer; here is $found. Run: rustup update stable (or install rustup: https://rustup.rs)" >&2
    exit 1
  fi
}

need_docker() {
  if ! command -v docker >/dev/null; then
    echo "This needs Docker, and there is none: see https://docs.docker.com/engine/install. make run does without." >&2
    exit 1
  fi
  if ! docker info >/dev/null 2>&1; then
    echo "No Docker engine answers. Start it (Docker Desktop, or: sudo systemctl start docker), and see that you may use" >&2
    echo "it (docker info). make run does without Docker." >&2
    exit 1
  fi
}

case ${1:-} in
  rust) need_rust ;;
  docker) need_docker ;;
  *) echo "usage: need.sh rust|docker" >&2; exit 2 ;;
esac
