#!/usr/bin/env bash
# Prepares the clone and runs the tests: jobs/test.sh [arguments of cargo test]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash jobs/setup.sh
cargo test --release "$@"
