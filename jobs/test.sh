#!/usr/bin/env bash
# Runs the tests on a fresh clone or a used one: jobs/test.sh [arguments of cargo test]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash jobs/setup.sh
cargo test --release "$@"
