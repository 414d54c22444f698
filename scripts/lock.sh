#!/usr/bin/env bash
# Writes python/requirements-dev.txt: versions and hashes of the development dependencies in pyproject.toml and the requirements
# of the tutorials, for every supported Python and system. Needs `uv`: `pip install uv`.
set -euo pipefail
cd "$(dirname "$0")/.."

lock=python/requirements-dev.txt
command -v uv >/dev/null || {
  echo "lock: uv is missing, install it with: pip install uv" >&2
  exit 1
}
{
  echo "# The exact versions that the checks run with, made by \`make lock\` from pyproject.toml and the tutorials. Do not edit."
  uv pip compile --quiet --universal --python-version 3.10 --group pyproject.toml:dev tutorials/*/requirements.txt \
    --generate-hashes --no-emit-index-url --no-header
} >"$lock.new"
mv "$lock.new" "$lock"
