#!/usr/bin/env bash
# From a fresh clone to a report on 2,624 photos of solar cells: jobs/demo.sh [arguments of prospect run]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash jobs/setup.sh
python3 jobs/sample_data.py
cargo build --release
"${CARGO_TARGET_DIR:-target}/release/prospect" run -c pipeline.toml "$@"
# The run folder, as pipeline.toml names it.
dir=$(awk -F'"' '/^\[/ { section = $0 } section == "[run]" && /^dir *=/ { print $2 }' pipeline.toml)
if [ -e "$dir/report/index.html" ]; then
    echo "report: $PWD/$dir/report/index.html"
fi
