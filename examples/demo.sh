#!/usr/bin/env bash
# Installs what is needed, builds, and distils the example's teacher into a student that starts from random weights.
# Usage: examples/demo.sh [SEED]          (default 1; as root, or with sudo, on Debian 12)
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  -h|--help) sed -n '2,3s/^# //p' "$0"; exit 0 ;;
esac
seed=${1:-1}
if ! [[ $seed =~ ^[0-9]+$ ]]; then
  echo "demo.sh: the seed is a whole number, not \"$seed\" (usage: examples/demo.sh [SEED])" >&2
  exit 2
fi

examples/install_packages.sh build
cmake --preset release -DPIPESTILL_BUILD_TESTS=OFF -DPIPESTILL_BUILD_BENCH=OFF -B build/demo >/dev/null
cmake --build build/demo

build/demo/bin/make_data examples/tasks/data
out=runs/demo-seed-$seed-$(date -u +%Y%m%dT%H%M%SZ)
exec build/demo/bin/pipestill run examples/tasks/distill.json --seed "$seed" --out "$out"
