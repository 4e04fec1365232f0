#!/usr/bin/env bash
# Installs what is needed, builds everything, and runs all tests but those that take hours (labels soak, mutants, fuzz).
# Usage: tests/run.sh [PART...]      (as root, or with sudo, on Debian 12; without a PART: release)
#   core      a clean build of everything but the embedded models, timed; no tests
#   tsan      thread sanitizer over everything that needs neither oneTBB nor libtorch (so not the program)
#   asan      address and undefined-behaviour sanitizers over everything but libtorch
#   clang     what is fuzzed, compiled by clang; the corpora are replayed
#   release   everything, optimised, with all tests
#   --all     these five, in this order: what CI runs
#   fuzz      ten minutes of libFuzzer for each parser
set -euo pipefail
cd "$(dirname "$0")/.."

export CCACHE_DEPEND=1  # what ccache does not have yet is not preprocessed twice

parts=("$@")
[ $# -gt 0 ] || parts=(release)
[ "${1:-}" != --all ] || parts=(core tsan asan clang release)
for part in "${parts[@]}"; do
  case "$part" in
    core|tsan|asan|clang|release|fuzz) ;;
    -h|--help) sed -n '2,/^set/s/^# //p' "$0"; exit 0 ;;
    *) echo "run.sh: there is no part $part (see tests/run.sh --help)" >&2; exit 2 ;;
  esac
done

# say PART WHAT SECONDS: one line an event, with the minutes that it took.
say() { awk -v part="$1" -v what="$2" -v s="$3" 'BEGIN { printf "run.sh: %s: %s in %.1f minutes (%d s)\n", part, what, s / 60, s }'; }

build() {  # PART
  local begin=$SECONDS
  cmake --preset "$1" >/dev/null
  cmake --build --preset "$1"
  say "$1" built $((SECONDS - begin))
}

run_part() {
  local part=$1 begin=$SECONDS
  echo "run.sh: $part: begins"
  if [ "$part" = core ]; then
    # Compiles everything, whatever ccache holds, and leaves it there for the part release.
    rm -rf build/core
    CCACHE_RECACHE=1 build core
    return
  fi
  build "$part"
  # The last part ends with the test runner's own summary.
  ctest --preset "$part" -j "$(nproc)"
  [ "$part" = "${parts[-1]}" ] || say "$part" "built and tested" $((SECONDS - begin))
}

for part in "${parts[@]}"; do
  case "$part" in
    clang|fuzz) examples/install_packages.sh fuzz ;;
    *) examples/install_packages.sh tests ;;
  esac
  run_part "$part"
done
