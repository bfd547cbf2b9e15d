#!/usr/bin/env bash
# Makes a fresh clone ready to build: checks the tools, fetches libtorch once per machine. Quick when all is there.
#
#   PROSPECT_CACHE   where downloads are kept (default ~/.cache/prospect)
#   LIBTORCH         a libtorch 2.11 of your own: then nothing is fetched
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

problems=0
lacks() {
    echo "setup: $1" >&2
    echo "       $2" >&2
    problems=1
}

if ! command -v cargo >/dev/null; then
    lacks "cargo is not installed (or not on PATH)" "install Rust from https://rustup.rs, then open a new shell"
else
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(cargo --version | cut -d' ' -f2)
    if [ "$(printf '%s\n%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1)" != "$wanted" ]; then
        lacks "cargo is $found, expected $wanted or newer" "rustup update stable"
    fi
fi
if ! command -v "${CXX:-c++}" >/dev/null; then
    lacks "no C++ compiler (${CXX:-c++})" "Debian, Ubuntu: sudo apt-get install g++   Fedora: sudo dnf install gcc-c++"
fi

libtorch=${LIBTORCH:-}
if [ -n "$libtorch" ]; then
    if [ ! -e "$libtorch/lib/libtorch_cpu.so" ] || [ ! -d "$libtorch/include/ATen" ]; then
        lacks "LIBTORCH is $libtorch, which does not hold lib/libtorch_cpu.so and include/ATen" \
              "name libtorch's folder (for the Python package: .../site-packages/torch), or unset LIBTORCH"
    fi
elif [ "$(uname -sm)" != "Linux x86_64" ]; then
    lacks "libtorch can be fetched for Linux x86_64 only, this is $(uname -sm)" \
          "unpack libtorch 2.11.0 for this machine and name it: export LIBTORCH=/path/to/libtorch"
elif ! command -v python3 >/dev/null || ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then
    lacks "no python3 of version 3.9 or newer" "Debian, Ubuntu: sudo apt-get install python3 python3-pip"
elif ! python3 -m pip --version >/dev/null 2>&1; then
    lacks "python3 has no pip (it knows where packages come from on this machine)" \
          "Debian, Ubuntu: sudo apt-get install python3-pip   elsewhere: python3 -m ensurepip --user"
fi
[ "$problems" = 0 ] || exit 1

if [ -n "$libtorch" ]; then
    echo "libtorch: $libtorch (LIBTORCH)"
    exit 0
fi
cache=${PROSPECT_CACHE:-$HOME/.cache/prospect}
# As an absolute path: the link in the clone has to find it.
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
libtorch=$cache/libtorch-2.11.0-cpu
if [ -e .libtorch ] && [ ! -L .libtorch ]; then
    echo "libtorch: .libtorch, a folder of your own"
    exit 0
fi
python3 jobs/fetch_libtorch.py "$libtorch"
if [ "$(readlink .libtorch || true)" != "$libtorch" ]; then
    ln -sfn "$libtorch" .libtorch
fi
echo "libtorch: $libtorch"
