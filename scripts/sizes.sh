#!/usr/bin/env bash
# Fails if the repository has a file above 500 kB, such as a build product or download that was added by mistake.
set -euo pipefail
cd "$(dirname "$0")/.."

limit=500000
failed=0
while IFS= read -r -d '' file; do
  [ -f "$file" ] || continue
  size=$(wc -c <"$file")
  if [ "$size" -gt "$limit" ]; then
    echo "sizes: $file has $size bytes, more than $limit: take it out of the repository" >&2
    failed=1
  fi
done < <(git ls-files -z)
exit "$failed"
