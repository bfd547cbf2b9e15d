#!/usr/bin/env bash
# Prepares a fresh clone for building: checks the tools; downloads libtorch, and CMake and NASM where missing, once per machine.
#
#   PROSPECT_CACHE   download cache (default ~/.cache/prospect)
#   LIBTORCH         your own libtorch 2.11; nothing is downloaded then
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
        lacks "LIBTORCH=$libtorch has no lib/libtorch_cpu.so and include/ATen" \
              "set it to libtorch's folder (for the Python package: .../site-packages/torch), or unset it"
    fi
elif [ "$(uname -sm)" != "Linux x86_64" ]; then
    lacks "libtorch can be downloaded for Linux x86_64 only, not for $(uname -sm)" \
          "unpack libtorch 2.11.0 for this machine, then: export LIBTORCH=/path/to/libtorch"
elif ! command -v python3 >/dev/null || ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then
    lacks "python3 3.9 or newer is not installed" "Debian, Ubuntu: sudo apt-get install python3 python3-pip"
elif ! python3 -m pip --version >/dev/null 2>&1; then
    lacks "python3 has no pip (needed to download libtorch)" \
          "Debian, Ubuntu: sudo apt-get install python3-pip   elsewhere: python3 -m ensurepip --user"
fi
# libjpeg-turbo is built with CMake, and on x86-64 with NASM (its SIMD code is assembly).
tools=(cmake)
[ "$(uname -m)" != x86_64 ] || tools+=(nasm)
command -v make >/dev/null || lacks "make is not installed" "Debian, Ubuntu: sudo apt-get install make   Fedora: sudo dnf install make"
missing=()
for tool in "${tools[@]}"; do
    if command -v "$tool" >/dev/null; then
        continue
    elif [ "$(uname -sm)" = "Linux x86_64" ] && command -v python3 >/dev/null && { [ "$tool" = cmake ] || command -v apt-get >/dev/null; }; then
        missing+=("$tool")
    else
        lacks "$tool is not installed" "Debian, Ubuntu: sudo apt-get install $tool   Fedora: sudo dnf install $tool"
    fi
done
[ "$problems" = 0 ] || exit 1

cache=${PROSPECT_CACHE:-$HOME/.cache/prospect}
# An absolute path, for the links in the clone.
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
mkdir -p .tools
for tool in "${tools[@]}"; do
    if [[ " ${missing[*]} " = *" $tool "* ]]; then
        folder=$cache/$tool
        [ "$tool" != cmake ] || folder=$cache/cmake-4.1.2
        python3 jobs/fetch_build_tools.py "$tool" "$folder"
        ln -sfn "$folder/bin/$tool" ".tools/$tool"
    else
        ln -sfn "$(command -v "$tool")" ".tools/$tool"
    fi
done

if [ -n "$libtorch" ]; then
    echo "libtorch: $libtorch (LIBTORCH)"
    exit 0
fi
libtorch=$cache/libtorch-2.11.0-cpu
if [ -e .libtorch ] && [ ! -L .libtorch ]; then
    echo "libtorch: .libtorch (your own folder)"
    exit 0
fi
python3 jobs/fetch_libtorch.py "$libtorch"
if [ "$(readlink .libtorch || true)" != "$libtorch" ]; then
    ln -sfn "$libtorch" .libtorch
fi
echo "libtorch: $libtorch"
