#!/usr/bin/env bash
# Installs what is needed, builds everything, and runs all tests but the long soaks.
# Usage: tests/run.sh          (as root, or with sudo, on Debian 12)
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  "") ;;
  -h|--help) sed -n '2,3s/^# //p' "$0"; exit 0 ;;
  *) echo "run.sh: takes no arguments (see tests/run.sh --help)" >&2; exit 2 ;;
esac

examples/install_packages.sh tests
cmake --preset release >/dev/null
cmake --build --preset release
ctest --preset release
