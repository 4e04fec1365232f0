#!/usr/bin/env bash
# Installs the build, builds the consumer against what was installed, runs it, and looks at what it links.
# Usage: tests/embed/run.sh BUILD_DIR
set -euo pipefail
build=$(realpath "$1")
here=$(realpath "$(dirname "$0")")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cmake --install "$build" --prefix "$scratch/prefix" >/dev/null
cmake -G Ninja -S "$here" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$scratch/prefix" -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build "$scratch/build" >/dev/null
"$scratch/build/embed"

linked=$(ldd "$scratch/build/embed")
grep -q "$scratch/prefix.*libpipestill" <<<"$linked" || { echo "embed: does not link the installed libpipestill" >&2; exit 1; }
if grep -E 'libtorch|libc10|libdnnl|libcurl|libsentencepiece' <<<"$linked"; then
  echo "embed: links what an embedder did not ask for" >&2
  exit 1
fi
echo "embed: links neither libtorch nor libcurl nor libsentencepiece"
