#!/usr/bin/env bash
# labs.sh: creates the Python environment of all labs in tutorials/.venv, with the server if a wheel or Rust is available.
set -euo pipefail

python=${PYTHON:-python3}
cd "$(dirname "$0")/.."
folder=tutorials/.venv

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make labs PYTHON=python3.12")'
[ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
pip=("$folder/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" -r tutorials/requirements.txt

wheel=$(find build/wheels -name "*.whl" 2>/dev/null | head -1 || true)
if [ -n "$wheel" ]; then
  "${pip[@]}" --force-reinstall --no-deps "$wheel"
elif command -v cargo >/dev/null; then
  echo "labs: building the server, which takes some minutes"
  "${pip[@]}" .
else
  echo "labs: there is no Rust to build the server with; the labs can use Docker (make image needs no Rust with" >&2
  echo "labs: deploy/docker/Dockerfile), or install Rust from https://rustup.rs and run make labs again" >&2
fi

echo "labs: ready. In each terminal: . $PWD/$folder/bin/activate"
