#!/usr/bin/env bash
# Long tests against data loss: thousands of kills, flipped bits, power cuts and seeds of the simulation, and the fuzzer.
# The run has parts. Finished parts are recorded in build/soak, so that a stopped run can be continued; `rm -r build/soak`
# starts again.
#
# CARGO, PYTHON, LOCKED, STONECHAT_SERVER, STONECHAT_POWERCUT: from the Makefile.
# SOAK_SECONDS: seconds after which no further part is started. SOAK_PARTS: pattern of the parts to run, such as 'sim-*'.
set -euo pipefail
cd "$(dirname "$0")/.."

notes=build/soak
mkdir -p "$notes"
limit=${SOAK_SECONDS:-0}

# part NAME COMMAND...: runs the command unless the part is finished, and keeps its output.
part() {
  local name=$1
  shift
  # shellcheck disable=SC2053 # It is a pattern.
  [[ $name == ${SOAK_PARTS:-*} ]] || return 0
  if [ -e "$notes/$name.done" ]; then
    printf '%-24s done before\n' "$name"
    return
  fi
  if [ "$limit" -gt 0 ] && [ "$SECONDS" -ge "$limit" ]; then
    printf '%-24s not begun, time is over\n' "$name"
    return
  fi
  local began=$SECONDS
  if ! "$@" >"$notes/$name.log" 2>&1; then
    printf '%-24s FAILED, see %s\n' "$name" "$notes/$name.log"
    exit 1
  fi
  touch "$notes/$name.done"
  printf '%-24s %5d s  %s\n' "$name" $((SECONDS - began)) "$(grep -aE 'acknowledged|flips:' "$notes/$name.log" | tail -n 1 || true)"
}

simulate() {
  local package=$1 test=$2 seeds=$3
  # shellcheck disable=SC2086 # Words with options, or nothing.
  STONECHAT_SEEDS=$seeds ${CARGO:-cargo} test --release ${LOCKED-} --package "$package" $test
}

durability() {
  "${PYTHON:-python3}" -m pytest -q -s "tests/durability/$1" -k "$2"
}

part sim-store simulate stonechat-store "--lib simulation" 20000
for test in crashes consumers feeds backups notes; do
  part "sim-$test" simulate stonechat-jetstream "--test $test" "${SOAK_SEEDS:-5000}"
done
for turn in 1 2 3 4 5; do
  STONECHAT_CUTS=80 part "cuts-$turn" durability test_power_cuts.py cuts
done
for turn in 1 2 3 4 5 6 7 8 9 10; do
  STONECHAT_KILLS=300 part "kills-$turn" durability test_kills.py kills
done
for turn in 1 2 3; do
  STONECHAT_BUCKET_KILLS=100 STONECHAT_BUCKET_FLIPS=50 part "buckets-$turn" durability test_buckets.py purged
done
for turn in 1 2 3 4; do
  STONECHAT_FLIPS=250 STONECHAT_FLIP_MESSAGES=60000 part "flips-$turn" durability test_damage.py flipped
done
part fuzz scripts/fuzz.sh "${FUZZ_SECONDS:-300}" 0
printf 'soak: all parts that were begun are done\n'
