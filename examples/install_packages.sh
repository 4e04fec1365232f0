#!/usr/bin/env bash
# Installs the Debian 12 packages that pipestill is built from (`build`), those that its tests need beside them (`tests`), and those that
# fuzzing needs (`fuzz`).
# Does nothing, and needs no rights, where all are there.
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache
  libtbb-dev libboost-json1.81-dev libspdlog-dev libpcg-cpp-dev libcli11-dev libexpected-dev libssl-dev
  libsqlite3-dev zlib1g-dev libzstd-dev libpcre2-dev libutf8proc-dev libsentencepiece-dev
  libtorch-dev libdnnl-dev
)
case "${1:-build}" in
  build) ;;
  tests) packages+=(doctest-dev librapidcheck-dev) ;;
  fuzz) packages+=(doctest-dev librapidcheck-dev clang libclang-rt-14-dev) ;;
  *) echo "usage: install_packages.sh [build|tests|fuzz]" >&2; exit 2 ;;
esac

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "install_packages.sh: needs root, or sudo, to install: ${missing[*]}" >&2; exit 2; }
  as_root=(sudo)
fi
echo "Installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"
}
if ! install >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "install_packages.sh: apt-get could not install ${missing[*]}: see above" >&2
  exit 2
fi
