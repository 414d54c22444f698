#!/usr/bin/env bash
# image.sh TAG [BINARY]: builds the Docker image. With BINARY, a static stonechat-server, nothing is pulled or compiled.
# Without it, the build stage compiles the server in a Rust image.
set -euo pipefail

tag=${1:?usage: image.sh TAG [BINARY]}
binary=${2:-}
root=$(cd "$(dirname "$0")/.." && pwd)
dockerfile=$root/deploy/docker/Dockerfile

# The Dockerfile needs BuildKit: either the buildx plugin, or a client before version 23, which contains BuildKit.
# Of several clients, the first suitable one is used.
client=
for candidate in docker /usr/bin/docker; do
  major=$("$candidate" --version 2>/dev/null | sed -n 's/^Docker version \([0-9]*\)\..*/\1/p') || true
  if [ -n "$major" ] && { [ "$major" -lt 23 ] || "$candidate" buildx version >/dev/null 2>&1; }; then
    client=$candidate
    break
  fi
done
if [ -z "$client" ]; then
  echo "image: no docker client with BuildKit here (install the buildx plugin)" >&2
  exit 1
fi

"$root/scripts/need.sh" docker
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
arguments=(--file "$dockerfile" --tag "$tag" --build-arg "VERSION=$version")
context=$root
if [ -n "$binary" ]; then
  context=$(mktemp -d)
  trap 'rm -rf "$context"' EXIT
  cp "$binary" "$context/stonechat-server"
  mkdir "$context/data"
  touch "$context/data/.keep"
  arguments+=(--build-arg BIN_FROM=prebuilt)
fi

DOCKER_BUILDKIT=1 "$client" build --progress=plain "${arguments[@]}" "$context"
