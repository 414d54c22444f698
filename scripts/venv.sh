#!/usr/bin/env bash
# venv.sh FOLDER: the Python environment of the checks: what pyproject.toml lists for development and what the
# tutorials import, in the versions of python/requirements-dev.txt. Installs again only when one of those lists or the
# interpreter has changed.
set -euo pipefail

folder=${1:?usage: venv.sh FOLDER}
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."

lock=python/requirements-dev.txt
lists=(pyproject.toml "$lock")
requirements=()
for file in tutorials/[0-9]*/requirements.txt; do
  [ -f "$file" ] || continue
  lists+=("$file")
  requirements+=(-r "$file")
done

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.12")'
stamp=$("$python" -c 'import sys; print(sys.version)' | cat - scripts/venv.sh "${lists[@]}" | cksum)
if [ "$(cat "$folder/stamp" 2>/dev/null)" = "$stamp" ]; then
  exit 0
fi

echo "venv: setting up $folder"
"$python" -m venv --clear "$folder"
pip=("$folder/bin/python" -m pip install --quiet --disable-pip-version-check)
if ! "${pip[@]}" --require-hashes -r "$lock"; then
  echo "venv: the versions of $lock cannot be had here, taking the newest that pyproject.toml allows" >&2
  # Dependency groups need pip 25.1, newer than what most interpreters bring along.
  "${pip[@]}" --upgrade 'pip>=25.1'
  "${pip[@]}" --group dev "${requirements[@]}"
fi
echo "$stamp" >"$folder/stamp"
