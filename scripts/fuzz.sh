#!/usr/bin/env bash
# fuzz.sh SECONDS [SEED]: runs every fuzz target of rust/fuzz for SECONDS, from the committed corpus. New inputs are written
# to build/, so that a run does not change the clone; crashing inputs are kept in build/fuzz/TARGET/. Without SEED, a fresh
# clone tries the same inputs each time, so that a check does not fail because of unrelated random inputs. With SEED 0, each
# run is different.
set -euo pipefail

seconds=${1:?usage: fuzz.sh SECONDS [SEED]}
seed=${2:-1}
version=0.13.2
tools=${XDG_CACHE_HOME:-$HOME/.cache}/stonechat/cargo-fuzz-$version
cd "$(dirname "$0")/.."

skip() {
  echo "skipped: fuzz-short: $1"
  exit 0
}

[ -f rust/fuzz/Cargo.toml ] || skip "there is no rust/fuzz"
[ "$(uname -s)" = Linux ] || skip "the sanitizers are set up for Linux only"
if [ ! -x "$tools/bin/cargo-fuzz" ]; then
  echo "fuzz: building cargo-fuzz $version (once, kept in $tools)"
  mkdir -p "$tools"
  CARGO_TARGET_DIR=$tools/target nice -n 10 \
    cargo install cargo-fuzz --version "$version" --locked --quiet --root "$tools" >"$tools/log" 2>&1 || {
    tail -n 20 "$tools/log"
    skip "cargo-fuzz could not be built"
  }
  rm -rf "$tools/target"
fi
export PATH=$tools/bin:$PATH
# libFuzzer's instrumentation and the sanitizer are unstable flags of the stable compiler.
export RUSTC_BOOTSTRAP=1

mapfile -t targets < <(cargo fuzz list --fuzz-dir rust/fuzz)
[ "${#targets[@]}" -gt 0 ] || { echo "fuzz: rust/fuzz has no target" >&2 && exit 1; }

for target in "${targets[@]}"; do
  found=build/fuzz/$target
  mkdir -p "$found/corpus" "rust/fuzz/corpus/$target"
  words=rust/fuzz/dictionaries/$target.dict
  dictionary=()
  [ ! -e "$words" ] || dictionary=(-dict="$words")
  echo "fuzz: $target for $seconds s"
  cargo fuzz run --fuzz-dir rust/fuzz --target-dir "${CARGO_TARGET_DIR:-target}/fuzz" "$target" \
    "$found/corpus" "rust/fuzz/corpus/$target" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$found/" -seed="$seed" "${dictionary[@]}"
done
echo "fuzz: ${#targets[@]} targets, nothing found"
