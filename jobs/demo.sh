#!/usr/bin/env bash
# Builds a fresh clone and runs it on 2,624 photos of solar cells: jobs/demo.sh [arguments of prospect run]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash jobs/setup.sh
python3 jobs/sample_data.py
cargo build --release
"${CARGO_TARGET_DIR:-target}/release/prospect" run -c pipeline.toml "$@"
