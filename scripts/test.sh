#!/usr/bin/env bash
# Runs all checks in sequence, and continues after a failure. At the end it prints a table of results and times, the skipped
# tests with their reasons, and a summary line. Logs are kept in build/logs.
set -euo pipefail
cd "$(dirname "$0")/.."

steps=(lint test-rust test-python test-differential test-durability test-clients test-docker test-tutorials docs fuzz-short)
logs=build/logs
mkdir -p "$logs"
rm -f "$logs"/*.log

passed=0
failed=0
skipped=0
table=()
for step in "${steps[@]}"; do
  printf '\n=== %s ===\n' "$step"
  began=$SECONDS
  if ! "${MAKE:-make}" --no-print-directory "$step" </dev/null 2>&1 | tee "$logs/$step.log"; then
    result=FAILED
    failed=$((failed + 1))
  elif grep -q "^skipped: $step:" "$logs/$step.log"; then
    result=skipped
    skipped=$((skipped + 1))
  else
    result=passed
    passed=$((passed + 1))
  fi
  table+=("$(printf '%-18s %-8s %4d s' "$step" "$result" $((SECONDS - began)))")
done

printf '\n=== result (logs in %s) ===\n' "$logs"
printf '%s\n' "${table[@]}"
# Skipped tests of pytest, and skipped steps of our own scripts.
reasons=$(grep -E '^(SKIPPED \[|skipped: )' "$logs"/*.log | sed "s|^$logs/||; s|\.log:| |" | sort -u) || true
if [ -n "$reasons" ]; then
  printf '\nNot everything ran:\n%s\n' "$reasons"
fi
printf '\nchecks: %d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
